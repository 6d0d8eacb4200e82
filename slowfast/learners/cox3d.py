"""CoX3D: an X3D that sees one frame at a time, and remembers."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from slowfast.deploy.export.streaming import build_stream_info
from slowfast.deploy.stream import ModelRunner, StreamRunner, open_stream
from slowfast.learners.arguments import NETWORK
from slowfast.learners.backbones import BACKBONES
from slowfast.learners.inputs import build_inputs
from slowfast.learners.learner import LearnerError
from slowfast.learners.optimizing import copy_stream, optimize_stream
from slowfast.learners.types import Category
from slowfast.learners.x3d import X3DLearner
from slowfast.models.streaming import StreamingModel, build_streaming

logger = logging.getLogger(__name__)


@dataclass(eq=False, repr=False)
class CoX3DLearner(X3DLearner):
    """Recognises actions frame by frame with a CoX3D, Hedegaard and Iosifidis 2022.

    https://arxiv.org/abs/2106.00050. Its weights are those of an X3D. :meth:`fit` and :meth:`eval`
    take clips, in the form that the stream computes (squeeze-and-excitation per frame, pooling
    over the window; docs/streaming.md says how near that is to X3D and to the stream).

    Args:
        temporal_window_size: frames that a prediction is about; ``None``: as many as the
            backbone's clips have. It may be longer than these: more to go by, at no cost per frame.

    The other arguments and attributes are those of :class:`X3DLearner`.
    """

    name: ClassVar[str] = "cox3d"
    network: ClassVar[tuple[str, ...]] = (*NETWORK, "temporal_window_size")

    temporal_window_size: int | None = None

    def __post_init__(self) -> None:
        self._stream: StreamingModel | None = None
        self._streams = 0  # that are being followed
        super().__post_init__()

    @property
    def delay(self) -> int:
        """Frames from the first of the window that a prediction is about to the newest."""
        return self.stream.delay

    @property
    def receptive_field(self) -> int:
        """Frames that a prediction depends on."""
        return int(self.stream.receptive_field)

    @property
    def stream(self) -> StreamingModel:
        """The network that goes frame by frame, of the weights there are."""
        if self._stream is None:
            self._stream = build_streaming(self._config(), self.model)
        return self._stream

    @torch.no_grad()
    def infer(self, batch: Any) -> list[Category]:
        """What is seen after one more frame of every stream; never nothing.

        A stream begins as if its first frame had been there for ever. What is predicted is about
        the ``temporal_window_size`` frames that began ``delay`` frames ago.

        Args:
            batch: :class:`Image` or a tensor ``(3, H, W)``: a frame of one stream; a list of them
                or a tensor ``(B, 3, H, W)``: of ``B`` streams. Frames follow each other as in
                training, 5 or 6 per second (30 divided by the stride of the backbone's clips).
                Also whole clips, as :meth:`X3DLearner.infer` takes: their frames one after the
                other. uint8 pixels are scaled, cropped and normalised; others should be
                normalised already.

        Returns:
            One category per stream, after its newest frame.

        Raises:
            LearnerError: another number of streams than before; :meth:`reset` begins new ones.
        """
        steps = build_inputs(self._config()).steps(batch)
        runner = self._begun(steps[0])
        scores = [runner.predict(frame.to(self._device())) for frame in steps][-1]
        return self._categories(scores)

    def arguments_of(self, metadata: Mapping[str, Any]) -> dict[str, Any]:
        """As of any learner; a window that this one was built with stays.

        Args:
            metadata: of a saved one.
        """
        found = super().arguments_of(metadata)
        own, saved = self.temporal_window_size, found.get("temporal_window_size")
        if own is not None:
            if saved not in (None, own):
                logger.warning("temporal_window_size is %d, as asked; %d was saved", own, saved)
            found["temporal_window_size"] = own
        return found

    def reset(self) -> None:
        """Forget all frames: the next ones begin new streams."""
        self._streams = 0

    def _begun(self, frame: Tensor) -> StreamRunner:
        """The streams, which begin with ``frame`` if there are none."""
        if self._runtime is None:
            self._runtime = ModelRunner(self.stream)
            self._streams = 0
        runner: StreamRunner = self._runtime
        if self._optimized is not None:
            self._check_frame(frame)
        if not self._streams:
            first = frame.to(next(self.stream.parameters()).device)
            runner.state = self.stream.init_state(len(frame), frame=first)
            self._streams = len(frame)
        if len(frame) != self._streams:
            raise LearnerError(
                f"got frames of {len(frame)} streams, and {self._streams} are being followed: "
                "call reset() to begin new ones"
            )
        return runner

    def _check_frame(self, frame: Tensor) -> None:
        size = self.stream.spec.frame_size
        if tuple(frame.shape[-2:]) != size:
            raise LearnerError(
                f"the optimised network takes frames of {size}, got {tuple(frame.shape[-2:])}: "
                "set image_size, or give uint8"
            )

    def _device(self) -> torch.device:
        return torch.device("cpu") if self._optimized is not None else self._placement.device

    def _window(self) -> int:
        backbone = BACKBONES[self.backbone].sized(None, self.frames_per_clip, None)
        return self.temporal_window_size or backbone.frames

    def _is_of_kind(self, metadata: Mapping[str, Any]) -> bool:
        """Whether an ONNX file is of this network: its window is part of it."""
        saved = metadata["inference_params"].get("temporal_window_size")
        own = self.temporal_window_size
        return super()._is_of_kind(metadata) and own in (None, saved)

    def _export(self, path: Path, *, fold: bool) -> None:
        info = build_stream_info(
            self._config(), self.model, self.stream, class_names=self._task_names()
        )
        optimize_stream(self.stream, info, path, fold=fold)

    def _open(self, path: Path) -> Any:
        return open_stream(path)

    def _copy_optimized(self, source: Path, target: Path) -> None:
        copy_stream(source, target)

    def _forget_optimized(self) -> None:
        super()._forget_optimized()
        self._stream = None
        self.reset()
