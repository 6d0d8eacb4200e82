"""Weights from anywhere, in the names and shapes of the models here."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from slowfast.checkpoint.caffe2 import read_caffe2
from slowfast.checkpoint.io import CheckpointError, read_checkpoint
from slowfast.checkpoint.match import fit_shapes
from slowfast.checkpoint.mobilenetv3_ote import from_ote, is_ote
from slowfast.checkpoint.published import from_epic_lstm, from_imfe, is_epic_lstm, is_imfe
from slowfast.checkpoint.pytorchvideo import from_pytorchvideo, is_pytorchvideo, wrapped
from slowfast.utils.errors import shortened

FORMATS = ("auto", "pytorch", "caffe2", "pytorchvideo", "ote")
STATE_KEYS = ("model_state", "model_state_dict", "state_dict", "model")
WRAPPERS = ("module.", "_orig_mod.")
"""Prefixes that DDP and ``torch.compile`` put before every name."""


def read_weights(
    path: Path | str,
    format: str = "auto",
    *,
    model: nn.Module | None = None,
    inflate: bool = False,
) -> dict[str, Tensor]:
    """``name -> tensor`` in our names, from a file of PySlowFast, caffe2, PyTorchVideo or OTE.

    OTE: OpenVINO Training Extensions, of its MobileNetV3 models.

    Args:
        path: ``.pyth``, ``.pt``, ``.pkl``, ...
        format: one of ``FORMATS``; ``auto`` tells caffe2 by ``.pkl`` and the rest by names.
        model: when given, shapes are fitted to it: trailing axes of length 1, 2-D inflation. A
            network of PyTorchVideo gets its own names instead of ours.
        inflate: turn 2-D convolutions into 3-D ones (``TRAIN.CHECKPOINT_INFLATE``);
            needs ``model``.

    Raises:
        FileNotFoundError: no such file.
        CheckpointError: unreadable, or it would run code, or it has names that no rule knows.
    """
    if format not in FORMATS:
        raise ValueError(f"format {format!r}: give one of {FORMATS} (TRAIN.CHECKPOINT_TYPE)")
    if inflate and model is None:
        raise ValueError("inflate needs the model whose temporal kernels are to be filled")
    theirs = model is not None and is_pytorchvideo(model.state_dict())
    if format == "caffe2" or (format == "auto" and Path(path).suffix == ".pkl"):
        state = read_caffe2(path)
    else:
        state = state_of(read_checkpoint(path), source=str(path))
        if format == "pytorchvideo" or (format == "auto" and is_pytorchvideo(state)):
            state = state if theirs else from_pytorchvideo(state)
        elif format == "ote" or (format == "auto" and is_ote(state)):
            state = from_ote(state)
        elif format == "auto":
            state = from_projects(state)
    if model is not None:
        state = wrapped(state, model.state_dict()) if theirs else state
        state = fit_shapes(state, model)
        if inflate:
            state = inflate_2d(state, model)
    return state


def from_projects(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Our names for weights that the projects of IMFE and ResNet50+LSTM saved; others as is."""
    if is_imfe(state):
        return from_imfe(state)
    return from_epic_lstm(state) if is_epic_lstm(state) else dict(state)


def state_of(checkpoint: Mapping[str, Any], *, source: str = "the checkpoint") -> dict[str, Tensor]:
    """The weights inside a checkpoint dictionary, or the dictionary itself when it is they.

    Names lose the prefixes of wrappers; batch norms trained on split batches become plain.
    """
    state = find_weights(checkpoint, source=source)
    return merge_sub_batchnorm({strip_wrappers(name): value for name, value in state.items()})


def find_weights(
    checkpoint: Mapping[str, Any], *, source: str = "the checkpoint"
) -> Mapping[str, Tensor]:
    """The weights inside a checkpoint dictionary under the names they have there."""
    inner = next((checkpoint[k] for k in STATE_KEYS if isinstance(checkpoint.get(k), dict)), None)
    state = checkpoint if inner is None else inner
    if not state or not all(isinstance(n, str) and isinstance(v, Tensor) for n, v in state.items()):
        raise CheckpointError(
            f"{source} holds no weights under {', '.join(STATE_KEYS)}; it has "
            f"{shortened(list(checkpoint))}"
        )
    return state


def strip_wrappers(name: str) -> str:
    """``module.s1...`` -> ``s1...``, however often it was wrapped."""
    stripped = name
    for wrapper in WRAPPERS:
        stripped = stripped.removeprefix(wrapper)
    return stripped if stripped == name else strip_wrappers(stripped)


def merge_sub_batchnorm(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Plain batch norms from PySlowFast's sub-batch ones (``BN.NORM_TYPE sub_batchnorm``).

    There ``X`` holds the scale, ``X.bn`` the statistics of evaluation and ``X.split_bn`` those
    of the parts of a training batch.
    """
    split = {name.partition(".split_bn.")[0] for name in state if ".split_bn." in name}
    merged = {}
    for name, tensor in state.items():
        if ".split_bn." in name:
            outer, _, leaf = name.partition(".split_bn.")
            if leaf == "num_batches_tracked":
                merged[f"{outer}.{leaf}"] = tensor
            continue
        match = re.fullmatch(r"(.+)\.bn\.(running_mean|running_var|num_batches_tracked)", name)
        if match and match[1] in split:
            if match[2] != "num_batches_tracked":
                merged[f"{match[1]}.{match[2]}"] = tensor
            continue
        owner, _, leaf = name.rpartition(".")
        if owner in split and leaf in {"weight", "bias"}:
            tensor = tensor.flatten()  # (C, 1, 1, 1) there
        merged[name] = tensor
    return merged


def inflate_2d(state: Mapping[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """2-D filters repeated over time and divided by the kernel's length.

    A clip of one repeated image then gives what the image gave (Carreira and Zisserman 2017,
    https://arxiv.org/abs/1705.07750, section 2.4.1).
    """
    shapes = {name: tensor.shape for name, tensor in model.state_dict().items()}
    inflated = {}
    for name, tensor in state.items():
        shape = shapes.get(name)
        if shape is not None and tensor.ndim == 4 and len(shape) == 5:
            frames = shape[2]
            tensor = tensor.unsqueeze(2).repeat(1, 1, frames, 1, 1) / frames
        inflated[name] = tensor
    return inflated
