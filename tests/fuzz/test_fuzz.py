"""Every target with few inputs and fixed seeds, and that the fuzzer sees what it is to see."""

import json
import re
from pathlib import Path

import pytest

from slowfast.utils.errors import UserError
from tests.fuzz import cli
from tests.fuzz.core import CRASH, HANG, REFUSED, WRONG, Report, Target, WrongError, fuzz

ROOT = Path(__file__).resolve().parents[2]
RUNS = {"config": 120, "overrides": 250, "csv": 1200, "json": 500, "checkpoint": 250}
SLOW = {"video": 120, "http": 100}


def assert_clean(report, runs):
    assert report.runs == runs
    bad = [
        f"--seed {report.seed} --only {f.number}: {f.outcome}: {f.cause}" for f in report.failures
    ]
    assert not report.bad, "\n".join(bad)
    assert min(report.counts["accepted"], report.counts["refused"]) >= 2, report.counts


@pytest.mark.parametrize("name", RUNS)
def test_readers(name):
    assert_clean(fuzz(cli.load_target(name), RUNS[name], seed=7), RUNS[name])


@pytest.mark.slow
@pytest.mark.parametrize("name", SLOW)
def test_videos_and_requests(name):
    if name == "http":
        pytest.importorskip("fastapi")
        pytest.importorskip("uvicorn")
        pytest.importorskip("websockets")
    assert_clean(fuzz(cli.load_target(name), SLOW[name], seed=7), SLOW[name])


class Failing(Target):
    """Does something else at every input."""

    name = "failing"
    limit_s = 0.2

    def draw(self, rng):
        return bytes([rng.randrange(256)])

    def run(self, data):
        raise NotImplementedError


def outcome_of(deed, folder):
    class Doing(Failing):
        def run(self, data):
            deed(folder)

    report = Report("failing", 0)
    Doing(folder).trial(0, b"", report)
    (outcome,) = report.counts
    return outcome


def complain(folder):
    raise UserError(f"{folder}: wrong; do it right")


def complain_vaguely(_):
    raise UserError("something is wrong")


def complain_at_length(folder):
    raise UserError(f"{folder}: {'x' * 10_000}")


def turn_in_circles(_):
    while True:
        pass


def mistake(_):
    raise WrongError("3 instead of 4")


def write_elsewhere(folder):
    Path(folder, "x").with_name("y").open("w").close()


def run_a_command(_):
    import os

    os.system("true")


@pytest.mark.parametrize(
    ("deed", "outcome"),
    [
        (complain, REFUSED),
        (complain_vaguely, CRASH),
        (complain_at_length, CRASH),
        (lambda _: [][0], CRASH),
        (turn_in_circles, HANG),
        (mistake, WRONG),
        (write_elsewhere, WRONG),
        (run_a_command, WRONG),
    ],
)
def test_outcomes(deed, outcome, tmp_path):
    assert outcome_of(deed, tmp_path) == outcome


def test_a_decoder_that_dies_or_hangs_is_seen(tmp_path):
    from tests.fuzz.child import InChild

    class Dying(InChild):
        inner = "tests.fuzz.test_fuzz:Deadly"
        limit_s = 1.0

        def draw(self, rng):
            return b""

    target, report = Dying(tmp_path), Report("dying", 0)
    try:
        for number, data in enumerate((b"segfault", b"fine", b"loop")):
            target.trial(number, data, report)
    finally:
        target.close()
    assert report.counts == {CRASH: 1, "accepted": 1, HANG: 1}
    assert "SIGSEGV" in report.failures[0].cause


class Deadly(Target):
    """What a decoder written in C may do."""

    limit_s = 1.0

    def run(self, data):
        import os
        import signal

        if data == b"segfault":
            os.kill(os.getpid(), signal.SIGSEGV)
        while data == b"loop":
            pass


def test_inputs_are_a_function_of_the_seed(tmp_path):
    drawn = []

    class Noting(Failing):
        def draw(self, rng):
            drawn.append(rng.random())
            return b""

        def run(self, data):
            pass

    fuzz(Noting, 5, 3)
    fuzz(Noting, 5, 3)
    fuzz(Noting, 1, 3, only=4)
    fuzz(Noting, 1, 4)
    assert drawn[:5] == drawn[5:10]
    assert drawn[10] == drawn[4]
    assert drawn[11] not in drawn[:11]


def test_tool(tmp_path, capsys, monkeypatch):
    """Counts, saved inputs, exit status, and the table of docs."""
    page = tmp_path / "page.md"
    page.write_text(f"# A\n{cli.BEGIN}\nold\n{cli.END}\nrest\n")
    words = ["--output_dir", str(tmp_path / "out")]
    assert cli.main(["--target", "csv", "--runs", "30", *words, "--update", str(page)]) == 0
    entries = json.loads((tmp_path / "out/fuzz.json").read_text())
    assert entries["csv/0"]["runs"] == 30 == sum(entries["csv/0"][name] for name in cli.OUTCOMES)
    assert re.search(r"\| `csv` \| 30 \| \d+ \| \d+ \| 0 \| 0 \| 0 \|", page.read_text())
    assert page.read_text().startswith("# A\n")
    assert page.read_text().endswith("rest\n")
    monkeypatch.setattr(cli, "load_target", lambda name: Failing)
    assert cli.main(["--target", "csv", "--runs", "2", "--seed", "1", *words]) == 1
    assert len(list((tmp_path / "out/failures").glob("*.bin"))) == 2
    saved = next((tmp_path / "out/failures").glob("*.bin"))
    assert cli.main(["--target", "csv", "--replay", str(saved)]) == 1
    assert "NotImplementedError" in capsys.readouterr().out


def test_the_page_has_every_target():
    text = (ROOT / "docs/reliability.md").read_text("utf-8")
    table = text.partition(cli.BEGIN)[2].partition(cli.END)[0]
    for name in cli.TARGETS:
        assert f"| `{name}` |" in table, name
    for line in table.strip().splitlines()[2:]:
        assert line.rstrip(" |").endswith("0 | 0 | 0"), line
