"""Folders of numbered images scaled for training: the same names, smaller pictures."""

from __future__ import annotations

import json
import os
from pathlib import Path

import torch

from slowfast.datasets.augment.spatial import resize
from slowfast.datasets.decode import Frames, VideoError, scaled_size
from slowfast.datasets.decode.frames import FrameFolderReader, image_size, name_pattern

QUALITY = 90  # of JPEGs, 1 to 100
STAMP = ".prepare_videos.json"  # in each folder: how its images were made
SHOWN = 3


def numbered_images(folder: str) -> list[str]:
    """Names of the numbered images in a folder, sorted."""
    with os.scandir(folder) as entries:
        return sorted(e.name for e in entries if e.name[0] != "." and name_pattern(e.name))


def scale_images(source: str, target: str, short_side: int) -> bool:
    """Write the images of ``source`` to ``target``, smaller; whether all were there already.

    Each appears when it is complete, so that a run that was stopped goes on where it was.

    Raises:
        VideoError: some images cannot be read; the others are there.
    """
    os.makedirs(target, exist_ok=True)
    stamp = Path(target, STAMP)
    wanted = json.dumps({"short_side": short_side, "quality": QUALITY})
    same = stamp.is_file() and stamp.read_text("utf-8") == wanted
    if not same:
        for name in numbered_images(target):  # made in another way
            os.unlink(os.path.join(target, name))
        stamp.write_text(wanted, "utf-8")
    bad: list[str] = []
    names = numbered_images(source)
    reused = 0
    for name in names:
        old, new = os.path.join(source, name), os.path.join(target, name)
        if os.path.exists(new) and os.path.getmtime(new) >= os.path.getmtime(old):
            reused += 1
            continue
        try:
            _scale(old, new, short_side)
        except VideoError as error:
            bad.append(f"{name} ({error.cause})")
    if bad:
        more = ", ..." if len(bad) > SHOWN else ""
        raise VideoError(
            source, f"{len(bad)} of {len(names)} images: {', '.join(bad[:SHOWN])}{more}"
        )
    return reused == len(names)


def _scale(old: str, new: str, short_side: int) -> None:
    data = Path(old).read_bytes()
    height, width = image_size(old, data)
    size = scaled_size(width, height, min(short_side, width, height))
    try:
        frame = FrameFolderReader.decode_image(old, data, size)
    except Exception as error:  # each decoder has its own errors for damaged data
        raise VideoError(old, f"cannot be decoded ({error})") from error
    _write(resize(torch.from_numpy(frame)[None], size[::-1])[0].numpy(), new)


def _write(frame: Frames, path: str) -> None:
    from PIL import Image

    folder, name = os.path.split(path)
    stem, suffix = os.path.splitext(name)
    partial = os.path.join(folder, f".{stem}.partial{suffix}")
    Image.fromarray(frame).save(partial, quality=QUALITY)  # formats without quality ignore it
    os.replace(partial, path)
