"""The synthetic dataset in every layout: what the loaders read is what was drawn."""

import csv
import json
from collections import Counter
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest

from slowfast.config import load_cfg
from slowfast.datasets.base import open_record, segment
from slowfast.datasets.build import build_family
from slowfast.datasets.check.scan import build_checker
from slowfast.datasets.epic_results import Results
from slowfast.datasets.synthetic import (
    ACTIONS,
    LAYOUTS,
    OutputDirError,
    SceneOptions,
    SyntheticOptions,
    default_options,
    layout_of_dataset,
    list_clips,
    make_synthetic,
    render_clip,
    timeline,
)
from slowfast.datasets.synthetic.layouts import LayoutError, find_layout
from slowfast.datasets.synthetic.layouts.epic import _timestamp, tail_classes
from slowfast.datasets.synthetic.timeline import arrange, render_timeline
from slowfast.reports.epic_submission import validation_report

NAMES = ("kinetics", "meccano", "epic", "epic_video", "rawframes")
DATASETS = {"epic": "epickitchens", "epic_video": "epickitchens"}
TASKS = {"meccano": ["action", "verb", "object"], "epic": ["verb", "noun"]}
CLASSES = {"action": 61, "verb": 12, "object": 20, "noun": 20}
CLIPS = 70
FINGERPRINT = "1d64f96a60d00d6d"  # of the default options


def options_of(layout, **changes):
    given = {"num_clips": CLIPS, "num_frames": 8, "size": 32, "split_ratio": (0.4, 0.4, 0.2)}
    return SyntheticOptions(**{**given, "difficulty": 0.0, "layout": layout, **changes})


def config(layout, root):
    dataset = DATASETS.get(layout, layout)
    tasks = TASKS.get(layout.partition("_")[0], [])
    classes = [CLASSES[task] for task in tasks] or 61
    words = {
        "TRAIN.DATASET": dataset, "TEST.DATASET": dataset, "DATA.PATH_TO_DATA_DIR": root,
        "DATA.INPUT_CHANNEL_NUM": [3], "MODEL.MODEL_NAME": "TinyNet", "MODEL.TASKS": tasks,
        "MODEL.NUM_CLASSES": classes, "DATA.NUM_FRAMES": 4, "DATA.SAMPLING_RATE": 2,
        "DATA.TARGET_FPS": 60.0 if dataset == "epickitchens" else 30.0, "PROGRESS": "none",
    }  # fmt: skip
    return load_cfg(None, [str(word) for pair in words.items() for word in pair])


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Layout -> its dataset, written when it is first asked for."""
    roots = {}

    def make(layout):
        if layout not in roots:
            roots[layout] = tmp_path_factory.mktemp("data") / layout
            make_synthetic(roots[layout], options_of(layout))
        return roots[layout]

    return make


def test_all_layouts_are_tested():
    assert set(NAMES) == set(LAYOUTS)
    for name in NAMES:
        dataset = DATASETS.get(name, name)
        assert layout_of_dataset(dataset.upper()) == name.removesuffix("_video")


def videos_of(layout):
    options = options_of(layout)
    return find_layout(layout).videos(list_clips(options), options)


def splits_of(layout):
    """Loader's split -> ours. EPIC's loader also tests on the validation list."""
    return {"train": "train", "val": "val", "test": "val" if "epic" in layout else "test"}


def labels_of(spec):
    return {"action": spec.action, "verb": spec.verb, "object": spec.object, "noun": spec.object}


@pytest.mark.parametrize("layout", NAMES)
def test_the_loader_finds_every_clip(made, layout):
    cfg = config(layout, made(layout))
    specs = list_clips(options_of(layout))
    for split, ours in splits_of(layout).items():
        records = build_family(cfg, split).records(split)
        expected = [spec for spec in specs if spec.split == ours]
        assert len(records) == {"train": 28, "val": 28, "test": 14}[ours] == len(expected)
        for record, spec in zip(records, expected, strict=True):
            labels = labels_of(spec)
            known = {task: labels[task] for task in cfg.MODEL.TASKS}
            assert record.labels == (known or spec.action)
        assert len({record.name or record.path for record in records}) == len(records)


@pytest.mark.parametrize("layout", NAMES)
def test_a_record_shows_the_clip_it_is_labelled_with(made, layout):
    """First to last frame, not one more or less: they are those the renderer gives."""
    cfg, options = config(layout, made(layout)), options_of(layout)
    records = build_family(cfg, "val").records("val")
    segments = [
        (v, s) for v in videos_of(layout) if v.timeline.split == "val" for s in v.timeline.segments
    ]
    for record, (video, own) in list(zip(records, segments, strict=True))[::5]:
        with open_record(record) as reader:
            first, total = segment(record, reader)
            shown = reader.read(range(first, first + total)).astype(int)
        assert total == own.last - own.first + 1
        scene = SceneOptions(total, options.size, options.difficulty)
        spec, seed = own.spec, video.timeline.scene_seed
        drawn = render_clip(spec.verb, spec.object, scene, spec.seed, seed).astype(int)
        error = np.abs(shown[:, None] - drawn).mean(axis=(2, 3, 4))  # (shown, drawn)
        assert np.diag(error).max() < 8  # of 255
        apart = [t for t in range(1, total) if np.abs(drawn[t] - drawn[t - 1]).mean() > 4]
        assert all(error[t, t] < error[t, t - 1] for t in apart)


@pytest.mark.parametrize("layout", [name for name in NAMES if name != "kinetics"])
def test_clips_lie_inside_longer_videos(layout):
    videos = videos_of(layout)
    pauses = 0
    for video in videos:
        end = -1
        for clip in video.timeline.segments:
            assert 8 <= clip.last - clip.first + 1 <= 10
            assert clip.first > end
            pauses += clip.first > end + 1
            end = clip.last
            assert clip.spec.split == video.timeline.split
        assert end < video.timeline.num_frames <= end + 5
    assert pauses > CLIPS / 2
    assert len({video.path for video in videos}) == len(videos)
    longest = max(len(video.timeline.segments) for video in videos)
    assert longest == (1 if layout == "rawframes" else 12)


def test_a_pause_shows_the_picture_before_or_after_it():
    options = options_of("meccano", num_frames=16)
    film = arrange(list_clips(options)[:3], options, 3)[0]
    frames = render_timeline(film, options.scene)
    assert len(frames) == film.num_frames
    edges = [(-1, None), *((s.first, s.last) for s in film.segments), (film.num_frames, None)]
    for (_, before), (after, _) in pairwise(edges):
        for t in range(0 if before is None else before + 1, after):
            near = [frames[t_] for t_ in (before, after) if t_ is not None and t_ < len(frames)]
            assert any(np.array_equal(frames[t], picture) for picture in near)
    corner = frames[[s.first for s in film.segments], :3, :3].astype(int)
    assert np.abs(corner - corner[0]).mean() < 25  # one table; only the light differs


@pytest.mark.parametrize("layout", NAMES)
def test_check_data_finds_nothing_wrong(made, layout):
    checker = build_checker(
        config(layout, made(layout)), ("train", "val", "test"), deep=True, content=True
    )
    result = checker.run(workers=1, progress="none")
    assert result.problems == []
    used = set(splits_of(layout).values())
    films = {video.path for video in videos_of(layout) if video.timeline.split in used}
    assert result.num_files == len(films)


def contents(root):
    files = (path for path in sorted(root.rglob("*")) if path.is_file())
    return {str(path.relative_to(root)): path.read_bytes() for path in files}


class StopError(Exception):
    pass


@pytest.mark.parametrize("layout", NAMES)
def test_an_interrupted_run_is_continued(made, layout, tmp_path, monkeypatch):
    root, calls = tmp_path / "d", 0
    real = timeline.render_clip

    def dying(*arguments):
        nonlocal calls
        calls += 1
        if calls > 40:
            raise StopError
        return real(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(timeline, "render_clip", dying)
        with pytest.raises(StopError):
            make_synthetic(root, options_of(layout))
    complete = [video for video in videos_of(layout) if (root / video.path).exists()]
    there = sum(len(video.timeline.segments) for video in complete)
    assert 24 <= there <= 40
    assert not (root / "manifest.json").exists()
    drawn = []
    monkeypatch.setattr(timeline, "render_clip", lambda *a: drawn.append(a) or real(*a))
    make_synthetic(root, options_of(layout))
    assert len(drawn) == CLIPS - there
    assert contents(root) == contents(made(layout))


def test_a_lost_image_is_drawn_again(made, tmp_path):
    root = make_synthetic(tmp_path / "d", options_of("meccano"))
    (root / "RGB_frames/Train/0001/00005.jpg").unlink()
    (root / "RGB_frames/Train/0001/notes.txt").write_text("mine")
    make_synthetic(root, options_of("meccano"))
    kept = {"RGB_frames/Train/0001/notes.txt": b"mine"}
    assert contents(root) == contents(made("meccano")) | kept


def test_replacing_removes_images_and_nothing_else(made, tmp_path):
    root = make_synthetic(tmp_path / "d", options_of("meccano", num_clips=30, seed=1))
    mine = root / "RGB_frames/Train/0001/mask_7.png"
    mine.write_bytes(b"mine")
    with pytest.raises(OutputDirError, match="layout meccano, asked for epic"):
        make_synthetic(root, options_of("epic"))
    make_synthetic(root, options_of("epic"), overwrite=True)
    kept = {str(mine.relative_to(root)): b"mine"}
    assert contents(root) == contents(made("epic")) | kept


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["meccano", "epic_video"])
def test_workers_do_not_change_a_byte(made, layout, tmp_path):
    calls = []
    root = make_synthetic(
        tmp_path / "d", options_of(layout), workers=2, progress=lambda *call: calls.append(call)
    )
    assert contents(root) == contents(made(layout))
    assert calls[-1] == (CLIPS, CLIPS)


# --- what is particular to EPIC-KITCHENS --------------------------------------------------------


def table(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_epic_lists_have_the_official_columns(made):
    rows = table(made("epic") / "EPIC_100_train.csv")
    assert list(rows[0]) == [
        "narration_id", "participant_id", "video_id", "narration_timestamp", "start_timestamp",
        "stop_timestamp", "start_frame", "stop_frame", "narration", "verb", "verb_class", "noun",
        "noun_class", "all_nouns", "all_noun_classes",
    ]  # fmt: skip
    unlabelled = table(made("epic") / "EPIC_100_test_timestamps.csv")
    assert list(unlabelled[0]) == list(rows[0])[:8]
    assert len(unlabelled) == 14
    for row in rows:
        assert row["narration_id"].startswith(row["video_id"] + "_")
        assert row["video_id"].startswith(row["participant_id"] + "_")
        assert row["narration"] == f"{row['verb']} {row['noun']}".replace("_", " ")


def test_every_epic_metric_can_be_computed(made):
    """Perfect scores are perfect on all, tail and unseen segments; the three differ."""
    root = made("epic")
    rows = table(root / "EPIC_100_validation.csv")
    perfect = Results(
        np.eye(12)[[int(row["verb_class"]) for row in rows]] * 9,
        np.eye(20)[[int(row["noun_class"]) for row in rows]] * 9,
        tuple(row["narration_id"] for row in rows),
    )
    report = validation_report(perfect, root)
    assert len(report) == 13
    assert report.pop("num_segments") == 28
    assert set(report.values()) == {100.0}
    seen = {row["participant_id"] for row in table(root / "EPIC_100_train.csv")}
    unseen = {row["participant_id"] for row in table(
        root / "EPIC_100_unseen_participant_ids_validation.csv")}  # fmt: skip
    assert unseen == {row["participant_id"] for row in rows} - seen
    assert 0 < sum(row["participant_id"] in unseen for row in rows) < len(rows)


def test_tail_classes_are_the_rarest_fifth(made):
    root = made("epic")
    rows = table(root / "EPIC_100_train.csv")
    for task in ("verb", "noun"):
        counts = Counter(int(row[f"{task}_class"]) for row in rows)
        tail = {int(row[task]) for row in table(root / f"EPIC_100_tail_{task}s.csv")}
        share = sum(counts[k] for k in tail) / len(rows)
        assert 0.05 < share <= 0.2
        others = set(range(CLASSES[task])) - tail
        assert max(counts[k] for k in tail) <= min(counts[k] for k in others)
    assert tail_classes(Counter(), 3, 0.2) == [0, 1, 2]


def test_epic_videos_of_both_frame_rates_and_many_participants():
    options = options_of("epic_video", num_clips=3000, split_ratio=(0.84, 0.16, 0.0), fps=30)
    videos = find_layout("epic_video").videos(list_clips(options), options)
    rates = Counter(video.fps for video in videos)
    assert set(rates) == {Fraction(30), Fraction(25)}
    assert rates[Fraction(25)] > len(videos) / 8
    for video in videos:
        number = video.name.rpartition("_")[2]
        assert video.fps == (25 if len(number) == 3 else 30)
    people = {split: {v.name[:3] for v in videos if v.timeline.split == split}
              for split in ("train", "val")}  # fmt: skip
    assert len(people["train"]) >= 10
    assert len(people["val"] - people["train"]) == 1
    assert len(people["val"] & people["train"]) >= 10


def test_files_at_another_rate_are_found_by_timestamp_only(tmp_path):
    """Frame numbers of the lists count images at 60 per second, whatever the file has."""
    options = options_of("epic_video", num_clips=24, split_ratio=(0.5, 0.5, 0.0), fps=30)
    root = make_synthetic(tmp_path / "d", options)
    records = build_family(config("epic_video", root), "val").records("val")
    rows = table(root / "EPIC_100_validation.csv")
    clips = [row for row in table(root / "clips.csv") if row["split"] == "val"]
    for record, row, clip in zip(records, rows, clips, strict=True):
        with open_record(record) as reader:
            first, total = segment(record, reader)
        bounds = int(clip["first"]), int(clip["last"])
        assert (first, first + total - 1) == bounds
        assert abs(int(row["start_frame"]) - 2 * bounds[0]) <= 1
    assert int(rows[-1]["start_frame"]) > bounds[0] + 60


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "00:00:00.00"), (1.899, "00:00:01.89"), (1.9, "00:00:01.90"), (3723.45, "01:02:03.45")],
)
def test_timestamps_are_never_late(seconds, text):
    assert _timestamp(seconds) == text


# --- options ------------------------------------------------------------------------------------


def test_only_some_actions():
    names = ("push_left_red_bar", "stir_brown_arrow")
    specs = list_clips(options_of("meccano", actions=names))
    assert Counter(ACTIONS[spec.action].name for spec in specs).keys() == set(names)
    assert {spec.action for spec in specs} == {0, 60}
    with pytest.raises(ValueError, match=r"'push_left_red_bat', not known.*'push_left_red_bar'"):
        options_of("meccano", actions=("push_left_red_bat",))


def test_options_of_datasets_already_written_keep_their_fingerprint():
    assert SyntheticOptions().fingerprint() == FINGERPRINT
    assert SyntheticOptions(actions=("push_left_red_bar",)).fingerprint() != FINGERPRINT


def test_defaults_depend_on_the_layout():
    assert default_options("kinetics").num_frames == 32
    assert default_options("kinetics", num_frames=None, size=64).size == 64
    for name in NAMES[1:]:
        options = default_options(name)
        assert (options.difficulty, options.num_frames, options.layout) == (0.0, 24, name)
        assert 64 <= options.size <= 80
    with pytest.raises(LayoutError, match=r"unknown layout 'imagenet'\. Known: kinetics, meccano"):
        default_options("imagenet")
    with pytest.raises(LayoutError, match=r"'features'.*--data_dir"):
        layout_of_dataset("features")


@pytest.mark.parametrize("layout", NAMES)
def test_label_tables_lie_beside_every_layout(made, layout):
    names = json.loads((made(layout) / "class_names.json").read_text())
    assert names == {action.name: number for number, action in enumerate(ACTIONS)}
    assert len(table(made(layout) / "clips.csv")) == CLIPS
    assert not list(made(layout).rglob("*.part"))
