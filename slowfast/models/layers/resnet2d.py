"""The files that weights of image networks come from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from slowfast.utils import vision
from slowfast.utils.download import DownloadError, cached_path, download
from slowfast.utils.errors import UserError
from slowfast.utils.optional import require

IMAGENET = "imagenet"


class PretrainedError(UserError, RuntimeError):
    """Weights that were asked for are not there, not readable, or do not fit."""


def load_resnet2d(part: nn.Module, source: str, *, depth: int) -> None:
    """Copy weights of an image ResNet into all of ``part``.

    Args:
        part: a ResNet or some of its children under their names, e.g. ``layer3`` and ``layer4``.
            What else the file holds, such as ``fc``, is left out.
        source: ``"imagenet"`` (torchvision's, downloaded once), the path of a state dict, or a URL.
        depth: of the ResNet that ``"imagenet"`` means.

    Raises:
        PretrainedError: the weights cannot be had, or not all of ``part`` is among them.
    """
    state = read_resnet2d(source, depth=depth)
    wanted = part.state_dict()
    missing = [
        name
        for name, value in wanted.items()
        if not name.endswith("num_batches_tracked")
        and (name not in state or state[name].shape != value.shape)
    ]
    if missing:
        raise PretrainedError(
            f"{source} does not fit: {len(missing)} of {len(wanted)} tensors are missing or of "
            f"another shape, first {missing[0]!r}. Give weights of a torchvision resnet{depth}"
        )
    part.load_state_dict({name: state[name] for name in wanted if name in state}, strict=False)


def read_resnet2d(source: str, *, depth: int) -> dict[str, Tensor]:
    """The tensors behind ``source``, see :func:`load_resnet2d`, under torchvision's names."""
    return read_image_weights(source, f"resnet{depth}")


def read_image_weights(source: str, architecture: str) -> dict[str, Tensor]:
    """The tensors behind ``source``, which may be ``"imagenet"``, a path or a URL.

    Args:
        source: see :func:`load_resnet2d`.
        architecture: torchvision's name of the network that ``"imagenet"`` means.

    Raises:
        PretrainedError: the weights cannot be had.
    """
    if source == IMAGENET:
        source = _models().get_model_weights(architecture).DEFAULT.url
    if source.startswith(("http://", "https://")):
        source = str(_download(source))
    content = _read(source)
    for key in ("state_dict", "model_state", "model"):
        if isinstance(content.get(key), Mapping):
            content = content[key]
    return {
        name.removeprefix("module."): value
        for name, value in content.items()
        if isinstance(value, Tensor)
    }


def _download(url: str) -> Path:
    """The file behind ``url``, in torch.hub's cache (``TORCH_HOME``)."""
    folder = Path(torch.hub.get_dir(), "checkpoints")
    try:
        return download(url, folder)
    except DownloadError as error:
        raise PretrainedError(
            f"{error}. On a machine with a network, fetch it; here give its path instead "
            "(MODEL.PRETRAINED /path/to/weights.pth), or put it there as "
            f"{cached_path(url, folder)}. MODEL.PRETRAINED '' starts from random weights"
        ) from error


def _read(path: str) -> Mapping[str, Any]:
    if not Path(path).is_file():
        raise PretrainedError(
            f"MODEL.PRETRAINED {path}: no such file. Give a state dict of torchvision's, a "
            f"URL, or {IMAGENET!r} to download it; '' starts from random weights"
        )
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # every kind of broken file has its own
        raise PretrainedError(f"MODEL.PRETRAINED {path} cannot be read: {error}") from error
    if not isinstance(content, Mapping):
        raise PretrainedError(f"MODEL.PRETRAINED {path} holds a {type(content).__name__}, no state")
    return content


def _models() -> Any:
    """``torchvision.models``; through the one door, which makes torchvision importable."""
    vision.functional()
    return require("torchvision.models", extra="video")
