"""Which layers a network can be looked at in."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from slowfast.models.base import ClipModel
from slowfast.reports.gradcam.maps import has_class_token, has_space, maps_of
from slowfast.utils.errors import UserError

PATHWAY = re.compile(r"(?:pathway|multipathway_blocks\.)(\d+)")
"""In the name of a layer, the number of its pathway; PyTorchVideo's way second."""
MAX_NEAR = 6


class LayerError(UserError, LookupError):
    """A layer that is not there, or has no maps; the text lists some that do."""


@dataclass(frozen=True)
class Found:
    """A layer with maps.

    Attributes:
        name: of the module.
        shapes: ``(C, T, H, W)`` of the map of each pathway in its output.
        class_token: see :func:`~slowfast.reports.gradcam.maps.has_class_token`.
        tokens: whether its maps are tokens.
    """

    name: str
    shapes: tuple[tuple[int, ...], ...]
    class_token: bool = False
    tokens: bool = False


@contextmanager
def at_rest(model: nn.Module) -> Iterator[None]:
    """Evaluation mode of every module; each one's own mode comes back, also after an error."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


def find_layers(model: ClipModel, clips: Sequence[Tensor]) -> list[Found]:
    """The layers with space in their maps, in the order in which they are done.

    Args:
        model: in any mode, which it keeps.
        clips: ``(B, C, T_p, H, W)`` of each pathway.
    """
    found: list[Found] = []
    batch = len(clips[0])

    def look(name: str, output: Any) -> None:
        maps = maps_of(output, batch, len(clips))
        if has_space(maps):
            shapes = tuple(tuple(x.shape[1:]) for x in maps)
            is_tokens = isinstance(output, tuple) and len(output) != len(clips)
            found.append(Found(name, shapes, has_class_token(output), is_tokens))

    hooks = [
        module.register_forward_hook(lambda _m, _i, output, name=name: look(name, output))
        for name, module in model.named_modules()
        if name and not _classifies(model, module)
    ]
    try:
        with at_rest(model), torch.no_grad():
            model.score(clips)
    finally:
        for hook in hooks:
            hook.remove()
    return found


def default_layer(model: ClipModel, clips: Sequence[Tensor]) -> str:
    """The last layer before the head whose maps have space.

    Of a transformer with a class token the last but one: after the last block nothing is read of
    the other tokens.

    Raises:
        LayerError: there is none.
    """
    head = set(getattr(model, "head", nn.Identity()).modules())
    named = dict(model.named_modules())
    found = [
        layer
        for layer in find_layers(model, clips)
        if named[layer.name] not in head and any(True for _ in named[layer.name].parameters())
    ]
    blocks = whole_blocks([layer for layer in found if layer.tokens])
    if blocks:
        found = blocks[:-1] if blocks[-1].class_token and len(blocks) > 1 else blocks
    if not found:
        size = "x".join(map(str, clips[0].shape[-2:]))
        raise LayerError(
            f"{type(model).__name__}: no layer before the head has space left in its maps of "
            f"{size} clips: give larger ones (DATA.TEST_CROP_SIZE)"
        )
    return found[-1].name


def whole_blocks(layers: Sequence[Found]) -> list[Found]:
    """Those that are no part of another: blocks, not the attention in them."""
    names = [f"{layer.name}." for layer in layers]
    return [layer for layer in layers if sum(layer.name.startswith(name) for name in names) == 0]


def check_layer(model: ClipModel, clips: Sequence[Tensor], name: str) -> str:
    """The name of the layer that ``name`` means, when it has maps.

    Args:
        model: the network.
        clips: what it takes.
        name: of a module, with dots or, as in PySlowFast, slashes.

    Raises:
        LayerError: no such layer, or none with maps; lists near ones.
    """
    name = name.strip().replace("/", ".")
    there = [layer.name for layer in find_layers(model, clips)]
    if name in there:
        return name
    modules = [n for n, _ in model.named_modules() if n]
    known = name in modules
    reason = "gives no maps with space in them" if known else "is not one of its layers"
    raise LayerError(
        f"target layer {name!r} of {type(model).__name__} {reason}: try one of "
        f"{', '.join(near_names(name, there))}"
    )


def near_names(name: str, names: Sequence[str]) -> list[str]:
    """A few of ``names``: the most alike, then the last ones."""
    names = list(dict.fromkeys(names))
    near = difflib.get_close_matches(name, names, n=MAX_NEAR, cutoff=0.6)
    near += [n for n in reversed(names) if "." not in n and n not in near]
    near += [n for n in names if n.startswith(name.partition(".")[0] + ".") and n not in near]
    near += [n for n in reversed(names) if n not in near]
    return near[:MAX_NEAR]


def pathways_of(name: str, shapes: Sequence[Sequence[int]], clips: Sequence[Tensor]) -> list[int]:
    """The pathway that each map of a layer belongs to.

    All of them, where it gives one each; else the one in its name; else the one with as many
    frames, the last of several.
    """
    if len(shapes) == len(clips):
        return list(range(len(clips)))
    numbered = PATHWAY.findall(name)
    if numbered and int(numbered[-1]) < len(clips):
        return [int(numbered[-1])]
    frames = [p for p, clip in enumerate(clips) if clip.shape[2] == shapes[0][1]]
    return [frames[-1] if frames else len(clips) - 1]


def _classifies(model: ClipModel, module: nn.Module) -> bool:
    """Whether a module is (or holds) a classifier, or what only drops and copies features."""
    if isinstance(module, nn.Linear | nn.Dropout | nn.ModuleDict):
        return True
    layers = list(model.classifiers.values())
    return any(part is layer for part in module.modules() for layer in layers)
