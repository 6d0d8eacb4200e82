"""The page's tables come from the script; its arithmetic is checked by hand."""

import json
import runpy
from pathlib import Path

import pytest

REPO = Path(__file__).parents[2]
SCRIPT = runpy.run_path(str(REPO / "scripts/scaling.py"))
PAGE = (REPO / "docs/scaling.md").read_text("utf-8")


def measured(clips_s=50.0):
    clips = SCRIPT["MODELS"]
    return {
        "machine": "a machine",
        "decoding": [{"source": "340x256, prepared", "clip": list(clip), "clips_s": clips_s}
                     for clip in clips.values()],
        "reading": [{"kind": "shards", "cold_mb_s": 100.0, "warm_mb_s": 1000.0}],
        "loader": [{"workers": 1, "clips_s": 40.0}],
        "index": {"seconds": 1e-6, "bytes": 1000.0, "file_bytes": 200.0},
        "models": {name: {"macs": 1e9, "params": 1_000_000, "epochs": 100} for name in clips},
    }  # fmt: skip


def rows(text):
    return [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")]


def test_arithmetic():
    """X3D-S at 3 TFLOP/s and 6 GFLOP per clip: 500 clips/s and GPU."""
    found = {tuple(row[:2]): row[2:] for row in rows(SCRIPT["needs_table"](measured()))[2:]}
    assert len(found) == 6
    clip_mb = 3 * 13 * 160 * 160 / 1e6
    gradients = 2 * 4 * 7 / 8 * 500 / 8  # MB/s: both ways, float32, 8 GPUs, 8 clips per step
    hours = [240_000 * 100 / 4000 / 3600, 540_000 * 100 / 4000 / 3600]
    assert found["X3D_S", "8"] == [
        "4,000", "80", "4,000", f"{4000 * clip_mb:,.0f}", f"{gradients:,.0f}",
        *(f"{hour:,.0f}" for hour in hours),
    ]  # fmt: skip
    assert found["X3D_S", "64"][1] == "640"
    assert rows(SCRIPT["storage_table"](measured()))[2][:4] == [
        "Kinetics-400", "240,000", "240", "240"
    ]  # fmt: skip


def test_page_has_every_table_and_its_place(tmp_path):
    page = tmp_path / "scaling.md"
    page.write_text(PAGE, encoding="utf-8")
    (tmp_path / "measured.json").write_text(json.dumps(measured()))
    SCRIPT["main"](["--from_file", str(tmp_path / "measured.json"), "--update", str(page)])
    text = page.read_text("utf-8")
    assert text.count("a machine") == 2
    assert text.count("Computed.") == PAGE.count("Computed.") == 2
    for name in SCRIPT["TABLES"]:
        assert len(rows(PAGE.partition(f"<!-- {name} -->")[2].partition("<!-- /")[0])) > 2, name
    page.write_text("nothing")
    with pytest.raises(SystemExit):
        SCRIPT["main"](["--from_file", str(tmp_path / "measured.json"), "--update", str(page)])


def test_assumptions_on_the_page_are_the_scripts():
    assumed = SCRIPT["ASSUMED"]
    for videos in assumed["datasets"].values():
        assert f"{videos:,}" in PAGE
    for speed in assumed["tflops"].values():
        assert f"{speed:.0f} TFLOP/s" in PAGE
    assert f"{SCRIPT['BATCH']} clips per GPU" in PAGE


@pytest.mark.slow
def test_it_measures(tmp_path, monkeypatch):
    """In small: one video each, a moment each."""
    small = {"340x256": (96, 64, 2, None), "340x256, prepared": (96, 64, 2, (48, 8)),
             "1280x720": (128, 96, 2, None)}  # fmt: skip
    shared = SCRIPT["measure"].__globals__
    monkeypatch.setitem(shared, "SOURCES", small)
    monkeypatch.setitem(shared, "CLIPS", list(SCRIPT["MODELS"].values()))
    monkeypatch.setitem(shared, "cores", lambda: 1)
    found = SCRIPT["measure"](tmp_path / "videos", 0.01)
    assert len(found["decoding"]) == 6
    assert all(row["clips_s"] > 0 for row in found["decoding"] + found["loader"])
    assert all(row["cold_mb_s"] > 0 for row in found["reading"])
    assert found["models"]["X3D_S"]["macs"] == pytest.approx(1.96e9, rel=0.05)
    assert not (tmp_path / "videos").exists()
    for make in SCRIPT["TABLES"].values():
        assert len(rows(make(found))) > 2
