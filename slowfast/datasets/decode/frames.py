"""Videos kept as folders of numbered images; only the images asked for are read.

Such a video is written as a path whose file name has a number in it,
``rawframes/clip_1/{:05d}.jpg``, and frame ``i`` is the image with the number ``i``. So annotations
that name images need no shift, and a folder that starts at 1 simply has no frame 0.

JPEG images are decoded at 1/2, 1/4 or 1/8 of their size where the wanted short side permits: the
scaling happens on DCT coefficients, before most of the work (``simplejpeg``; without it, Pillow's
draft mode does the same more slowly).
"""

from __future__ import annotations

import importlib
import io
import math
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.nn import functional

from slowfast.datasets.augment.spatial import Box
from slowfast.datasets.decode.base import (
    ClosingReader,
    Frames,
    Region,
    VideoError,
    check_pixels,
    scaled_size,
)
from slowfast.utils.stopwatch import Watch, no_watch

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
_JPEG_SUFFIXES = (".jpg", ".jpeg")
_PLACE = re.compile(r"\{:0?\d*d\}")
_NUMBERED = re.compile(r"(?P<head>.*?)(?P<digits>\d+)(?P<tail>\.[^.]+)", re.DOTALL)


class FrameFolder(NamedTuple):
    """What a folder of numbered images holds.

    Attributes:
        pattern: file name with the number's place, e.g. ``frame_{:010d}.jpg``.
        first: smallest number.
        last: largest number.
        num_images: images of this pattern; less than ``last - first + 1`` when some are missing.
    """

    pattern: str
    first: int
    last: int
    num_images: int


def is_frame_path(path: str) -> bool:
    """Whether a path stands for numbered images rather than for one file.

    Example:
        >>> is_frame_path("frames/0001/{:05d}.jpg"), is_frame_path("clip.mp4")
        (True, False)
    """
    return _PLACE.search(os.path.basename(path)) is not None


def name_pattern(file_name: str) -> str | None:
    """The pattern of a numbered image's name; ``None`` for other files.

    Example:
        >>> name_pattern("frame_0000000034.jpg"), name_pattern("cover.jpg")
        ('frame_{:010d}.jpg', None)
    """
    match = _NUMBERED.fullmatch(file_name)
    if match is None or match["tail"].lower() not in IMAGE_SUFFIXES:
        return None
    head = match["head"].replace("{", "{{").replace("}", "}}")
    digits = match["digits"]
    # "10.jpg" could be one of "1.jpg", "2.jpg", ...: no leading zero, no fixed width
    width = f"0{len(digits)}" if digits[0] == "0" or len(digits) >= 5 else ""
    return f"{head}{{:{width}d}}{match['tail']}"


def detect_pattern(folder: str | Path) -> str | None:
    """The naming pattern of the first numbered image met in ``folder``, ``None`` without one."""
    with os.scandir(folder) as entries:
        names = (name_pattern(entry.name) for entry in entries)
        return next((pattern for pattern in names if pattern), None)


def scan_frames(folder: str | Path, pattern: str | None = None) -> FrameFolder:
    """Which numbered images a folder holds; lists the whole folder.

    Args:
        folder: the folder.
        pattern: count only images named so; found out from the images by default.

    Raises:
        VideoError: no such folder, or no numbered image in it.
    """
    try:
        pattern = pattern or detect_pattern(folder)
        if pattern is None:
            raise VideoError(str(folder), "no numbered image (such as 00001.jpg) in this folder")
        head, _, tail = _PLACE.sub("\0", pattern).partition("\0")
        named = re.compile(
            f"{re.escape(head.format())}(\\d+){re.escape(tail.format())}", re.DOTALL
        ).fullmatch
        numbers = [int(match[1]) for match in map(named, os.listdir(folder)) if match]
    except OSError as error:
        raise VideoError(str(folder), error.strerror or "cannot be listed") from error
    if not numbers:
        raise VideoError(str(folder), f"no image named like {pattern.format(1)} in this folder")
    return FrameFolder(pattern, min(numbers), max(numbers), len(numbers))


class FrameFolderReader(ClosingReader):
    """Reads numbered images by their numbers.

    Nothing is listed when ``first`` and ``last`` are given: a clip costs as many file reads as it
    has frames. EXIF rotation is not applied: frames extracted from videos have none.

    Args:
        path: ``folder/pattern``, e.g. ``0001/{:05d}.jpg``, or a folder (it is then listed).
        first: number of an image that exists, for the size; by default the smallest.
        last: largest number; by default of the folder.
        fps: frames per second, for ``times``.
        watch: is told what the time goes into: open, read, decode, scale.

    Attributes:
        num_frames: ``last + 1``; frames below ``first`` may not exist.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        first: int | None = None,
        last: int | None = None,
        fps: float = 30.0,
        watch: Watch = no_watch,
    ) -> None:
        self._watch = watch
        with watch("open"):
            self._open(os.fspath(path), first, last)
        self.fps = fps
        self.times = np.arange(self.num_frames, dtype=np.float64) / fps

    def _open(self, text: str, first: int | None, last: int | None) -> None:
        self._folder, self._pattern = os.path.split(text) if is_frame_path(text) else (text, "")
        if not self._pattern or first is None or last is None:
            found = scan_frames(self._folder, self._pattern or None)
            self._pattern = found.pattern
            first = found.first if first is None else first
            last = found.last if last is None else last
        self.num_frames = last + 1
        self.height, self.width = image_size(self._image_path(first), self._image(first))

    def read(self, indices: Sequence[int], short_side: int | None = None) -> Frames:
        """The images numbered ``indices`` (any order, repeats allowed) as ``(N, H, W, 3)`` RGB.

        Args:
            indices: numbers in the file names.
            short_side: scale to this short side; ``None`` keeps the size.

        Raises:
            VideoError: an image is missing, damaged or of another size; the text names it.
        """
        size = scaled_size(self.width, self.height, short_side)
        return self._read(indices, size, Region(0, 0, self.height, self.width, size[::-1]))

    def read_region(self, indices: Sequence[int], region: Region) -> Frames:
        """A part of the images ``indices``; see :class:`RegionReader`."""
        height, width = region.size
        scale = min(max(height / region.height, width / region.width), 1.0)
        least = (math.ceil(self.width * scale), math.ceil(self.height * scale))
        return self._read(indices, least, region)

    def _read(self, indices: Sequence[int], least: tuple[int, int], region: Region) -> Frames:
        """``region`` of images that decoding may make smaller, to no less than ``least`` (W, H)."""
        numbers = [int(index) for index in indices]
        frames = np.empty((len(numbers), *region.size, 3), dtype=np.uint8)
        done: dict[int, int] = {}
        for position, number in enumerate(numbers):
            if number in done:
                frames[position] = frames[done[number]]
                continue
            done[number] = position
            picture = self._decode(number, least)
            with self._watch("scale"):
                frames[position] = _resize(_part(picture, region, self), *region.size)
        return frames

    def _decode(self, number: int, least: tuple[int, int]) -> Frames:
        with self._watch("read"):
            path, data = self.image(number)
        with self._watch("decode"):
            height, width = image_size(path, data)
            if (height, width) != (self.height, self.width):
                others = f"others here are {self.width}x{self.height}"
                raise VideoError(path, f"{width}x{height} pixels, {others}")
            try:
                return self.decode_image(path, data, least)
            except Exception as error:  # each decoder has its own errors for damaged data
                raise VideoError(path, f"cannot be decoded ({error})") from error

    @staticmethod
    def decode_image(path: str, data: bytes, size: tuple[int, int]) -> Frames:
        """One image, ``(H, W, 3)`` RGB, as small as its decoder makes it for ``size`` (W, H)."""
        width, height = size
        jpeg = _simplejpeg(path)
        if jpeg is None:
            with _open_image(data) as image:
                image.draft("RGB", size)  # of JPEG only: 1/2, 1/4 or 1/8, not below the size
                return np.array(image.convert("RGB"))
        # the smallest of 1/2, 3/8, 1/4, 1/8 not below the target; odd fractions above 1/2 are slow
        frame: Frames = jpeg.decode_jpeg(
            data, "RGB", min_height=height, min_width=width, min_factor=2
        )
        return frame

    def image(self, number: int) -> tuple[str, bytes]:
        """Path and content of an image file."""
        return self._image_path(number), self._image(number)

    def _image_path(self, number: int) -> str:
        return os.path.join(self._folder, self._pattern.format(number))

    def _image(self, number: int) -> bytes:
        path = self._image_path(number)
        try:
            with open(path, "rb") as file:
                return file.read()
        except OSError as error:
            try:
                found = scan_frames(self._folder, self._pattern)
            except VideoError as nothing:
                raise nothing from error
            raise VideoError(
                path,
                f"{error.strerror}; the folder has {found.num_images} images, "
                f"numbered {found.first} to {found.last}",
            ) from error


def _simplejpeg(path: str) -> Any:
    """The fast JPEG decoder if it is installed and the image is a JPEG."""
    if not path.lower().endswith(_JPEG_SUFFIXES):
        return None
    try:
        return importlib.import_module("simplejpeg")
    except ImportError:
        return None


def image_size(path: str, data: bytes) -> tuple[int, int]:
    """``(height, width)`` from the header."""
    jpeg = _simplejpeg(path)
    try:
        if jpeg is not None:
            height, width, *_ = jpeg.decode_jpeg_header(data)
        else:
            with _open_image(data) as image:
                height, width = image.height, image.width
        check_pixels(path, width, height, "an image")
        return height, width
    except VideoError:
        raise
    except Exception as error:  # each decoder has its own errors for damaged data
        cause = "an empty file" if not data else f"not a readable image ({error})"
        raise VideoError(path, cause) from error


def _part(picture: Frames, region: Region, reader: FrameFolderReader) -> Frames:
    """The region of a picture that may have been made smaller while it was decoded."""
    box = Box(*region[:4]).scaled((reader.height, reader.width), picture.shape[:2])
    rows, columns = box.slices()
    return picture[rows, columns]


def _resize(frame: Frames, height: int, width: int) -> Frames:
    """Antialiased bilinear; on uint8, torch is three times faster at it than Pillow."""
    if frame.shape[:2] == (height, width):
        return frame
    pixels = torch.from_numpy(frame).permute(2, 0, 1)[None]
    scaled = functional.interpolate(pixels, (height, width), mode="bilinear", antialias=True)
    return scaled[0].permute(1, 2, 0).numpy()


def _open_image(data: bytes) -> Any:
    from PIL import Image

    return Image.open(io.BytesIO(data))
