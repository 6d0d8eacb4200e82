"""A network at work in TensorBoard: its clips, its layers, its weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from slowfast.reports.board.clips import add_clip, clip_tag
from slowfast.reports.gradcam.draw import Image, captioned, colour_map, frames_of
from slowfast.reports.gradcam.explain import explain
from slowfast.reports.gradcam.layers import LayerError, near_names
from slowfast.reports.gradcam.pictures import Picture
from slowfast.utils.errors import UserError

MOST_CHANNELS = 64
GRID_GAP = 1


@dataclass(frozen=True)
class LayerChoice:
    """A layer of ``TENSORBOARD.MODEL_VIS.LAYER_LIST``, and what of it is shown.

    Attributes:
        name: of the layer.
        index: lists of numbers along channels and frames; empty: all channels, middle frame.
    """

    name: str
    index: tuple[tuple[int, ...], ...] = ()


def read_layer(text: str) -> LayerChoice:
    """``"s5/pathway0_res2 0,7;1,1"`` -> channel 0 at frame 1, channel 7 at frame 1.

    Raises:
        UserError: not of that form.
    """
    name, _, rest = text.strip().partition(" ")
    try:
        groups = [part for part in rest.strip().split(";") if part.strip()]
        index = tuple(tuple(int(i) for i in part.split(",")) for part in groups)
    except ValueError:
        index = ((), (), ())
    if len(index) > 2 or len({len(part) for part in index}) > 1:
        raise UserError(
            f"TENSORBOARD.MODEL_VIS.LAYER_LIST {text!r}: after the layer give channels, or "
            "channels;frames of one length, as in 'layer 0,7;1,1'"
        )
    return LayerChoice(name.replace("/", "."), index)


@dataclass(frozen=True)
class InputBoard:
    """Adds ``Input/<video>``: the clip as the network sees it, and its best classes.

    Attributes:
        writer: of TensorBoard.
        top_k: classes of each task.
        colours: matplotlib's name of the bars' colours.
        step: that it is filed under.
    """

    writer: Any
    top_k: int = 1
    colours: str = "Pastel2"
    step: int = 0

    def __call__(self, number: int, picture: Picture) -> None:
        """Adds a clip."""
        several = len(picture.found.scores) > 1
        lines = [
            f"{task + ' ' if several else ''}{best['name']} {best['score']:.0%}"
            for task in picture.found.scores
            for best in picture.top(task)[: self.top_k]
        ]
        colours = [tuple(c) for c in (colour_map(self.colours)(range(8))[:, :3] * 255).astype(int)]
        frames = captioned(frames_of(picture.clip.frames), lines, colours)
        add_clip(self.writer, clip_tag("Input", picture), frames, picture.clip.fps, self.step)


@dataclass(frozen=True)
class ActivationBoard:
    """Adds ``Activations/<layer>/<video>``: a grid of maps, each from its least to its greatest.

    Attributes:
        writer: of TensorBoard.
        layers: that are shown.
        step: that it is filed under.
    """

    writer: Any
    layers: Sequence[LayerChoice]
    step: int = 0

    def __call__(self, number: int, picture: Picture) -> None:
        """Adds the maps of a clip, of a pathway each where a layer gives several."""
        names = [layer.name for layer in self.layers]
        clips = picture.explainer.inputs(picture.clip)
        found = explain(picture.explainer.model, clips, layers=names).features
        for layer in self.layers:
            maps = found[layer.name]
            for p, of_pathway in enumerate(maps):
                chosen = pick(of_pathway[0].float().cpu().numpy(), layer)
                which = f"_pathway{p}" if len(maps) > 1 else ""
                tag = clip_tag(f"Activations/{layer.name}{which}", picture)
                self.writer.add_image(tag, grid(chosen), self.step, dataformats="HW")


def pick(maps: NDArray[Any], layer: LayerChoice) -> NDArray[Any]:
    """``(C, T, H, W)`` -> ``(N, H, W)``, those that the layer's index names."""
    try:
        if len(layer.index) == 2:
            return np.asarray(maps[layer.index[0], layer.index[1]])
        chosen = maps[list(layer.index[0])] if layer.index else maps[:MOST_CHANNELS]
    except IndexError as error:
        raise UserError(
            f"TENSORBOARD.MODEL_VIS.LAYER_LIST: {layer.name} has {maps.shape[0]} channels of "
            f"{maps.shape[1]} frames ({error})"
        ) from error
    return np.asarray(chosen[:, maps.shape[1] // 2])


def grid(pictures: NDArray[Any]) -> Image:
    """``(N, H, W)`` -> one picture, about square, each part stretched to 0..255."""
    count, height, width = pictures.shape
    columns = int(np.ceil(np.sqrt(count)))
    rows = -(-count // columns)
    factor = max(1, 32 // max(height, width))
    least = pictures.min(axis=(1, 2), keepdims=True)
    reach = pictures.max(axis=(1, 2), keepdims=True) - least
    grey = 255 * (pictures - least) / np.where(reach > 0, reach, 1)
    grey = grey.round().astype(np.uint8).repeat(factor, 1).repeat(factor, 2)
    cell_h, cell_w = grey.shape[1] + GRID_GAP, grey.shape[2] + GRID_GAP
    picture = np.zeros((rows * cell_h, columns * cell_w), np.uint8)
    for i, part in enumerate(grey):
        top, left = i // columns * cell_h, i % columns * cell_w
        picture[top : top + part.shape[0], left : left + part.shape[1]] = part
    return picture


def add_weights(
    writer: Any, model: nn.Module, layers: Sequence[LayerChoice], step: int = 0
) -> None:
    """Adds ``Weights/<parameter>``: a histogram of every parameter of ``layers``, all if none.

    Raises:
        LayerError: no such layer, or one without parameters.
    """
    wanted = [f"{layer.name}." for layer in layers]
    parameters = dict(model.named_parameters())
    for layer in wanted:
        if not any(name.startswith(layer) for name in parameters):
            modules = [name for name, _ in model.named_modules() if name]
            near = ", ".join(near_names(layer.rstrip("."), modules))
            raise LayerError(
                f"TENSORBOARD.MODEL_VIS.LAYER_LIST {layer.rstrip('.')!r} has no weights: try {near}"
            )
    for name, value in parameters.items():
        if not wanted or any(name.startswith(layer) for layer in wanted):
            writer.add_histogram(f"Weights/{name}", value.detach().float().cpu().numpy(), step)
