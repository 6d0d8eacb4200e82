"""The yardsticks of the loader benchmark: reading clips the way PySlowFast and MECCANO do.

Not used for training. What makes them slow is kept on purpose. Videos, per view: seek to a time
computed from the mean frame duration, decode to the end of the clip, convert every frame to RGB at
full size, then pick frames and (in the caller) scale. Image folders: read every image of the
segment at full size, then pick.
"""

from __future__ import annotations

import av
import numpy as np

from slowfast.datasets.decode.base import Frames

MARGIN = 1024  # stream units before the start, as PySlowFast seeks


def read_view(path: str, start: float, end: float, num_frames: int) -> Frames:
    """``num_frames`` evenly spaced RGB frames ``(T, H, W, 3)`` at full size.

    Args:
        path: video file.
        start: first frame of the clip, in (fractional) frames.
        end: last frame.
        num_frames: frames to return.
    """
    with av.open(path) as container:
        stream = container.streams.video[0]
        unit = (stream.duration or 0) / max(stream.frames, 1)
        first, last = int(start * unit), int(end * unit)
        container.seek(max(first - MARGIN, 0), any_frame=False, backward=True, stream=stream)
        pictures: dict[int, Frames] = {}
        for frame in container.decode(stream):
            if frame.pts is None or frame.pts < first:
                continue
            if frame.pts > last:
                break
            pictures[frame.pts] = np.asarray(frame.to_rgb().to_ndarray(), np.uint8)
    decoded = np.stack([pictures[pts] for pts in sorted(pictures)])
    chosen = np.linspace(0, end - start, num_frames).clip(0, len(decoded) - 1).astype(int)
    return decoded[chosen]


def read_segment(pattern: str, first: int, last: int, num_frames: int) -> Frames:
    """``num_frames`` evenly spaced images ``(T, H, W, 3)`` of a segment, at full size.

    Args:
        pattern: of the images' paths, with the place of the number.
        first: number of the segment's first image.
        last: of its last one.
        num_frames: images to return.
    """
    from PIL import Image

    pictures = []
    for number in range(first, last + 1):
        with Image.open(pattern.format(number)) as image:
            pictures.append(np.asarray(image.convert("RGB"), np.uint8))
    chosen = np.linspace(0, last - first, num_frames).astype(int)
    return np.stack(pictures)[chosen]
