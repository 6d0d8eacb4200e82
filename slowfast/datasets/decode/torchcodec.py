"""torchcodec: exact frames on constant and variable frame rate, close to PyAV in speed.

Needs FFmpeg's shared libraries on the system. Wheels 0.14 to 0.17 do not load beside a CPU-only
torch; 0.13.0 and 0.11.1 do. Frames outside an edit list are not left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from slowfast.datasets.decode.base import (
    ClosingReader,
    Frames,
    Times,
    VideoError,
    check_indices,
    scaled_size,
)
from slowfast.utils.device import DeviceError
from slowfast.utils.optional import require
from slowfast.utils.stopwatch import Watch, no_watch

if TYPE_CHECKING:
    from torch import Tensor


class TorchCodecReader(ClosingReader):
    """Frames through ``torchcodec.decoders.VideoDecoder``. See :class:`VideoReader`.

    Args:
        path: video file.
        threads: FFmpeg threads, 0 = FFmpeg decides.
        watch: is told what the time goes into: open, decode (to full-size RGB), scale.
    """

    device = "cpu"

    def __init__(self, path: str, *, threads: int = 1, watch: Watch = no_watch) -> None:
        self.path, self._watch = str(path), watch
        with watch("open"):
            self._open(threads)

    def _open(self, threads: int) -> None:
        decoders = require("torchcodec.decoders", extra="video")
        try:
            stream = _first_video_stream(self.path)
            self._decoder = decoders.VideoDecoder(
                self.path,
                stream_index=stream,
                dimension_order="NHWC",
                num_ffmpeg_threads=threads,
                device=self.device,
            )
        except (RuntimeError, ValueError) as error:
            raise VideoError(self.path, f"torchcodec cannot open it: {_line(error)}") from error
        meta = self._decoder.metadata
        self.num_frames = len(self._decoder)
        self.fps = float(meta.average_fps or 30.0)
        first = self._decoder[0]
        self.height, self.width = int(first.shape[0]), int(first.shape[1])
        self.times: Times = np.arange(self.num_frames) / self.fps

    def read(self, indices: Sequence[int], short_side: int | None = None) -> Frames:
        """The frames ``indices`` as ``(N, H, W, 3)`` RGB; see :meth:`VideoReader.read`."""
        numbers = check_indices(self.path, indices, self.num_frames)
        try:
            with self._watch("decode"):
                frames: Tensor = self._decoder.get_frames_at(numbers).data
        except (RuntimeError, IndexError) as error:
            raise VideoError(self.path, f"torchcodec: {_line(error)}") from error
        with self._watch("scale"):
            return _scaled(frames, scaled_size(self.width, self.height, short_side))


class NvdecReader(TorchCodecReader):
    """The same through NVDEC, the video decoder of NVIDIA GPUs; frames are scaled there too.

    Colours may differ from the CPU's by a few of 255 levels. Forked loader workers cannot use a
    GPU: set ``DATA_LOADER.NUM_WORKERS 0``.
    """

    device = "cuda"

    def _open(self, threads: int) -> None:
        import torch

        if torch.cuda._is_in_bad_fork():
            raise DeviceError(
                "DATA.DECODING_BACKEND torchcodec_cuda decodes on the GPU, which loader workers "
                "cannot use: set DATA_LOADER.NUM_WORKERS 0"
            )
        if not torch.cuda.is_available():
            raise DeviceError(
                "DATA.DECODING_BACKEND torchcodec_cuda needs an NVIDIA GPU and a CUDA build of "
                f"torch, this is torch {torch.__version__} without: use pyav or torchcodec"
            )
        super()._open(threads)


def _first_video_stream(path: str) -> int:
    """The stream PyAV's reader takes; torchcodec alone would take FFmpeg's "best"."""
    from slowfast.datasets.decode.pyav import PyAVReader

    with PyAVReader(path) as reader:
        return reader.stream_index


def _scaled(frames: Tensor, size: tuple[int, int]) -> Frames:
    """``(N, H, W, 3)`` uint8 tensor to an array of width and height ``size``, anti-aliased."""
    import torch.nn.functional as F

    if (frames.shape[2], frames.shape[1]) != size:
        planes = frames.permute(0, 3, 1, 2)
        if planes.is_cuda:  # where only floats are interpolated
            planes = planes.float()
        planes = F.interpolate(planes, (size[1], size[0]), mode="bilinear", antialias=True)
        if planes.is_cuda:
            planes = planes.round_().clamp_(0, 255).byte()
        frames = planes.permute(0, 2, 3, 1)
    return np.ascontiguousarray(frames.cpu().numpy())


def _line(error: BaseException) -> str:
    """The first line of a long message."""
    return (str(error).splitlines() or [type(error).__name__])[0]
