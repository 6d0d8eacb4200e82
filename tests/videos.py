"""Small real videos for tests, encoded on the fly, and the slow way to read them."""

import random
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from slowfast.datasets.decode import open_video

SHARED_CLIPS = Path(__file__).parents[2] / "shared" / "data" / "clips"

B_FRAMES = {"g": "12", "bf": "3", "x264-params": "b-adapt=0:scenecut=0"}
OPEN_GOP = {"x264-params": "open-gop=1:keyint=12:min-keyint=12:bframes=3:b-adapt=0:scenecut=0"}


def picture(number, width=64, height=48):
    """A frame that differs from its neighbours everywhere."""
    y, x = np.mgrid[:height, :width]
    red = (x * 3 + number * 11) % 256
    green = (y * 4 + number * 5) % 256
    blue = np.full_like(x, number * 37 % 256)
    return np.stack([red, green, blue], axis=-1).astype(np.uint8)


def write_video(
    path,
    num_frames=40,
    *,
    codec="libx264",
    size=(64, 48),
    rate=30,
    options=None,
    times_ms=None,
    rotation=None,
    audio=False,
    streams=1,
    format=None,
    container_options=None,
):
    """Encode ``num_frames`` distinct frames; ``times_ms`` sets each frame's timestamp."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", format=format, options=container_options or {}) as container:
        videos = [
            container.add_stream(codec, rate=rate, options=options or {}) for _ in range(streams)
        ]
        for video in videos:
            video.width, video.height, video.pix_fmt = *size, "yuv420p"
            video.codec_context.gop_size = int((options or {}).get("g", 12))
            if times_ms is not None:
                video.codec_context.time_base = Fraction(1, 1000)
            if rotation is not None:
                video.set_display_rotation(rotation)
        sound = container.add_stream("aac", rate=16000) if audio else None
        for number in range(num_frames):
            for place, video in enumerate(videos):
                frame = av.VideoFrame.from_ndarray(picture(number + 7 * place, *size), "rgb24")
                if times_ms is not None:
                    frame.pts, frame.time_base = times_ms[number], Fraction(1, 1000)
                container.mux(video.encode(frame))
            if sound is not None:
                samples = np.zeros((1, 16000 // rate), np.float32)
                noise = av.AudioFrame.from_ndarray(samples, "fltp", "mono")
                noise.sample_rate = 16000
                container.mux(sound.encode(noise))
        for stream in [*videos, *([sound] if sound else [])]:
            container.mux(stream.encode(None))
    return str(path)


def remux(source, target, *, start_key=0, drop_last=0, shift=0):
    """Copy the packets of a video from its ``start_key``-th keyframe on, less the last ones."""
    with av.open(source) as old, av.open(str(target), "w") as new:
        stream = old.streams.video[0]
        copy = new.add_stream_from_template(stream)
        packets = [packet for packet in old.demux(stream) if packet.size]
        keys = [place for place, packet in enumerate(packets) if packet.is_keyframe]
        for packet in packets[keys[start_key] : len(packets) - drop_last]:
            packet.stream = copy
            packet.pts += shift
            packet.dts = None if packet.dts is None else packet.dts + shift
            new.mux(packet)
    return str(target)


def decode_all(path, size=None):
    """Every frame of the first video stream, upright RGB, one after the other from the start.

    ``size``: width and height to scale to, with swscale's bilinear filter.
    """
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_type = "NONE"
        frames = []
        for frame in container.decode(stream):
            turns = frame.rotation // 90
            scaled = frame.reformat(*size, format="gbrp") if size else frame
            frames.append(np.rot90(scaled.to_ndarray(format="rgb24"), turns))
        return frames


def selections(num_frames, seed=0):
    """Index lists that span groups of pictures in every manner."""
    draw = random.Random(seed)
    yield list(range(num_frames))
    yield [num_frames - 1]
    yield [0]
    yield list(range(1, num_frames, 5))
    yield [num_frames - 1, 0, 3, 3, num_frames // 2, 0]
    for _ in range(6):
        yield [draw.randrange(num_frames) for _ in range(draw.randrange(1, 7))]


def assert_exact(path, **options):
    expected = decode_all(path)
    with open_video(path, **options) as reader:
        assert reader.num_frames == len(expected) == len(reader.times)
        assert (reader.height, reader.width) == expected[0].shape[:2]
        for indices in selections(len(expected)):
            frames = reader.read(indices)
            assert frames.shape == (len(indices), *expected[0].shape)
            wrong = [
                i for i, frame in zip(indices, frames, strict=True) if (frame != expected[i]).any()
            ]
            assert not wrong, (indices, wrong)
    return expected
