"""Squeeze-and-excitation without a clip to squeeze."""

from __future__ import annotations

import torch
from torch import Tensor

from slowfast.models.layers.mobilenetv3_block import FrameSqueezeExcite
from slowfast.models.layers.se import SqueezeExcite
from slowfast.models.layers.streaming_se import FrozenSqueezeExcite, RunningSqueezeExcite
from slowfast.models.streaming.memory import Memory
from slowfast.models.streaming.stream import Chain, Stream, StreamingError
from slowfast.models.streaming.timing import Timing


class Gate(Stream):
    """Scales the channels of a frame.

    Where the means come from is a matter of the layer it is made of: the frame itself, the last
    frames (:class:`~slowfast.models.layers.streaming_se.RunningSqueezeExcite`), or the training
    data (:class:`~slowfast.models.layers.streaming_se.FrozenSqueezeExcite`).
    """

    def __init__(
        self, layer: SqueezeExcite | FrameSqueezeExcite, name: str, timing: Timing
    ) -> None:
        self.frames = layer.frames if isinstance(layer, RunningSqueezeExcite) else 1
        super().__init__(timing.reaching(timing.back + timing.rate * (self.frames - 1)))
        self.name, self.source = name, timing
        last = layer.gate if isinstance(layer, FrameSqueezeExcite) else layer.sigmoid
        parts = {"fc1": layer.fc1, "relu": layer.relu, "fc2": layer.fc2, "gate": last}
        self.excite = Chain([(f"{name}.{key}", part) for key, part in parts.items()], Timing())
        self.frozen: Tensor | None
        self.register_buffer("frozen", None)
        if isinstance(layer, FrozenSqueezeExcite):
            if not layer.is_calibrated:
                raise StreamingError(
                    f"{name} has no means to freeze yet: run "
                    "slowfast.models.streaming.calibrate(model, clips) on training clips first"
                )
            with torch.no_grad():
                self.frozen = self.excite(layer.squeezed.clone().view(1, -1, 1, 1), Memory({}))
            self.excite = Chain([], Timing())  # the gate is a constant

    def forward(self, x: Tensor, memory: Memory) -> Tensor:
        if self.frozen is not None:
            return x * self.frozen
        means = x.mean(dim=(2, 3), keepdim=True)  # (B, C, 1, 1)
        if self.frames > 1:
            window = memory.window(self.name, means.flatten(1), self.frames, self.source)
            means = window.mean(dim=1)[..., None, None]
        return x * self.excite(means, memory)
