"""Writes frames as a real H.264 file or as a folder of JPEG images."""

from __future__ import annotations

import io
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image


def write_video(
    path: Path, frames: NDArray[np.uint8], *, fps: Fraction | int = 30, crf: int = 20, gop: int = 12
) -> None:
    """Encode to an ``.mp4`` with key frames every ``gop`` frames and two B-frames between others.

    The same frames give the same bytes (one thread, no time stamp in the header).

    Args:
        path: the file; its folder exists.
        frames: uint8 RGB ``(T, H, W, 3)``, H and W even (4:2:0 chroma).
        fps: frames per second.
        crf: x264's constant rate factor: 0 lossless, 18 hardly visible, 51 worst.
        gop: largest distance of two key frames.

    Raises:
        ValueError: an odd height or width.
    """
    _, height, width, _ = frames.shape
    if height % 2 or width % 2:
        raise ValueError(f"{path}: H.264 in yuv420p needs even sides, got {width}x{height}")
    # Macroblock-tree rate control is off: its vector code (x264 in PyAV 18) reads memory that was
    # never set where a row has an odd number of blocks, so that now and then bytes differed.
    options = {"preset": "veryfast", "crf": str(crf), "g": str(gop), "bf": "2", "mbtree": "0"}
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=fps, options=options)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.thread_count = 1
        for picture in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())


def write_frames(
    folder: Path, frames: NDArray[np.uint8], *, pattern: str, quality: int = 90
) -> None:
    """Write each frame as a JPEG image, numbered from 1. The same frames give the same bytes.

    Args:
        folder: made when missing.
        frames: uint8 RGB ``(T, H, W, 3)``.
        pattern: file name with the number's place, e.g. ``{:05d}.jpg``.
        quality: of JPEG, 1 to 95.
    """
    folder.mkdir(exist_ok=True)
    data, shown = b"", None
    for number, picture in enumerate(frames, start=1):
        if shown is None or not np.array_equal(picture, shown):  # the picture stands still
            encoded = io.BytesIO()
            Image.fromarray(picture).save(encoded, "JPEG", quality=quality)
            data, shown = encoded.getvalue(), picture
        (folder / pattern.format(number)).write_bytes(data)
