"""Reading only the part that a plan shows gives the clip that reading everything gives."""

import numpy as np
import pytest
import torch

from slowfast.datasets.decode import open_video
from slowfast.datasets.planned import Look, read_planned
from slowfast.datasets.transforms import EvalTransform, TrainTransform

SIZE = (160, 120)  # smooth enough for a shift by a pixel to matter little
RELATIVE = {"relative_scales": (0.3, 0.9)}
TRANSFORMS = {
    "jitter": ({"jitter_scales": (70, 90)}, True),
    "enlarged": ({"jitter_scales": (150, 160)}, True),
    "resized_crop": (RELATIVE, True),
    "multi_scale": ({"multi_scale": (1.0, 0.8)}, True),
    "whole": ({"resize": (48, 64)}, True),
    "moving": (RELATIVE | {"motion_shift": True}, False),
}


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """Slow gradients: a pixel more or less changes colours by a level or two."""
    import av

    path = str(tmp_path_factory.mktemp("planned") / "a.mp4")
    y, x = np.mgrid[: SIZE[1], : SIZE[0]]
    with av.open(path, "w") as container:
        stream = container.add_stream("libx264", rate=30, options={"qp": "4"})
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
        for number in range(8):
            picture = np.stack([x + number, 200 - y, (x + y) // 2], -1).astype(np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture)))
        container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("name", TRANSFORMS)
def test_the_clip_is_the_same(path, name, seed):
    options, partly = TRANSFORMS[name]
    transform = TrainTransform(crop_size=64, **options)
    with open_video(path) as reader:
        plan = transform.plan(reader.height, reader.width, torch.Generator().manual_seed(seed))
        ((frames, shown),) = read_planned(reader, [Look([1, 5, 5], transform, plan)])
        whole = transform.apply(reader.read([1, 5, 5], plan.short_side), plan)
    clip = transform.apply(frames, shown)
    assert clip.shape == whole.shape
    assert clip.permute(1, 2, 3, 0).is_contiguous()
    assert (frames.shape[1:3] == clip.shape[2:]) == partly
    difference = (clip.float() - whole.float()).abs()
    assert difference.mean() < (2 if partly else 1e-9)


def test_evaluation_reads_whole_frames(path):
    transform = EvalTransform(crop_size=48, short_side=50)
    with open_video(path) as reader:
        plan = transform.plan(reader.height, reader.width)
        ((frames, shown),) = read_planned(reader, [Look([3], transform, plan)])
        np.testing.assert_array_equal(frames, reader.read([3], 50))
    assert shown is plan


def test_readers_without_regions_read_whole_frames(path):
    class Reader:
        height, width = 120, 160

        def read(self, numbers, short_side=None):
            return "whole", numbers, short_side

    transform = TrainTransform(crop_size=64, jitter_scales=(70, 70))
    plan = transform.plan(120, 160, torch.Generator().manual_seed(0))
    assert read_planned(Reader(), [Look([1], transform, plan)]) == [(("whole", [1], 70), plan)]


def test_several_looks_are_one_decoding_pass(path):
    transform = TrainTransform(crop_size=64, jitter_scales=(70, 90))
    with open_video(path) as reader:
        passes = []
        collect = reader._collect
        reader._collect = lambda wanted: passes.append(len(wanted)) or collect(wanted)
        plan = transform.plan(reader.height, reader.width, torch.Generator().manual_seed(0))
        small = transform.sized((32, 32))
        looks = [Look([1, 5, 5], transform, plan), Look([0, 7, 2, 4], small, plan.enlarged(0.5))]
        together = read_planned(reader, looks)
        assert passes == [2]
        for look, (frames, shown) in zip(looks, together, strict=True):
            ((alone, same),) = read_planned(reader, [look])
            np.testing.assert_array_equal(frames, alone)
            assert shown == same
