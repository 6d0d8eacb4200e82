"""Lists in every notation people write them in, and errors that say where."""

import pytest

from slowfast.datasets.annotations import AnnotationError
from slowfast.datasets.base import DataError
from slowfast.datasets.kinetics import Kinetics, find_separator, parse_rows

FORMS = {  # row template -> separator asked for
    "space": ("{path} {label}", " "),
    "double space": ("{path}  {label}", " "),
    "comma": ("{path},{label}", ","),
    "comma unasked": ("{path},{label}", " "),
    "comma and space": ("{path}, {label}", " "),
    "tab": ("{path}\t{label}", " "),
    "semicolon": ("{path};{label}", " "),
    "bar": ("{path}|{label}", "|"),
    "long separator": ("{path} :: {label}", "::"),
    "space though comma is asked": ("{path} {label}", ","),
    "quoted": ('"{path}" {label}', " "),
    "single quotes": ("'{path}' {label}", " "),
    "quoted, comma": ('"{path}","{label}"', ","),
    "third column": ("{path} fn {label}", " "),
    "third column, comma": ("{path},fn,{label}", ","),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("paths", [("a.mp4", "b/c.avi"), ("my clips/a b.mp4", "x y.webm")])
def test_every_notation(form, paths):
    template, asked = FORMS[form]
    if form == "third column" and " " in paths[0]:
        pytest.skip("ambiguous: needs quotes")
    lines = [
        (f"train.csv:{i}", template.format(path=path, label=i + 5)) for i, path in enumerate(paths)
    ]
    rows = parse_rows(lines, asked)
    assert rows == [(f"train.csv:{i}", path, [str(i + 5)]) for i, path in enumerate(paths)]


def test_separators_inside_paths():
    assert parse_rows([("l", "a,b/c;d.mp4 3"), ("l", "e, f.mp4 4")]) == [
        ("l", "a,b/c;d.mp4", ["3"]),
        ("l", "e, f.mp4", ["4"]),
    ]
    assert find_separator(["a b,1", "c d,2", "broken"]) == ","


@pytest.fixture
def folder(tmp_path):
    for name in ("a.mp4", "my clips/b c.mp4"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    return tmp_path


def write(folder, text, split="train", encoding="utf-8"):
    (folder / f"{split}.csv").write_bytes(text.encode(encoding))


def test_records(folder):
    write(folder, "a.mp4 0\r\n\r\nmy clips/b c.mp4 2\r\n", encoding="utf-8-sig")
    records = Kinetics(folder, [3]).records("train")
    assert [record.path for record in records] == [
        str(folder / "a.mp4"), str(folder / "my clips/b c.mp4"),
    ]  # fmt: skip
    assert [record.labels for record in records] == [0, 2]
    assert records[1].source.endswith("train.csv:3")
    assert records[1].name == "my clips/b c.mp4"


def test_prefix_relative_to_the_list_to_the_working_directory_or_absolute(folder, monkeypatch):
    write(folder, "b c.mp4,1")
    for prefix in ("my clips", str(folder / "my clips")):
        (record,) = Kinetics(folder, [3], prefix=prefix).records("train")
        assert record.path == str(folder / "my clips" / "b c.mp4")
    lists = folder / "lists"
    lists.mkdir()
    write(lists, "b c.mp4,1")
    monkeypatch.chdir(folder)
    (record,) = Kinetics(lists, [3], prefix="my clips").records("train")
    assert record.path == "my clips/b c.mp4"
    write(lists, f"{folder}/a.mp4 1")
    (record,) = Kinetics(lists, [3], prefix="my clips").records("train")
    assert record.path == f"{folder}/a.mp4"


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("a.mp4 dancing", r"train\.csv:2: label is 'dancing', expected a whole number"),
        ("a.mp4 3", r"train\.csv:2: label is 3, expected 0 to 2"),
        ("a.mp4 -1", r"train\.csv:2: label is -1, expected 0 to 2"),
        ("a.mp4 1.5", r"train\.csv:2: label is '1.5'"),
        ("a.mp4", r"train\.csv:2: no label; a row is a path and a class number"),
        ("my clips/b c.mp4", r"train\.csv:2: no label"),
    ],
)
def test_bad_rows_are_named(folder, row, message):
    write(folder, f"a.mp4 0\n{row}\n")
    with pytest.raises(AnnotationError, match=message):
        Kinetics(folder, [3]).records("train")


def test_rows_to_skip(folder):
    write(folder, "path label\na.mp4 1\n")
    (record,) = Kinetics(folder, [3], skip_rows=1).records("train")
    assert record.labels == 1


def test_test_lists_may_do_without_labels(folder, caplog):
    write(folder, "a.mp4\nmy clips/b c.mp4\n", "test")
    records = Kinetics(folder, [3]).records("test")
    assert [(record.name, record.labels) for record in records] == [
        ("a.mp4", 0), ("my clips/b c.mp4", 0),
    ]  # fmt: skip
    assert "2 rows without label count as class 0" in caplog.text


def test_several_labels(folder):
    write(folder, "a.mp4,3,17\nmy clips/b c.mp4,0,19\n")
    records = Kinetics(folder, [12, 20], tasks=["verb", "noun"]).records("train")
    assert [record.labels for record in records] == [
        {"verb": 3, "noun": 17}, {"verb": 0, "noun": 19},
    ]  # fmt: skip
    with pytest.raises(AnnotationError, match="noun is 19, expected 0 to 18"):
        Kinetics(folder, [12, 19], tasks=["verb", "noun"]).records("train")


def test_missing_lists_say_what_is_there(folder, caplog):
    with pytest.raises(DataError, match=r"no .*train\.csv.*holds \['a\.mp4', 'my clips'\]"):
        Kinetics(folder, [3]).records("train")
    with pytest.raises(DataError, match=r"DATA\.PATH_TO_DATA_DIR '/no/where' is not a folder"):
        Kinetics("/no/where", [3]).records("train")
    write(folder, "a.mp4 0", "val")
    assert len(Kinetics(folder, [3]).records("test")) == 1
    assert "testing on" in caplog.text
    with pytest.raises(DataError, match=r"no .*train\.csv"):
        Kinetics(folder, [3]).records("train")


def test_lists_without_a_single_existing_video(folder):
    write(folder, "videos/q.mp4 0\nvideos/r.mp4 1")
    with pytest.raises(
        DataError, match=r"none of its 2 videos exists; tried .*videos/q\.mp4.*PATH_PREFIX"
    ):
        Kinetics(folder, [3]).records("train")
    write(folder, "\n\n")
    with pytest.raises(DataError, match="lists no videos"):
        Kinetics(folder, [3]).records("train")
