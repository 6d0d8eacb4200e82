"""A clip model that computes what its stream will: the form to finetune in (``MODEL.STREAMING``).

A stream differs from the clip model it is made of in two ways. Squeeze-and-excitation and
local-global diffusion look at whole clips, of which a stream has none; and at the ends of a clip
temporal convolutions see zeros where a stream sees the frames before and after. In streaming form
a clip model does the former as the stream does, and the latter as near to it as one likes. It is
still a clip model: class, parameter names and shapes stay, so weights move both ways.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from slowfast.models.base import ClipModel
from slowfast.models.layers.frame_lgd import set_frame_diffusion
from slowfast.models.layers.head import X3DHead
from slowfast.models.layers.se import SqueezeExcite
from slowfast.models.layers.streaming_se import (
    SCOPES,
    FrozenSqueezeExcite,
    StreamingSqueezeExcite,
    set_squeeze,
)
from slowfast.models.layers.time_padding import KINDS, set_time_padding
from slowfast.models.staged import StagedModel
from slowfast.models.streaming.convolutional import build_trunk
from slowfast.models.streaming.stream import StreamingError

PADDINGS = ("zeros", "replicate", "causal", "valid")
"""``zeros``: as every clip model. ``replicate``: the end frames go on. ``causal``: nothing ahead is
seen, zeros before the clip; the stream then has no lookahead and equals the clip from its first
step on. ``valid``: only values that no padding reaches are pooled; clips must be longer."""

DEFAULT_FRAMES = 16


@dataclass(frozen=True)
class StreamingForm:
    """How a network deals with what a clip has and a stream has not.

    Attributes:
        padding: one of ``PADDINGS``.
        squeeze: key of :data:`~slowfast.models.layers.streaming_se.SCOPES`.
        squeeze_frames: of running means; 0: the window.
        window: frames pooled by the head; 0: those of a clip.
    """

    padding: str = "zeros"
    squeeze: str = "frame"
    squeeze_frames: int = 0
    window: int = 0

    def __post_init__(self) -> None:
        if self.padding not in PADDINGS:
            raise StreamingError(f"padding {self.padding!r}: give one of {PADDINGS}")
        if self.squeeze not in SCOPES:
            raise StreamingError(f"squeeze {self.squeeze!r}: give one of {tuple(SCOPES)}")
        if self.padding == "valid" and not self.window:
            raise StreamingError(
                "padding valid takes clips longer than what is pooled, so it needs the window "
                "(MODEL.STREAMING.WINDOW)"
            )


def set_streaming_form(model: ClipModel, form: StreamingForm) -> ClipModel:
    """Give a clip model its streaming form, in place.

    Args:
        model: of a family that streams.
        form: what the form is.

    Returns:
        The same model.
    """
    if form.window and isinstance(model, StagedModel):
        set_window(model, form.window)
    if form.padding == "valid":
        trim_padded(model)
    elif form.padding in KINDS:
        set_time_padding(model, form.padding)
    frames = form.squeeze_frames or form.window or pooled_frames(model) or DEFAULT_FRAMES
    set_squeeze(model, form.squeeze, frames=frames)
    set_frame_diffusion(model)
    return model


def pooled_frames(model: ClipModel) -> int:
    """Values over time that the head pools; 0: it pools all there are."""
    if not isinstance(model, StagedModel):
        return 0
    head = model.head
    return (head.pool_size if isinstance(head, X3DHead) else head.pool_sizes[0])[0]


def set_window(model: StagedModel, window: int) -> None:
    """Let the head pool ``window`` frames instead of a clip's."""
    head = model.head
    if isinstance(head, X3DHead):
        head.pool_size = (window, *head.pool_size[1:])
        return
    before = head.pool_sizes[-1][0]
    rescaled = [(size[0] * window / before, *size[1:]) for size in head.pool_sizes]
    if any(size[0] % 1 for size in rescaled):
        raise StreamingError(
            f"a window of {window} frames: the pathways of this network need a multiple of "
            f"{before // min(size[0] for size in head.pool_sizes)}"
        )
    head.pool_sizes = [(int(t), h, w) for t, h, w in rescaled]


def is_streaming_form(model: nn.Module) -> bool:
    """Whether nothing in ``model`` squeezes a whole clip."""
    return not any(
        isinstance(module, SqueezeExcite) and not isinstance(module, StreamingSqueezeExcite)
        for module in model.modules()
    )


class Trim:
    """A hook that takes off the values that padding reaches.

    Args:
        ends: how many at the beginning and at the end, per pathway.
    """

    def __init__(self, ends: Sequence[tuple[int, int]]) -> None:
        self.ends = list(ends)

    def __call__(self, module: nn.Module, inputs: Any, output: Any) -> Any:
        """The output, shorter in time."""
        if isinstance(output, Tensor):
            return self._trim(output, *self.ends[0])
        return [self._trim(x, *ends) for x, ends in zip(output, self.ends, strict=True)]

    def _trim(self, x: Tensor, before: int, after: int) -> Tensor:
        if x.shape[2] <= before + after:
            raise StreamingError(
                f"of {x.shape[2]} values over time padding reaches {before} and {after} at the "
                "ends: MODEL.STREAMING.PADDING valid needs longer clips (DATA.NUM_FRAMES)"
            )
        return x[:, :, before : x.shape[2] - after]


def trim_padded(model: ClipModel) -> None:
    """Let the head see only values that depend on no padding, in place."""
    timings = build_trunk(model)[0].timings
    period = max(timing.rate for timing in timings)
    # The pathways go on being about the same frames: whole periods.
    before = -(-max(timing.back for timing in timings) // period)
    after = -(-max(timing.delay - timing.rate + 1 for timing in timings) // period)
    ends = [(before * period // t.rate, after * period // t.rate) for t in timings]
    last_layer(model).register_forward_hook(Trim(ends))


def last_layer(model: ClipModel) -> nn.Module:
    """What runs right before the head."""
    if isinstance(model, StagedModel):
        return getattr(model, model.stages[-1])
    last = getattr(getattr(model, "backbone", None), "last", None)
    return last if isinstance(last, nn.Module) else model.get_submodule("features")


@torch.no_grad()
def calibrate(model: ClipModel, batches: Iterable[Sequence[Tensor]]) -> int:
    """Freeze the squeezes of a model at their means over clips; the model is not trained.

    Args:
        model: in streaming form ``frozen``; kept in evaluation mode.
        batches: clips per pathway, ``[(B, C, T_p, H, W)]``, like those of the training data.

    Returns:
        How many batches there were.

    Raises:
        StreamingError: no layer to freeze, or no batch.
    """
    layers = [m for m in model.modules() if isinstance(m, FrozenSqueezeExcite)]
    if not layers:
        raise StreamingError("calibrate: the model has no squeeze of the kind 'frozen'")
    for layer in layers:
        layer.squeezed.zero_()
        layer.batches.zero_()
    training, count = model.training, 0
    handles = [layer.register_forward_pre_hook(_observe) for layer in layers]
    try:
        model.eval()
        for batch in batches:
            model(list(batch))
            count += 1
    finally:
        for handle in handles:
            handle.remove()
        model.train(training)
    if not count:
        raise StreamingError("calibrate: no clips given")
    return count


def _observe(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
    assert isinstance(layer, FrozenSqueezeExcite)
    layer.observe(inputs[0], momentum=1.0 / (int(layer.batches) + 1))  # the plain mean
