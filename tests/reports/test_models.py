"""The table of models: measured columns are kept, pages brought up to date."""

import re
import runpy
from pathlib import Path

import pytest

from slowfast.config import load_cfg
from slowfast.reports.models import (
    build_latencies,
    build_model_table,
    read_latencies,
    with_table,
)

REPO = Path(__file__).parents[2]
PAGE = "a\n<!-- models -->\nold\n<!-- /models -->\nb\n"
TINY = """
MODEL: {MODEL_NAME: TinyNet, ARCH: tiny, NUM_CLASSES: 2}
DATA: {NUM_FRAMES: 2, TRAIN_CROP_SIZE: 16, TEST_CROP_SIZE: 16, TRAIN_JITTER_SCALES: [16, 20]}
NUM_GPUS: 0
"""


@pytest.fixture
def tiny(tmp_path):
    path = tmp_path / "tiny.yaml"
    path.write_text(TINY)
    return path


def main(*words):
    runpy.run_path(str(REPO / "tools/model_table.py"))["main"]([str(word) for word in words])


def test_a_page_without_latencies_stays_so(tiny):
    assert read_latencies(PAGE) == (None, "")
    page = with_table(PAGE, build_model_table({"tiny.yaml": load_cfg(tiny)}))
    assert page.startswith("a\n<!-- models -->\n| config")
    assert page.endswith("|\n<!-- /models -->\nb\n")
    assert "latency" not in page
    assert read_latencies(page) == (None, "")


def test_latencies_are_read_back(tiny):
    cfg = load_cfg(tiny)
    table = build_model_table({"a.yaml": cfg, "b.yaml": cfg}, {"a.yaml": "12.3"})
    note = "Latency: medians of one run; a machine."
    page = with_table(PAGE, table, note)
    assert read_latencies(page) == ({"a.yaml": "12.3"}, note)
    assert with_table(page, table, note) == page
    assert [line.rsplit("|", 2)[1].strip() for line in page.splitlines() if ".yaml" in line] == [
        "12.3",
        "-",
    ]


def test_backslashes_in_a_note_stay(tiny):
    note = r"Latency: \1 \g<0>"
    page = with_table(PAGE, build_model_table({}, {}), note)
    assert note in page


def test_measured_once_then_kept(tiny, tmp_path, capsys):
    page = tmp_path / "page.md"
    page.write_text(PAGE)
    main(tiny, "--update", page, "--latency", "--seconds", "0.01")
    measured = page.read_text()
    assert f"{tiny}: " in capsys.readouterr().err
    (latency,) = re.findall(r"\| +(\d+\.?\d*) +\|$", measured, re.MULTILINE)
    assert float(latency) > 0
    assert re.search(
        r"\n\nLatency: medians of one run, one clip of the test crop, float32; .* \(cpu, "
        r"\d+ threads\), \d+ CPU cores, \d+ GiB, torch \S+, \d+ \w+ \d{4}\.\n<!-- /models -->",
        measured,
    )
    main(tiny, "--update", page)
    assert page.read_text() == measured


def test_latency_on_the_terminal(tiny, capsys):
    main(tiny, "--latency", "--seconds", "0.01")
    assert "latency p50 (ms)" in capsys.readouterr().out


def test_a_page_without_the_part(tiny, tmp_path, capsys):
    (tmp_path / "page.md").write_text("nothing")
    with pytest.raises(SystemExit):
        main(tiny, "--update", tmp_path / "page.md", "--latency")
    seen = capsys.readouterr().err
    assert "page.md has no <!-- models -->" in seen
    assert "ms" not in seen.replace("page.md has", "")  # said before hours of measuring


def test_latencies_name_the_machine(tiny):
    found, note = build_latencies({"t": load_cfg(tiny)}, seconds=0.01)
    assert set(found) == {"t"}
    assert note.startswith("Latency: ")
