"""EPIC-KITCHENS-100: a made-up annotation in every layout; counts of the official files."""

import csv
import pickle
import sys
import types
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from slowfast.datasets.annotations import AnnotationError, read_table
from slowfast.datasets.base import UNLABELLED, DataError
from slowfast.datasets.epic_kitchens import EpicKitchens, read_column, read_segments
from slowfast.datasets.missing import MissingVideosError
from slowfast.utils.errors import UserError
from slowfast.utils.safe_pickle import UnsafePickleError, load_pickle

REAL = Path(__file__).parents[3] / "shared/data/epic-kitchens-100-annotations"
needs_real = pytest.mark.skipif(not REAL.is_dir(), reason="no official annotations beside checkout")
COLUMNS = [
    "narration_id", "participant_id", "video_id", "narration_timestamp", "start_timestamp",
    "stop_timestamp", "start_frame", "stop_frame", "narration", "verb", "verb_class", "noun",
    "noun_class", "all_nouns", "all_noun_classes",
]  # fmt: skip
ROWS = [
    ["P01_11_0", "P01", "P01_11", "00:00:00.560", "00:00:00.00", "00:00:01.89", 1, 113,
     "take plate", "take", 0, "plate", 2, ["plate", "fork, small"], [2, 6]],
    ["P02_101_7", "P02", "P02_101", "", "01:02:03.45", "01:02:04.5", 186172, 186225,
     "put down plate", "put-down", 1, "plate", 299, ["plate"], [299]],
]  # fmt: skip


def write_csv(path, rows=ROWS, columns=COLUMNS):
    with open(path, "w", newline="") as file:
        csv.writer(file).writerows([columns, *rows])


@pytest.fixture
def annotations(tmp_path):
    folder = tmp_path / "annotations"
    folder.mkdir()
    write_csv(folder / "EPIC_100_train.csv")
    write_csv(folder / "EPIC_100_validation.csv", ROWS[:1])
    write_csv(folder / "EPIC_100_test_timestamps.csv", [row[:8] for row in ROWS], COLUMNS[:8])
    return folder


def make_files(root, *places):
    for place in places:
        path = root / place
        folder = path.parent if path.suffix else path
        folder.mkdir(parents=True, exist_ok=True)
        if path.suffix:
            path.touch()
    return root


@pytest.mark.parametrize(
    "layout", ["{p}/rgb_frames/{v}", "{p}/{v}", "EPIC-KITCHENS/{p}/rgb_frames/{v}"]
)
def test_frame_folders(tmp_path, annotations, layout):
    folders = [layout.format(p=p, v=v) for p, v in (("P01", "P01_11"), ("P02", "P02_101"))]
    make_files(tmp_path / "data", *folders)
    dataset = EpicKitchens(tmp_path / "data", annotations)
    first, second = dataset.records("train")
    assert first.path == str(tmp_path / "data" / folders[0] / "frame_{:010d}.jpg")
    assert first.labels == {"verb": 0, "noun": 2}
    assert (first.start_frame, first.end_frame, first.fps) == (1, 113, 60.0)
    assert (second.start_frame, second.end_frame, second.fps) == (186172, 186225, 50.0)
    assert (first.name, second.name) == ("P01_11_0", "P02_101_7")
    assert second.source == f"{annotations / 'EPIC_100_train.csv'}:3"
    assert dataset.tasks == ("verb", "noun")


@pytest.mark.parametrize(
    "layout",
    [
        "{p}/{v}.MP4",
        "{p}/videos/{v}.MP4",
        "videos_640x360/{p}/{v}.mp4",
        "EPIC-KITCHENS/{p}/{v}.MP4",
    ],
)
def test_video_files_use_timestamps(tmp_path, annotations, layout):
    files = [layout.format(p=p, v=v) for p, v in (("P01", "P01_11"), ("P02", "P02_101"))]
    make_files(tmp_path / "data", *files)
    first, second = EpicKitchens(tmp_path / "data", annotations).records("train")
    assert first.path == str(tmp_path / "data" / files[0])
    assert (first.start_s, first.end_s) == (0.0, 1.89)
    assert (second.start_s, second.end_s) == pytest.approx((3723.45, 3724.5))
    assert (second.start_frame, second.end_frame) == (None, None)


def test_source_of_pixels_can_be_chosen(tmp_path, annotations):
    root = make_files(tmp_path / "data", "P01/P01_11.MP4", "P01/rgb_frames/P01_11")
    paths = {
        source: EpicKitchens(root, annotations, source=source).records("val")[0].path
        for source in ("auto", "frames", "video")
    }
    assert paths["auto"] == paths["frames"]
    assert paths["frames"].endswith("frame_{:010d}.jpg")
    assert paths["video"].endswith("P01_11.MP4")


@pytest.mark.parametrize(
    ("base", "first", "expected"), [(1, 1, 1), (0, 1, 2), (1, 0, 0), (0, 0, 1)]
)
def test_where_frames_count_from(tmp_path, annotations, base, first, expected):
    root = make_files(tmp_path / "data", f"P01/P01_11/frame_{first:010d}.jpg")
    (record,) = EpicKitchens(root, annotations, frame_index_base=base).records("val")
    assert (record.start_frame, record.end_frame) == (expected, expected + 112)


def test_single_task_and_class_names(tmp_path, annotations):
    (annotations / "EPIC_100_noun_classes.csv").write_text(
        "id,key,instances,category\n1,spoon,\"['spoon', 'ladle']\",cutlery\n0,tap,['tap'],x\n"
    )
    root = make_files(tmp_path / "data", "P01/P01_11")
    dataset = EpicKitchens(root, annotations, tasks=("noun",))
    assert dataset.records("val")[0].labels == 2
    assert dataset.class_names == {"action": ["tap", "spoon"]}
    assert dataset.tasks == ()
    assert EpicKitchens(root, annotations).class_names is None  # no verb list


def test_test_set_has_no_labels(tmp_path, annotations, caplog):
    root = make_files(tmp_path / "data", "P01/P01_11", "P02/P02_101")
    lists = {"test": "EPIC_100_test_timestamps.pkl"}  # only the CSV is there: it is taken
    caplog.set_level("INFO")
    records = EpicKitchens(root, annotations, lists=lists).records("test")
    assert [record.name for record in records] == ["P01_11_0", "P02_101_7"]
    assert records[0].labels == {"verb": UNLABELLED, "noun": UNLABELLED}
    assert "has no classes: scores only" in caplog.text
    verb_only = EpicKitchens(root, annotations, lists=lists, tasks=("verb",))
    assert verb_only.records("test")[0].labels == UNLABELLED


@pytest.mark.parametrize("split", ["train", "val"])
def test_only_a_test_list_may_lack_labels(tmp_path, annotations, split):
    root = make_files(tmp_path / "data", "P01/P01_11", "P02/P02_101")
    dataset = EpicKitchens(root, annotations, lists={split: "EPIC_100_test_timestamps.csv"})
    message = rf"timestamps\.csv:2: no column verb_class.*EPICKITCHENS\.{split.upper()}_LIST"
    with pytest.raises(AnnotationError, match=message):
        dataset.records(split)


def test_lists_are_joined_and_ids_are_unique(tmp_path, annotations):
    write_csv(annotations / "more.csv", [["X", *ROWS[0][1:]]])
    root = make_files(tmp_path / "data", "P01/P01_11", "P02/P02_101")
    joined = EpicKitchens(root, annotations, lists={"train": ["EPIC_100_train.csv", "more.csv"]})
    assert len(joined.records("train")) == 3
    twice = EpicKitchens(root, annotations, lists={"train": ["EPIC_100_train.csv"] * 2})
    with pytest.raises(AnnotationError, match=r"'P01_11_0' is also in .*EPIC_100_train\.csv:2"):
        twice.records("train")


def test_missing_videos_are_counted_and_named(tmp_path, annotations, caplog):
    root = make_files(tmp_path / "data", "P01/P01_11")
    with pytest.raises(FileNotFoundError, match=r"1 videos of 2, with 1 of 2 segments.*P02"):
        EpicKitchens(root, annotations).records("train")
    records = EpicKitchens(root, annotations, allow_missing=True).records("train")
    assert [record.name for record in records] == ["P01_11_0"]
    assert "1 of 2 segments" in caplog.text
    (tmp_path / "x").mkdir()
    with pytest.raises(MissingVideosError, match="2 videos of 2") as caught:
        EpicKitchens(tmp_path / "x", annotations, allow_missing=True).records("train")
    assert sorted(caught.value.videos) == ["P01_11", "P02_101"]
    with pytest.raises(DataError, match=r"VISUAL_DATA_DIR or DATA.* is not a folder"):
        EpicKitchens(tmp_path / "y", annotations).records("train")


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("verb_class", 97, r"train\.csv:2: verb_class is 97, expected 0 to 96"),
        ("noun_class", "x", r"train\.csv:2: noun_class is 'x'"),
        ("start_timestamp", "5.0", r"train\.csv:2: start_timestamp is '5\.0', expected HH:MM:SS"),
        ("stop_frame", 0, r"train\.csv:2: segment P01_11_0 ends before it starts"),
        ("stop_timestamp", "00:00:00.00", "ends before it starts"),
        ("narration_id", "", "nothing in column 'narration_id'"),
    ],
)
def test_bad_lines(annotations, column, value, message):
    row = list(ROWS[0])
    row[COLUMNS.index(column)] = value
    write_csv(annotations / "EPIC_100_train.csv", [row])
    with pytest.raises(AnnotationError, match=message):
        read_segments(annotations / "EPIC_100_train.csv")


def test_bad_files(tmp_path, annotations):
    write_csv(tmp_path / "a.csv", [row[:5] for row in ROWS], COLUMNS[:5])
    with pytest.raises(AnnotationError, match=r"a\.csv:1: no column stop_timestamp, start_frame"):
        read_segments(tmp_path / "a.csv")
    write_csv(tmp_path / "b.csv", [ROWS[0], ROWS[1][:9]])
    with pytest.raises(AnnotationError, match=r"b\.csv:3: 9 fields, the header has 15"):
        read_segments(tmp_path / "b.csv")
    write_csv(tmp_path / "c.csv", [])
    with pytest.raises(AnnotationError, match="no segments"):
        read_segments(tmp_path / "c.csv")
    with pytest.raises(AnnotationError, match=r"nothing\.csv, nothing\.pkl"):
        EpicKitchens(tmp_path, annotations, lists={"val": "nothing.csv"}).records("val")
    for wrong in ({"tasks": ("action",)}, {"source": "x"}, {"frame_index_base": 2}):
        with pytest.raises(ValueError, match="choose"):
            EpicKitchens(tmp_path, annotations, **wrong)


# --- pickles -----------------------------------------------------------------------------------


def fake_pandas(monkeypatch):
    """Classes with the names and pickled parts of pandas 1.0, which wrote the official files."""
    names = {
        "pandas.core.frame": "DataFrame",
        "pandas.core.internals.managers": "BlockManager",
        "pandas.core.indexes.base": "Index",
    }
    made = {}
    for parent in ("pandas", "pandas.core", "pandas.core.internals", "pandas.core.indexes"):
        monkeypatch.setitem(sys.modules, parent, types.ModuleType(parent))
    for module, name in names.items():
        body = {"__module__": module, "__getstate__": lambda self: self.parts}
        made[name] = type(name, (), body)
        stub = types.ModuleType(module)
        setattr(stub, name, made[name])
        monkeypatch.setitem(sys.modules, module, stub)
    index = made.pop("Index")

    def new_index(cls, parts):
        return None

    new_index.__module__, new_index.__qualname__ = "pandas.core.indexes.base", "_new_Index"
    sys.modules["pandas.core.indexes.base"]._new_Index = new_index
    index.__reduce__ = lambda self: (new_index, (index, self.parts))
    return {**made, "Index": index}


def old_frame(monkeypatch, rows):
    """What pickles like the official DataFrame: indexed by narration id, two blocks."""
    pandas = fake_pandas(monkeypatch)

    def build(name, parts):
        made = pandas[name]()
        made.parts = parts
        return made

    columns = COLUMNS[1:]
    numbers = [place for place, value in enumerate(rows[0][1:]) if isinstance(value, int)]
    objects = [place for place in range(len(columns)) if place not in numbers]
    block = np.empty((len(objects), len(rows)), dtype=object)
    for line, place in enumerate(objects):
        for row, values in enumerate(rows):
            block[line, row] = values[1 + place]
    axes = [
        build("Index", {"data": np.array(columns, dtype=object), "name": None}),
        build("Index", {"data": np.array([r[0] for r in rows], dtype=object), "name": COLUMNS[0]}),
    ]
    integers = np.array([[row[1 + place] for row in rows] for place in numbers])
    blocks = [
        {"values": integers, "mgr_locs": np.array(numbers)},
        {"values": block, "mgr_locs": np.array(objects)},
    ]
    state = {"0.14.1": {"axes": axes, "blocks": blocks}}
    return build("DataFrame", {"_data": build("BlockManager", (axes, [], [], state)), "_typ": "x"})


def test_official_pickles_are_read_without_pandas(tmp_path, annotations, monkeypatch):
    with monkeypatch.context() as patched:
        data = pickle.dumps(old_frame(patched, ROWS), protocol=4)
    (annotations / "EPIC_100_train.pkl").write_bytes(data)
    pickled = read_segments(annotations / "EPIC_100_train.pkl")
    listed = read_segments(annotations / "EPIC_100_train.csv")
    strip = [{**vars(segment), "source": ""} for segment in pickled]
    assert strip == [{**vars(segment), "source": ""} for segment in listed]
    assert pickled[1].source == f"{annotations / 'EPIC_100_train.pkl'}[1]"
    row = next(read_table(annotations / "EPIC_100_train.pkl"))
    assert row.values["all_nouns"] == ["plate", "fork, small"]


def test_pickles_of_the_installed_pandas(tmp_path):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(ROWS, columns=COLUMNS).set_index("narration_id")
    for protocol in (2, 4, 5):
        (tmp_path / "a.pkl").write_bytes(pickle.dumps(frame, protocol=protocol))
        assert [s.narration_id for s in read_segments(tmp_path / "a.pkl")] == [r[0] for r in ROWS]
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(frame.reset_index()))
    assert read_segments(tmp_path / "a.pkl")[1].noun == 299


class Evil:
    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize(
    "evil",
    [
        Evil(eval, "print('run!')"),
        Evil(__import__, "os"),
        Evil(getattr, "", "join"),
        Evil(np.load, "x.npy"),
        Evil(pickle.loads, b""),
    ],
)
def test_malicious_pickles_are_refused(tmp_path, evil, capsys):
    (tmp_path / "a.pkl").write_bytes(pickle.dumps({"x": [evil]}))
    with pytest.raises(UnsafePickleError, match=r"a\.pkl: refused, because it asks for"):
        read_segments(tmp_path / "a.pkl")
    assert "run!" not in capsys.readouterr().out


def test_arrays_in_pickles(tmp_path):
    data = {
        "f": np.arange(6, dtype=np.float32).reshape(2, 3), "F": np.asfortranarray(np.eye(3)),
        "s": np.array(["a", "bc"]), "o": np.array(["a", None], dtype=object),
        "x": np.float32(2.5), "b": b"\xff", "big": np.arange(3, dtype=">i4"), "set": {1, 2},
    }  # fmt: skip
    for protocol in (2, 3, 4, 5):
        (tmp_path / "a.pkl").write_bytes(pickle.dumps(data, protocol=protocol))
        for key, value in load_pickle(tmp_path / "a.pkl").items():
            assert type(value) is type(data[key])
            np.testing.assert_array_equal(value, data[key])
    structured = np.zeros(2, dtype=[("a", "i4"), ("b", "O")])
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(structured))
    with pytest.raises(UnsafePickleError, match="only plain types"):
        load_pickle(tmp_path / "a.pkl")


def test_pickles_that_are_no_tables(tmp_path):
    (tmp_path / "a.pkl").write_bytes(pickle.dumps([1, 2]))
    with pytest.raises(AnnotationError, match=r"a\.pkl: not a DataFrame.*to_csv"):
        read_segments(tmp_path / "a.pkl")
    (tmp_path / "a.pkl").write_bytes(b"\x80\x04junk")
    with pytest.raises(UserError, match=r"a\.pkl: cannot be read as a pickle"):
        read_segments(tmp_path / "a.pkl")


# --- the official files -------------------------------------------------------------------------


@needs_real
def test_official_validation_counts():
    segments = read_segments(REAL / "EPIC_100_validation.csv")
    assert len(segments) == 9668
    assert len({segment.video for segment in segments}) == 138
    assert len({segment.participant for segment in segments}) == 32
    with open(REAL / "EPIC_100_validation.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    for task in ("verb", "noun"):
        assert Counter(getattr(segment, task) for segment in segments) == Counter(
            int(row[f"{task}_class"]) for row in rows
        )


@needs_real
def test_official_subsets():
    segments = read_segments(REAL / "EPIC_100_validation.csv")
    verbs = {int(number) for number in read_column(REAL / "EPIC_100_tail_verbs.csv", "verb")}
    nouns = {int(number) for number in read_column(REAL / "EPIC_100_tail_nouns.csv", "noun")}
    unseen = read_column(REAL / "EPIC_100_unseen_participant_ids_validation.csv", "participant_id")
    assert (len(verbs), len(nouns)) == (86, 228)
    is_verb = [segment.verb in verbs for segment in segments]
    is_noun = [segment.noun in nouns for segment in segments]
    is_action = [verb or noun for verb, noun in zip(is_verb, is_noun, strict=True)]
    assert (sum(is_verb), sum(is_noun), sum(is_action)) == (1760, 1900, 3105)
    assert sum(segment.participant in unseen for segment in segments) == 1065


@needs_real
def test_official_test_set_and_class_lists(tmp_path):
    test = read_segments(REAL / "EPIC_100_test_timestamps.csv")
    assert (len(test), len({segment.video for segment in test})) == (13092, 67)
    assert {segment.verb for segment in test} == {None}
    names = EpicKitchens(tmp_path, REAL).class_names
    assert {task: len(of_task) for task, of_task in names.items()} == {"verb": 97, "noun": 300}
    assert (names["verb"][0], names["noun"][0]) == ("take", "tap")


@needs_real
def test_frame_numbers_are_nominal_rate_times_seconds():
    """The trap that makes video files use timestamps: frame numbers follow 60 or 50 per second."""
    from slowfast.datasets.epic_kitchens import frame_rate

    for segment in read_segments(REAL / "EPIC_100_validation.csv"):
        assert abs(segment.start_s * frame_rate(segment.video) - segment.start_frame) <= 1
