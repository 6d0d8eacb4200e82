"""The content of the synthetic clips: labels, motions, pictures."""

import functools
from collections import Counter

import av
import numpy as np
import pytest

from slowfast.datasets.synthetic import (
    ACTIONS,
    OBJECTS,
    VERBS,
    SceneOptions,
    SyntheticOptions,
    list_clips,
    render_clip,
)
from slowfast.datasets.synthetic.encode import write_video
from slowfast.datasets.synthetic.motions import draw_pose
from slowfast.datasets.synthetic.objects import SHAPES

T = 32
SMALL = SceneOptions(num_frames=8, size=48)


def test_labels_have_the_numbers_of_meccano():
    assert (len(VERBS), len(OBJECTS), len(ACTIONS)) == (12, 20, 61)
    assert len({action.name for action in ACTIONS}) == 61
    assert len({(action.verb, action.object) for action in ACTIONS}) == 61
    assert {look.shape for look in OBJECTS.values()} == set(SHAPES)
    assert len({(look.shape, look.texture) for look in OBJECTS.values()}) == 20


def test_neither_the_object_nor_the_verb_alone_gives_the_action():
    objects = Counter(action.object for action in ACTIONS)
    verbs = Counter(action.verb for action in ACTIONS)
    assert sorted(objects.values()) == [3] * 19 + [4]
    assert set(verbs) == set(range(12))
    assert min(verbs.values()) >= 4


def test_labels_never_change():
    """Datasets already written keep their class ids."""
    assert ACTIONS[0] == ("push_left_red_bar", 0, 0)
    assert ACTIONS[31] == ("rotate_clockwise_cyan_nut", 4, 10)
    assert ACTIONS[60] == ("stir_brown_arrow", 11, 19)


def features_of(pose, frame):
    angles = [f(a[frame]) for a in (pose.angle, pose.tilt) for f in (np.cos, np.sin)]
    return [pose.x[frame], pose.y[frame], np.log(pose.scale[frame]), *angles]


def verb_accuracy(features, verbs):
    """Of a ridge regression on random cosine features, on a held-out half."""
    rng = np.random.default_rng(0)
    x = (features - features.mean(0)) / (features.std(0) + 1e-6)
    x = np.cos(x @ rng.normal(0, 0.7, (x.shape[1], 400)) + rng.uniform(0, 6.28, 400))
    x = np.c_[x, np.ones(len(x))]
    half = len(x) // 2
    targets = np.eye(12)[verbs[:half]]
    gram = x[:half].T @ x[:half] + 2.0 * np.eye(x.shape[1])
    weights = np.linalg.solve(gram, x[:half].T @ targets)
    return float(((x[half:] @ weights).argmax(1) == verbs[half:]).mean())


def test_one_frame_does_not_tell_the_verb_but_the_course_does():
    rng = np.random.default_rng(0)
    verbs = rng.integers(12, size=6000)
    poses = [draw_pose(int(verb), T, rng) for verb in verbs]
    frames = rng.integers(T, size=len(verbs))
    anywhere = [features_of(p, t) for p, t in zip(poses, frames, strict=True)]
    middle = [features_of(p, T // 2) for p in poses]
    course = [np.subtract(features_of(p, 16), features_of(p, 12)) for p in poses]
    chance = 1 / 12
    assert verb_accuracy(np.array(anywhere), verbs) < chance + 0.03
    assert verb_accuracy(np.array(middle), verbs) < chance + 0.05
    assert verb_accuracy(np.array(course), verbs) > 0.3


@functools.cache
def features_by_verb():
    """``(12, 1200, 7)``, of random frames of random clips."""
    rng = np.random.default_rng(1)
    values = [
        [features_of(draw_pose(v, T, rng), rng.integers(T)) for _ in range(1200)] for v in range(12)
    ]
    return np.array(values)


@pytest.mark.parametrize("feature", range(3), ids=("x", "y", "log scale"))
def test_position_and_size_are_distributed_alike_for_every_verb(feature):
    values = features_by_verb()[:, :, feature]
    deciles = np.quantile(values.ravel(), np.arange(0.1, 1, 0.1))
    for verb, own in zip(VERBS, values, strict=True):
        shares = np.searchsorted(np.sort(own), deciles) / len(own)
        np.testing.assert_allclose(shares, np.arange(0.1, 1, 0.1), atol=0.05, err_msg=verb)


@pytest.mark.parametrize(
    ("verb", "course", "sign"),
    [
        ("push_left", "x", -1),
        ("push_right", "x", 1),
        ("lift", "y", -1),
        ("lower", "y", 1),
        ("rotate_clockwise", "angle", 1),
        ("rotate_anticlockwise", "angle", -1),
        ("approach", "scale", 1),
        ("retreat", "scale", -1),
    ],
)
def test_a_verb_does_what_it_says_and_nothing_else(verb, course, sign):
    pose = draw_pose(VERBS.index(verb), T, np.random.default_rng(3))
    for name in ("x", "y", "angle", "scale", "tilt"):
        steps = np.diff(getattr(pose, name))
        if name == course:
            assert (sign * steps >= -1e-12).all()
            assert abs(steps.sum()) > 0.2
        else:
            assert not np.abs(steps).max() > 1e-12


def test_clockwise_is_as_the_viewer_sees_it_also_on_the_back():
    """The picture's brightest direction turns clockwise whichever side is seen."""
    from slowfast.datasets.synthetic import scene

    for seed in range(6):
        pose = draw_pose(VERBS.index("rotate_clockwise"), T, np.random.default_rng(seed))
        layer = scene._object_layer(
            OBJECTS["sky_arrow"], pose, np.random.default_rng(0), SceneOptions()
        )
        # undo the tilt (a stretch across its axis), then read the angle of the arrow's tip
        tilt = scene._linear(pose.tilt_axis, 0.35 + 0.65 * np.abs(np.cos(pose.tilt)))
        untilted = np.linalg.inv(tilt @ scene._linear(-pose.tilt_axis)) @ _centred(layer.course)
        tip = np.unwrap(np.arctan2(untilted[:, 1, 0], untilted[:, 0, 0]))
        assert (np.diff(tip) >= -1e-9).all()
        assert tip[-1] - tip[0] > 2


def test_a_flip_turns_about_a_fixed_axis():
    """Along the axis nothing moves; across it the object narrows and comes out mirrored."""
    from slowfast.datasets.synthetic import scene

    pose = draw_pose(VERBS.index("flip"), T, np.random.default_rng(1))
    look, rng = OBJECTS["red_bar"], np.random.default_rng(0)
    layer = scene._object_layer(look, pose, rng, SceneOptions())
    in_axes = scene._linear(-pose.tilt_axis) @ _centred(layer.course)
    assert np.ptp(in_axes[:, 1, :2], axis=0).max() < 1e-9
    facing = np.linalg.det(in_axes[:, :2, :2]) > 0
    assert (facing == ~layer.is_back).all()
    assert 0 < facing.sum() < T


@pytest.mark.parametrize("verb", ["rotate_clockwise", "wiggle", "push_left"])
def test_a_hand_with_a_firm_grip_turns_with_the_object(verb):
    from slowfast.datasets.synthetic import scene

    pose = draw_pose(VERBS.index(verb), T, np.random.default_rng(4))
    angles = []
    for firm in (False, True):
        course = scene._hand_layer(
            pose, np.random.default_rng(0), SceneOptions(firm_grip=firm)
        ).course
        angles.append(np.unwrap(np.arctan2(course[:, 1, 0], course[:, 0, 0])))
    turned = angles[1] - angles[0]
    np.testing.assert_allclose(turned - turned[0], pose.angle - pose.angle[0], atol=1e-9)
    assert np.ptp(turned) > 0.5 if verb != "push_left" else np.ptp(turned) < 1e-9


def test_a_firm_grip_comes_from_all_sides_whatever_the_verb():
    """So the side that one frame shows tells nothing."""
    from slowfast.datasets.synthetic import scene

    for verb in ("rotate_clockwise", "push_left"):
        rng = np.random.default_rng(0)
        sides = []
        for _ in range(400):
            pose = draw_pose(VERBS.index(verb), 8, rng)
            course = scene._hand_layer(pose, rng, SceneOptions(8, 32, firm_grip=True)).course
            sides.append(np.arctan2(course[3, 1, 0], course[3, 0, 0]))
        counts, _ = np.histogram(sides, bins=4, range=(-np.pi, np.pi))
        assert counts.min() > 70, verb


def _centred(course):
    linear = course.copy()
    linear[:, :2, 2] = 0
    return linear


def test_verbs_draw_equally_many_random_numbers():
    states = set()
    for verb in range(12):
        rng = np.random.default_rng(5)
        draw_pose(verb, T, rng)
        states.add(rng.bit_generator.state["state"]["state"])
    assert len(states) == 1


def test_same_seed_same_frames():
    first = render_clip(4, 3, SMALL, 11)
    assert first.shape == (8, 48, 48, 3)
    assert first.dtype == np.uint8
    assert np.array_equal(first, render_clip(4, 3, SMALL, 11))
    assert not np.array_equal(first, render_clip(4, 3, SMALL, 12))


def test_twins_share_their_scene():
    """Only the object and the hand differ between two verbs with one seed."""
    options = SceneOptions(num_frames=8, size=64, difficulty=0.0)
    left, right = (render_clip(verb, 0, options, 2).astype(int) for verb in (0, 1))
    assert (np.abs(left - right).max(axis=(0, 3)) == 0).mean() > 0.2


@pytest.mark.parametrize("difficulty", [0.0, 0.5, 1.0])
def test_difficulty_adds_change_between_frames(difficulty):
    calm = SceneOptions(num_frames=8, size=48, difficulty=0.0)
    scene = SceneOptions(num_frames=8, size=48, difficulty=difficulty)
    change = np.abs(np.diff(render_clip(8, 0, scene, 3).astype(int), axis=0)).mean()
    reference = np.abs(np.diff(render_clip(8, 0, calm, 3).astype(int), axis=0)).mean()
    assert change == reference if difficulty == 0 else change > reference + 1


def test_encoded_video_is_h264_with_b_frames_and_looks_as_rendered(tmp_path):
    frames = render_clip(0, 0, SceneOptions(num_frames=30, size=64, difficulty=0.2), 0)
    write_video(tmp_path / "clip.mp4", frames, fps=25)
    with av.open(str(tmp_path / "clip.mp4")) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.pix_fmt) == ("h264", "yuv420p")
        assert (stream.frames, stream.average_rate) == (30, 25)
        pictures = list(container.decode(video=0))
    assert {av.video.frame.PictureType(p.pict_type).name for p in pictures} == {"I", "P", "B"}
    keys = [k for k, picture in enumerate(pictures) if picture.key_frame]
    assert max(np.diff([*keys, 30])) <= 12
    decoded = np.stack([picture.to_ndarray(format="rgb24") for picture in pictures])
    error = decoded.astype(float) - frames
    assert 10 * np.log10(255**2 / (error**2).mean()) > 28  # dB; sensor noise is not kept
    shifted = decoded[1:].astype(float) - frames[:-1]
    assert (error**2).mean() < (shifted**2).mean()


def test_odd_size_is_refused(tmp_path):
    with pytest.raises(ValueError, match="even sides, got 33x32"):
        write_video(tmp_path / "x.mp4", np.zeros((2, 32, 33, 3), np.uint8))


def test_clips_are_balanced_in_every_split():
    specs = list_clips(SyntheticOptions(num_clips=1000, split_ratio=(0.7, 0.1, 0.2)))
    assert Counter(s.split for s in specs) == {"train": 700, "val": 100, "test": 200}
    for split in ("train", "val", "test"):
        counts = Counter(s.action for s in specs if s.split == split)
        assert max(counts.values()) - min(counts[k] for k in range(61)) <= 1
    assert len({s.name for s in specs}) == len({s.seed for s in specs}) == 1000
    for spec in specs:
        assert ACTIONS[spec.action][1:] == (spec.verb, spec.object)


def test_seed_decides_order_and_scenes():
    def clips(seed):
        return list_clips(SyntheticOptions(num_clips=100, seed=seed))

    assert clips(1) == clips(1)
    assert {s.seed for s in clips(1)}.isdisjoint(s.seed for s in clips(2))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("num_clips", 0),
        ("num_frames", 4),
        ("size", 63),
        ("size", 16),
        ("difficulty", 1.5),
        ("seed", -1),
        ("fps", 0),
        ("split_ratio", (0.5, 0.5, 0.5)),
        ("split_ratio", (1.5, -0.5, 0.0)),
    ],
)
def test_impossible_options_are_named(name, value):
    with pytest.raises(ValueError, match=f"{name} must"):
        SyntheticOptions(**{name: value})
