import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from slowfast.reports.page import clips as page_clips
from slowfast.reports.page.clips import build_frames, choose_videos
from slowfast.reports.page.contents import UnknownNetworkError, page_of
from slowfast.reports.page.html import html_page
from slowfast.reports.page.numbers import summary
from slowfast.reports.page.svg import axis, scatter_chart
from slowfast.reports.page.write import write_page
from slowfast.reports.runs.facts import TRAINED, Runs, Speed, Variant
from slowfast.reports.runs.read import read_runs
from tests.reports.run_folders import predictions, write_log, write_set
from tests.small import write_config, write_folders
from tests.test_tools import tool


class Tags(HTMLParser):
    """Counts elements, and complains when one is not closed."""

    VOID = ("meta", "link", "img", "input", "br")

    def __init__(self, text):
        super().__init__()
        self.open, self.seen, self.links = [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.seen.append(tag)
        self.links += [value for name, value in attrs if name in {"href", "src"}]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.seen.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.fixture
def page(tmp_path):
    return page_of(read_runs({"set": write_set(tmp_path)}), "A & B")


def test_the_sentence_has_the_numbers_that_matter(page):
    assert page.summary == (
        "**prune** reaches **79.0 %** top-1 accuracy, 1.0 points below its teacher "
        "**prune (before)** (80.0 %), with 25 % of the parameters and 17 % of the MACs. One clip "
        "takes 1 ms in OpenVINO instead of 10 ms: **10.0 times as fast**."
    )
    assert [tile.value for tile in page.tiles.tiles][:2] == ["79.0 %", "1 ms"]


def test_the_sentence_tells_runtimes_apart(tmp_path):
    """The same runtime first; what exporting adds to that is said, too."""
    teacher = Variant("t", TRAINED, tmp_path, accuracy=80.0,
                      speeds=[Speed("PyTorch", 9.0), Speed("OpenVINO", 3.0)])  # fmt: skip
    student = Variant("s", TRAINED, tmp_path, accuracy=79.0, parent=teacher,
                      speeds=[Speed("PyTorch", 7.0), Speed("OpenVINO", 0.75)])  # fmt: skip
    assert summary(Runs([teacher, student]), teacher, student).endswith(
        "One clip takes 0.75 ms in OpenVINO instead of 3 ms: **4.0 times as fast**. As it was "
        "trained, in PyTorch, the teacher takes 9 ms: 12.0 times as long."
    )
    del student.speeds[1]
    assert summary(Runs([teacher, student]), teacher, student).endswith("**1.3 times as fast**.")


def test_html_is_whole_and_needs_nothing_else(page):
    text = html_page(page)
    tags = Tags(text)
    assert tags.seen.count("section") == 8
    assert tags.seen.count("canvas") == 2
    assert all(link.startswith(("#", "data:")) for link in tags.links)
    assert not re.search(r"https?://(?!www\.w3\.org)", text)
    assert "A &amp; B" in text
    assert "put <b>" not in text  # names of classes are text, not markup
    assert len(text) < 2**21


def test_markdown_says_the_same_with_pictures(tmp_path):
    files = write_page({"set": write_set(tmp_path / "runs")}, tmp_path / "out/report.html")
    assert [path.name for path in files[:2]] == ["report.html", "report.md"]
    text = files[1].read_text()
    assert "| prune (compressed)" in text
    linked = re.findall(r"!\[[^]]*\]\(([^)]+)\)", text)
    assert {"report_files/confusion_action.png", "report_files/training_loss.png"} <= set(linked)
    assert all((tmp_path / "out" / link).is_file() for link in linked)


def test_the_tool_takes_names_and_writes_both(tmp_path, capsys):
    write_log(tmp_path / "a", test=61.5)
    target = tmp_path / "page.html"
    tool("report.py")([f"big={tmp_path / 'a'}", "--output", str(target), "--title", "Mine"])
    assert capsys.readouterr().out.splitlines()[-2:] == [
        str(target),
        str(target.with_suffix(".md")),
    ]
    assert "<title>Mine</title>" in target.read_text()
    assert "**big** reaches **61.5 %**" in target.with_suffix(".md").read_text()


def test_what_is_missing_says_what_to_run(tmp_path):
    write_log(tmp_path / "a", test=61.5)
    files = write_page({"a": tmp_path / "a"}, tmp_path / "report.html")
    text = files[1].read_text()
    for program in ("benchmark.py", "prune.py", "export.py", "TEST.SAVE_RESULTS_PATH"):
        assert program in text
    Tags(files[0].read_text())


def test_an_unknown_network_is_named(tmp_path):
    runs = read_runs({"set": write_set(tmp_path)})
    with pytest.raises(UnknownNetworkError, match=r"no network 'x'.*teacher"):
        page_of(runs, "t", teacher="x")


def test_confusion_data_are_the_counts(page):
    section = next(s for s in page.sections if s.key == "confusion")
    html = section.blocks[0].charts[0].html
    data = json.loads(re.search(r"<script[^>]*>(.*?)</script>", html)[1])
    assert data["names"][1] == "put <b>"
    cells = data["networks"][0]["cells"]
    assert sum(count for _, _, count in cells) == 12
    assert [0, 1, 1] in cells


def test_per_class_changes(tmp_path):
    runs = read_runs({"set": write_set(tmp_path)})
    page = page_of(runs, "t", teacher="teacher", compressed="prune")
    text, grid = next(s for s in page.sections if s.key == "classes").blocks[:2]
    assert text.text.startswith("Of 4 actions, 1 are recognised less often than by **teacher**")
    name, change, before, after, videos = grid.table.rows[0]
    assert (name, round(change, 1), before, round(after, 1), videos) == (
        "put <b>", -66.7, 100.0, 33.3, 3,
    )  # fmt: skip


def test_videos_of_every_kind_are_shown():
    chosen = choose_videos([predictions(wrong=[0, 1]), predictions(wrong=[1, 2, 3])], "action")
    kinds = {name: why.split()[0] for name, why in chosen}
    assert {kinds["v0.mp4"], kinds["v1.mp4"]} == {"won", "missed"}
    assert {kinds["v2.mp4"], kinds["v3.mp4"]} == {"lost"}
    assert list(kinds.values()).count("recognised") == 2


def test_frames_are_jpegs_of_the_test_split(tmp_path):
    from slowfast.config import load_cfg
    from slowfast.datasets.build import build_family

    data = write_folders(tmp_path / "data")
    cfg = load_cfg(write_config(tmp_path / "c.yaml", data))
    record = build_family(cfg, "test").records("test")[0]
    name = record.name or record.path
    found = build_frames(cfg, [name, "elsewhere.mp4"])
    assert list(found) == [name]
    assert len(found[name]) == page_clips.FRAMES
    assert all(frame.startswith(b"\xff\xd8") for frame in found[name])


def test_clips_are_on_the_page(tmp_path):
    from slowfast.config import load_cfg
    from slowfast.datasets.build import build_family

    data = write_folders(tmp_path / "data")
    cfg = load_cfg(write_config(tmp_path / "c.yaml", data))
    names = [r.name or r.path for r in build_family(cfg, "test").records("test")]
    runs = read_runs({"set": write_set(tmp_path / "runs")})
    known = predictions(wrong=[0])
    for variant in runs.variants:
        if variant.predictions is not None:
            variant.config = cfg
            variant.predictions = replace(known, names=names + known.names[len(names) :])
    text = html_page(page_of(runs, "t", teacher="teacher", compressed="prune"))
    assert text.count('<div class="clip">') >= 2
    assert "data:image/jpeg;base64," in text


@pytest.mark.parametrize(
    ("values", "log"), [([0.1, 50.0], True), ([1.0, 3.0], False), ([5.0], False)]
)
def test_axes_enclose_their_values_with_round_ticks(values, log):
    found = axis(values, "x", log=True)
    assert found.is_log is log
    assert found.low < min(values)
    assert found.high > max(values)
    assert 1 <= len(found.ticks) <= 8
    assert all(found.low <= value <= found.high for value, _ in found.ticks)


@pytest.mark.parametrize("value", [0.0, 1.0, 4e-5])
@pytest.mark.parametrize("pad", [0.0, 0.1])
def test_an_axis_of_one_value_has_room(value, pad):
    found = axis([value, value], "x", log=True, pad=pad)
    assert found.low <= value < found.high
    assert found.ticks


def test_names_in_a_chart_do_not_cover_each_other():
    from slowfast.reports.page.svg import Dot

    dots = [Dot(1 + i % 2, 50 + i, 0, f"n{i}", f"a very long name {i}") for i in range(60)]
    svg = scatter_chart(dots, [], "x", "y")
    assert svg.count('class="dot') == 60
    assert svg.count('class="label"') < 60
