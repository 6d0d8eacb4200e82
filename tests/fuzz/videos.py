"""Video files: real ones, damaged, and what only looks like one."""

import os
import struct

import av
import numpy as np

from slowfast.datasets.decode import FrameCountError, open_video
from slowfast.datasets.decode.base import MOST_PIXELS, Region
from tests.fuzz.child import InChild
from tests.fuzz.core import Target, WrongError
from tests.fuzz.mutate import mutate
from tests.videos import B_FRAMES, write_video

FRAMES = 14
BASES = {
    "plain.mp4": {"options": B_FRAMES},
    "fast.mp4": {"options": B_FRAMES, "container_options": {"movflags": "faststart"}},
    "sound.mp4": {"audio": True},
    "turned.mov": {"rotation": 90},
    "parts.mp4": {"container_options": {"movflags": "frag_keyframe+empty_moov"}},
    "times.mkv": {"times_ms": [40 * n + 13 * (n % 3) for n in range(FRAMES)]},
    "old.avi": {"codec": "mpeg4", "options": {"bf": "2", "g": "6"}},
    "b.ts": {"options": B_FRAMES},
    "v.webm": {"codec": "libvpx"},
    "odd.mkv": {"codec": "ffv1", "size": (7, 5)},
    "dot.mkv": {"codec": "ffv1", "size": (1, 1)},
    "raw.h264": {"format": "h264"},
}  # fmt: skip
FIELDS = (0, 1, 2, 0x7F, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0xFFFFFF00)
BOXES = (b"moov", b"trak", b"stsd", b"stsz", b"stco", b"stts", b"ctts", b"stss", b"stsc", b"elst",
         b"tkhd", b"mdhd", b"mvhd", b"avc1", b"avcC", b"mdat", b"moof", b"trun", b"tfhd")  # fmt: skip
OTHERS = {
    "playlist": b"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nplain.mp4\n#EXT-X-ENDLIST\n",
    "concat": b"ffconcat version 1.0\nfile plain.mp4\n",
    "sdp": b"v=0\no=- 0 0 IN IP4 127.0.0.1\nc=IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\n",
    "png": b"\x89PNG\r\n\x1a\n" + bytes(60),
    "jpeg": b"\xff\xd8\xff\xe0" + bytes(60),
    "text": b"hello\n" * 20,
    "nothing": b"",
    "zeros": bytes(3000),
}


class Videos(InChild):
    """An input is the ending of its name, a zero byte, and the file's content."""

    name = "video"
    inner = "tests.fuzz.videos:Reading"
    limit_s = 10.0

    def __init__(self, folder):
        super().__init__(folder)
        self.files = []
        for name, options in BASES.items():
            path = write_video(folder / name, FRAMES, **options)
            with open(path, "rb") as file:
                self.files.append((os.path.splitext(name)[1].encode(), file.read()))

    def draw(self, rng):
        ending, data = rng.choice(self.files)
        draw = rng.random()
        if draw < 0.01:
            data = rng.choice(sorted(OTHERS.values()))
        elif draw < 0.13:
            data = data[: rng.randrange(len(data) + 1)]
        elif draw < 0.5:
            for _ in range(rng.randint(1, 3)):
                data = set_field(rng, data)
        elif draw < 0.7:
            data = damaged(rng, data)
        elif draw < 0.97:
            data = mutate(rng, data, BOXES)
        return ending + b"\0" + data


def set_field(rng, data):
    """Another number somewhere in the tables: near a box's name, else near one of the ends."""
    places = [data.find(name) for name in BOXES if name in data] if rng.random() < 0.8 else []
    if places:
        place = rng.choice(places) + rng.randrange(-4, 60)
    else:
        near = rng.randrange(min(len(data), 400) or 1)
        place = near if rng.random() < 0.6 else len(data) - 1 - near
    place = max(0, min(place, len(data) - 4))
    value = rng.choice(FIELDS) if rng.random() < 0.7 else rng.randrange(1 << 32)
    return data[:place] + struct.pack(">I", value) + data[place + 4 :]


def damaged(rng, data):
    """Some bytes of the pictures are others, or zero."""
    start = rng.randrange(len(data))
    length = min(rng.choice((1, 3, 40, 400)), len(data) - start)
    piece = bytes(length) if rng.random() < 0.3 else rng.randbytes(length)
    return data[:start] + piece + data[start + length :]


class Reading(Target):
    """Reads all frames of a file, and compares them with FFmpeg's from the first on."""

    name = "video"
    limit_s = 10.0

    def __init__(self, folder):
        super().__init__(folder)
        av.logging.set_level(None)

    def run(self, data):
        ending, _, content = data.partition(b"\0")
        path = str(self.folder / f"in{ending.decode()}")
        with open(path, "wb") as file:
            file.write(content)
        frames, size = read_all(path)
        expected = decode_plainly(path, size)
        if expected is None:
            return
        if len(expected) != len(frames):
            raise WrongError(f"{len(frames)} frames, FFmpeg finds {len(expected)}")
        for number, (found, wanted) in enumerate(zip(frames, expected, strict=True)):
            if wanted is not None and (found != wanted).any():
                raise WrongError(f"frame {number} is another than FFmpeg's")


def read_all(path):
    """All frames of a file, and their size; checks what the reader says about them."""
    with open_video(path) as reader:
        try:
            frames = reader.read(range(reader.num_frames))
        except FrameCountError:  # it has counted: the dataset reads again, too
            frames = reader.read(range(reader.num_frames))
        count, size = reader.num_frames, (reader.height, reader.width)
        if not (count > 0 and frames.shape == (count, *size, 3) and frames.dtype == np.uint8):
            raise WrongError(f"{frames.shape} of {count} frames of {size}")
        if not (0 < reader.fps < 1e7 and np.isfinite(reader.times).all()):
            raise WrongError(f"{reader.fps} frames per second, times {reader.times[:5]}")
        if reader.times.shape != (count,) or (np.diff(reader.times) < 0).any() or reader.times[0]:
            raise WrongError(f"times {reader.times[:5]} of {count} frames")
        if size[0] * size[1] > MOST_PIXELS:
            raise WrongError(f"{size}")
        region = Region(0, 0, max(size[0] // 2, 1), max(size[1] // 2, 1), (4, 6))
        part = reader.read_region([count - 1], region)
        if part.shape != (1, 4, 6, 3):
            raise WrongError(f"a part of {part.shape}")
        return frames, (reader.width, reader.height)


def decode_plainly(path, size):
    """What FFmpeg gives for the first video, frame by frame; ``None`` where it meets an error.

    Frames are ``None`` where the size changes, and are not compared then.
    """
    frames = []
    try:
        with av.open(path) as container:
            stream = next(s for s in container.streams.video if not s.disposition & 0x400)
            stream.thread_type = "NONE"
            for frame in container.decode(stream):
                if frame.is_corrupt:
                    return None
                picture = np.rot90(frame.to_ndarray(format="rgb24"), frame.rotation // 90)
                frames.append(picture if picture.shape[1::-1] == size else None)
    except (av.FFmpegError, ValueError, MemoryError):
        return None
    return frames
