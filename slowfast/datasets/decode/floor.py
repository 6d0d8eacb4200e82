"""The least that a clip costs: decoding what its frames need, from memory, and nothing else.

A yardstick for the loader benchmark, not used for training.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from slowfast.datasets.decode.base import VideoReader, scaled_size
from slowfast.datasets.decode.frames import FrameFolderReader
from slowfast.datasets.decode.pyav import PyAVReader


def decode_only(
    reader: VideoReader, indices: Sequence[int], short_side: int | None
) -> Callable[[], int]:
    """A function that decodes the frames ``indices`` and drops them; it returns their number.

    Args:
        reader: open as long as the function is used.
        indices: numbers of the frames.
        short_side: pixels; image decoders may make images smaller while decoding, to no less.
            ``None``: not smaller.
    """
    numbers = sorted(set(indices))
    if isinstance(reader, FrameFolderReader):
        return _images_only(reader, numbers, short_side)
    if isinstance(reader, PyAVReader):
        return _packets_only(reader, numbers)
    raise TypeError(f"{type(reader).__name__}: its decoder cannot be reached")


def _packets_only(reader: PyAVReader, numbers: list[int]) -> Callable[[], int]:
    """The same packets as :meth:`PyAVReader.read` decodes, with the same ones left out."""
    segments = reader.needed_packets(numbers)
    context: Any = reader.context
    delay = context.reorder_depth

    def run() -> int:
        count = 0
        for packets in segments:
            context.reorder_depth = delay
            for packet, skip in packets:
                context.skip_frame = skip
                count += len(context.decode(packet))
            count += len(context.decode(None))
            context.flush_buffers()
        return count

    return run


def _images_only(
    reader: FrameFolderReader, numbers: list[int], short_side: int | None
) -> Callable[[], int]:
    size = scaled_size(reader.width, reader.height, short_side)
    images = [reader.image(number) for number in numbers]
    return lambda: len([reader.decode_image(path, data, size) for path, data in images])
