"""CrossNorm: statistics as drawn, pixels as the formula says, lists read as they are written."""

import runpy
from pathlib import Path

import numpy as np
import pytest
import torch

from slowfast.datasets.annotations import AnnotationError
from slowfast.datasets.augment.crossnorm import (
    CrossNorm,
    Style,
    apply_style,
    is_usable,
    measure_style,
    read_styles,
    write_styles,
)
from tests.videos import write_video

TOOL = Path(__file__).parents[2] / "tools" / "make_mean_std.py"
STYLE = Style((120.0, 90.0, 140.0), (20.0, 25.0, 15.0))


@pytest.fixture
def clip():
    """Smooth noise well within 0 to 255, ``(T, H, W, 3)``."""
    values = np.random.default_rng(0).normal((90, 110, 130), (12, 20, 16), (6, 32, 40, 3))
    return values.clip(0, 255).astype(np.uint8)


def test_statistics_are_those_over_all_frames(clip):
    style = measure_style(clip)
    np.testing.assert_allclose(style.mean, clip.reshape(-1, 3).mean(0))
    np.testing.assert_allclose(style.std, clip.reshape(-1, 3).std(0))


def test_a_clip_gets_the_style_it_is_given(clip):
    after = measure_style(apply_style(clip, STYLE))
    np.testing.assert_allclose(after.mean, STYLE.mean, atol=0.1)
    np.testing.assert_allclose(after.std, STYLE.std, atol=0.1)


def test_against_the_formula(clip):
    flat = clip.reshape(-1, 3).astype(np.float64)
    expected = (flat - flat.mean(0)) / flat.std(0) * STYLE.std + STYLE.mean
    expected = np.rint(expected).clip(0, 255).astype(np.uint8).reshape(clip.shape)
    before = clip.copy()
    np.testing.assert_array_equal(apply_style(clip, STYLE), expected)
    np.testing.assert_array_equal(clip, before)


def test_its_own_style_changes_nothing(clip):
    np.testing.assert_array_equal(apply_style(clip, measure_style(clip)), clip)


def test_any_memory_layout(clip):
    other = np.moveaxis(np.ascontiguousarray(np.moveaxis(clip, -1, 0)), 0, -1)
    np.testing.assert_array_equal(apply_style(other, STYLE), apply_style(clip, STYLE))


def test_clips_of_one_colour_stay(clip):
    clip[..., 1] = 7
    assert apply_style(clip, STYLE) is clip
    assert not is_usable(measure_style(clip))
    assert is_usable(STYLE)


def test_levels_are_clipped_not_wrapped(clip):
    changed = apply_style(clip, Style((250.0,) * 3, (60.0,) * 3))
    assert changed.max() == 255
    assert (changed[clip[..., 0] > 110][:, 0] > 200).all()


def test_draws_come_from_the_generator_alone():
    styles = tuple(Style((float(i),) * 3, (5.0,) * 3) for i in range(2, 40))
    norm = CrossNorm(styles, probability=0.5)
    drawn = [norm.draw(torch.Generator().manual_seed(4)) for _ in range(2)]
    assert drawn[0] == drawn[1]
    generator = torch.Generator().manual_seed(0)
    many = [norm.draw(generator) for _ in range(2000)]
    assert abs(sum(style is None for style in many) - 1000) < 100
    assert len(set(many)) == len(styles) + 1
    with pytest.raises(ValueError, match=r"AUG\.CROSSNORM_PROB is 1\.5"):
        CrossNorm(styles, probability=1.5)


def test_list_round_trip(tmp_path):
    path = tmp_path / "mean_std_list.txt"
    write_styles(path, [STYLE, Style((1.5, 2, 3), (4, 5.25, 6))])
    assert path.read_text().splitlines()[0] == "120.000,90.000,140.000 20.000,25.000,15.000"
    assert read_styles(path) == (STYLE, Style((1.5, 2.0, 3.0), (4.0, 5.25, 6.0)))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1,2,3 4,5,6\n1,2 3,4\n", r"list\.txt:2: '1,2 3,4', expected m1,m2,m3 s1,s2,s3"),
        ("1,2,3 4,5,300\n", r"list\.txt:1.*from 0 to 255"),
        ("\n", "no lines"),
    ],
)
def test_bad_lists(tmp_path, text, message):
    (tmp_path / "list.txt").write_text(text)
    with pytest.raises(AnnotationError, match=message):
        read_styles(tmp_path / "list.txt")


def test_a_configured_list_must_be_there(tmp_path):
    with pytest.raises(AnnotationError, match=r"no .*mean_std_list\.txt .*make_mean_std"):
        read_styles(tmp_path / "mean_std_list.txt")


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_tool(tmp_path, workers, capsys):
    for name in "abc":
        write_video(tmp_path / f"{name}.mp4", 20)
    (tmp_path / "bad.mp4").write_bytes(b"x")
    (tmp_path / "train.csv").write_text("a.mp4 0\nbad.mp4 0\nb.mp4 1\nc.mp4 1\n")
    words = [
        *("DATA.PATH_TO_DATA_DIR", str(tmp_path), "TRAIN.DATASET", "kinetics"),
        *("DATA.NUM_FRAMES", "8", "DATA.SAMPLING_RATE", "1", "MODEL.NUM_CLASSES", "2"),
        *("--workers", str(workers), "PROGRESS", "none"),
    ]

    def run(*more):
        with pytest.raises(SystemExit) as stop:
            runpy.run_path(str(TOOL))["main"]([*words, *more])
        return stop.value.code

    assert run() == 1  # one video could not be read
    assert "3 lines of 4 clips\nnot read:" in capsys.readouterr().out
    styles = read_styles(tmp_path / "mean_std_list.txt")
    assert len(styles) == 3
    assert all(is_usable(style) for style in styles)
    assert run() == 2
    assert "--force" in capsys.readouterr().err
    assert run("--force", "--max_clips", "1") == 0
    assert len(read_styles(tmp_path / "mean_std_list.txt")) == 1


def test_videos_known_to_be_bad_are_left_out(tmp_path, capsys):
    write_video(tmp_path / "a.mp4", 20)
    (tmp_path / "bad.mp4").write_bytes(b"x")
    (tmp_path / "train.csv").write_text("a.mp4 0\nbad.mp4 0\n")
    (tmp_path / "bad_videos.txt").write_text(f"{tmp_path}/bad.mp4\n")
    words = [
        *("DATA.PATH_TO_DATA_DIR", str(tmp_path), "TRAIN.DATASET", "kinetics"),
        *("DATA.BAD_VIDEOS_FILE", str(tmp_path / "bad_videos.txt"), "PROGRESS", "none"),
    ]
    with pytest.raises(SystemExit) as stop:
        runpy.run_path(str(TOOL))["main"]([*words, "--workers", "0"])
    assert stop.value.code == 0
    assert "1 lines of 1 clips" in capsys.readouterr().out
