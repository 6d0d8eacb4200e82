"""Streaming forms of the families that look at single frames first."""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor

from slowfast.models.base import Preds
from slowfast.models.imfe import IMFE
from slowfast.models.resnet_lstm import ResNetLSTM
from slowfast.models.streaming.memory import Memory, State
from slowfast.models.streaming.model import StreamingModel, StreamSpec
from slowfast.models.streaming.stream import StreamingError
from slowfast.models.streaming.timing import Timing

Size = tuple[int, int]
IMAGE_SIZE = (224, 224)


class FrameStream(StreamingModel):
    """Something kept of each frame, and the clip model's own layers on a window of it.

    Args:
        model: copied.
        spec: see :class:`~slowfast.models.streaming.model.StreamSpec`.
        stride: distance of a clip's frames in the stream.
    """

    def __init__(self, model: ResNetLSTM | IMFE, spec: StreamSpec, stride: int = 1) -> None:
        super().__init__(spec)
        self.model = copy.deepcopy(model)
        self.timing = Timing(rate=stride)
        self.requires_grad_(False).eval()


class LSTMWindow(FrameStream):
    """ResNet+LSTM over the features of the last frames."""

    model: ResNetLSTM

    def run(self, frame: Tensor, memory: Memory) -> Preds:
        features = self.model.frame_features(frame)
        window = memory.window("features", features, self.spec.window, self.timing)
        return self.model.forward_head(self.model.window_features(window))


class LSTMState(FrameStream):
    """A unidirectional ResNet+LSTM with ``pool='last'``: all frames since the beginning count."""

    model: ResNetLSTM

    def run(self, frame: Tensor, memory: Memory) -> Preds:
        h, c = (memory.state[name].transpose(0, 1).contiguous() for name in ("h", "c"))
        preds, after = self.model.step(frame, (h, c))
        for name, value in zip(("h", "c"), after, strict=True):
            memory.next[name] = value.transpose(0, 1)
        return preds

    @torch.no_grad()
    def init_state(self, batch: int = 1, *, frame: Tensor | None = None) -> State:
        """Zeros, as before the first frame of a clip."""
        lstm, weight = self.model.lstm, next(self.parameters())
        batch = batch if frame is None else len(frame)
        shape = (batch, lstm.num_layers, lstm.hidden_size)
        return {name: weight.new_zeros(shape) for name in ("h", "c")}


class PairStream(FrameStream):
    """IMFE over the last pairs of frames."""

    model: IMFE

    def run(self, frame: Tensor, memory: Memory) -> Preds:
        maps = self.model.frame_features(frame)
        before = memory.past("maps", maps, 1, self.timing)[0]
        pair = self.model.pair_features(before, maps)
        pairs = memory.past("pairs", pair, self.spec.window - 2, self.timing)
        return self.model.forward_head(self.model.window_features(torch.stack(pairs, dim=1)))


def stream_lstm(
    model: ResNetLSTM, *, frame_size: Size | None, window: int | None, stride: int
) -> StreamingModel:
    """Recurrent where the model is, over windows otherwise."""
    size = frame_size or IMAGE_SIZE
    if model.pool == "last":
        return LSTMState(model, frame_spec(model, size, frames=1, receptive_field=math.inf))
    if window is None:
        raise StreamingError(
            "this ResNetLSTM looks at whole clips (bidirectional, or the mean over time): give "
            "window, the frames of a clip (DATA.NUM_FRAMES)"
        )
    return LSTMWindow(model, frame_spec(model, size, frames=window, stride=stride), stride)


def stream_imfe(
    model: IMFE, *, frame_size: Size | None, window: int | None, stride: int
) -> StreamingModel:
    """Over as many frames as the model was built for."""
    if window not in (None, model.num_frames):
        raise StreamingError(f"this IMFE compares {model.num_frames} frames, not {window}")
    size = frame_size or (model.input_size[0], model.input_size[1])
    return PairStream(model, frame_spec(model, size, model.num_frames, stride), stride)


def frame_spec(
    model: ResNetLSTM | IMFE,
    size: Size,
    frames: int,
    stride: int = 1,
    *,
    receptive_field: float | None = None,
) -> StreamSpec:
    """Of a window of ``frames``, ``stride`` apart."""
    delay = (frames - 1) * stride
    return StreamSpec(
        tasks=tuple(model.classifiers) or ("feature",),
        head_act=model.head_act,
        frame_size=size,
        channels=3,
        window=frames,
        delay=delay,
        receptive_field=delay + 1 if receptive_field is None else receptive_field,
        dense=True,
    )
