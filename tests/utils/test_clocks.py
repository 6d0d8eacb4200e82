"""Clocks that jump: durations come from clocks that do not, whatever the time of day does."""

import ast
import random
import time
from pathlib import Path

from slowfast.engine.run import build_training
from slowfast.reports.stats import read_stats
from tests.engine import runs

REPO = Path(__file__).parents[2]
OF_THE_DAY = {"time", "time_ns", "now", "utcnow", "today", "localtime", "gmtime"}
ALLOWED = {
    "slowfast/datasets/decode/cache.py": 2,  # ages of files, and a seed
    "slowfast/deploy/benchmarks/zoo.py": 1,  # the day on which a table was measured
    "slowfast/utils/stages.py": 1,  # tells one run of a stage from the next
}


def uses(path):
    """Calls that ask for the time of day: ``time.time()``, ``datetime.now()`` and the like."""
    tree = ast.parse(path.read_text("utf-8"))
    calls = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
    attributes = [call for call in calls if isinstance(call, ast.Attribute)]
    found = [
        call for call in attributes
        if call.attr in OF_THE_DAY and ast.unparse(call.value) in ("time", "datetime", "date")
    ]  # fmt: skip
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    names = [alias.name for node in imports if node.module == "time" for alias in node.names]
    found += [name for name in names if name in OF_THE_DAY]
    return len(found)


def test_nothing_is_timed_by_the_time_of_day():
    paths = [path for folder in ("slowfast", "tools") for path in (REPO / folder).rglob("*.py")]
    assert len(paths) > 200
    counts = {path.relative_to(REPO).as_posix(): uses(path) for path in paths}
    assert {name: count for name, count in counts.items() if count} == ALLOWED


def test_a_clock_that_jumps_is_not_seen(tmp_path, monkeypatch):
    """A day forth or back at every look: times and the rest of the training are as they were."""
    chance = random.Random(0)
    monkeypatch.setitem(runs.dummy.DummyVideos.__init__.__kwdefaults__, "num_videos", 18)
    monkeypatch.setattr(time, "time", lambda: 1e9 + chance.choice([-86400, 0, 86400]))
    build_training(runs.config(tmp_path, SOLVER__MAX_EPOCH=2)).run()
    stats = read_stats(tmp_path / "json_stats.log")["train_iter_"]
    assert len(stats) == 4
    for record in stats:
        assert 0 < record["dt"] < 3600
        assert 0 <= record["dt_data"] <= record["dt"]
        assert record["eta"].startswith("0:")
