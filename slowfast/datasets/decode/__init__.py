"""Decoding exactly the frames that are asked for: one small protocol, one file per backend."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable

from slowfast.datasets.decode.base import (
    FrameCountError,
    Frames,
    Region,
    RegionReader,
    RegionsReader,
    VideoError,
    VideoReader,
    scaled_size,
)
from slowfast.registry import Registry
from slowfast.utils.stopwatch import Watch, no_watch

__all__ = [
    "READERS",
    "FrameCountError",
    "Frames",
    "Region",
    "RegionReader",
    "RegionsReader",
    "VideoError",
    "VideoReader",
    "open_video",
    "scaled_size",
]

READERS: Registry[Callable[..., VideoReader]] = Registry(
    "decoding backend",
    {
        "pyav": "slowfast.datasets.decode.pyav:PyAVReader",
        "opencv": "slowfast.datasets.decode.opencv:OpenCVReader",
        "torchcodec": "slowfast.datasets.decode.torchcodec:TorchCodecReader",
        "torchcodec_cuda": "slowfast.datasets.decode.torchcodec:NvdecReader",
    },
)

REPLACED_BY_PYAV = ("torchvision", "decord")  # PySlowFast's default no longer exists


def open_video(
    path: str, backend: str = "pyav", *, threads: int = 1, watch: Watch = no_watch
) -> VideoReader:
    """A reader for the video stream of ``path``.

    Args:
        path: video file.
        backend: ``DATA.DECODING_BACKEND``; ``"torchvision"`` and ``"decord"`` mean PyAV.
        threads: decoding threads, 0 = as many as the library likes. One is best inside loader
            workers: more cut the waiting but cost more CPU in total.
        watch: is told what the time goes into.

    Raises:
        VideoError: missing, unreadable, without video, or cut short.
    """
    if backend in REPLACED_BY_PYAV:
        _say_replaced(backend)
        backend = "pyav"
    return READERS.get(backend)(path, threads=threads, watch=watch)


@functools.cache  # one line per process and name
def _say_replaced(backend: str) -> None:
    logging.getLogger(__name__).info(
        "DATA.DECODING_BACKEND %r is served by 'pyav' (available: %s)", backend, list(READERS)
    )
