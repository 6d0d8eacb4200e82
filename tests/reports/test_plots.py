import re

import pytest

from slowfast.reports import plots
from slowfast.reports.runs.facts import Runs
from slowfast.reports.runs.read import read_runs
from tests.reports.run_folders import write_set
from tests.test_tools import tool


@pytest.fixture
def runs(tmp_path):
    return read_runs({"set": write_set(tmp_path / "runs")})


def test_six_figures_as_png_and_svg(tmp_path, capsys):
    folder = write_set(tmp_path / "runs")
    tool("plot.py")([str(folder), "--output", str(tmp_path / "figures")])
    found = sorted(path.name for path in (tmp_path / "figures").iterdir())
    assert found == sorted(f"{stem}.{kind}" for stem in plots.FIGURES for kind in ("png", "svg"))
    assert len(plots.FIGURES) == 6
    assert len(capsys.readouterr().out.splitlines()) == 12
    svg = (tmp_path / "figures/02_validation_accuracy.svg").read_text()
    assert re.search("<text[^>]*>teacher</text>", svg)  # words stay words


@pytest.mark.parametrize("name", ["training_loss", "validation_accuracy", "learning_rate"])
def test_curves_have_one_legend_outside_of_the_lines(runs, name):
    figure = getattr(plots, name)(runs)
    assert len(figure.legends) == 1
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        "prune/finetune", "teacher",
    ]  # fmt: skip
    assert all(axes.get_legend() is None for axes in figure.axes)


def test_lines_differ_also_without_colour():
    styles = [(s["color"], str(s["linestyle"])) for s in map(plots._style, range(28))]
    assert len(set(styles)) == 28


def test_bars_say_their_numbers(runs):
    texts = [text.get_text() for text in plots.model_comparison(runs).axes[0].texts]
    assert {"80.0", "79.0", "99.0"} <= set(texts)


def test_what_cannot_be_drawn_is_left_out_and_named(tmp_path):
    written, missing = plots.write_figures(Runs(), tmp_path)
    assert written == []
    assert [line.split(":")[0] for line in missing] == list(plots.FIGURES)
