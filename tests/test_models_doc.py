"""What docs/models.md says is so."""

import re
from pathlib import Path

import pytest

from slowfast.config import all_keys, load_cfg
from slowfast.models import MODELS

REPO = Path(__file__).parents[1]
PAGE = (REPO / "docs/models.md").read_text("utf-8")
ROOT = REPO / "configs"
CONFIGS = {p.relative_to(ROOT).as_posix(): p for p in ROOT.rglob("*.yaml")}
OURS = ("Synthetic/", "Pipeline/")
FOR_TESTS = {"TinyNet"}
UP_TO_DATE = "bring it up to date: python tools/model_table.py --update docs/models.md"


def section(mark):
    return PAGE.partition(f"<!-- {mark} -->")[2].partition(f"<!-- /{mark} -->")[0]


def rows(markdown):
    """Cells of a Markdown table, without its padding."""
    return [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in markdown.splitlines()
        if line.startswith("|") and not line.startswith("| --")
    ]


def test_every_family_is_explained():
    named = set(re.findall(r"`(?:MODEL\.MODEL_NAME )?(\w+)`", PAGE))
    named |= set(re.findall(r"^## (\w+)", PAGE, re.MULTILINE))
    assert set(MODELS) - named <= FOR_TESTS


def test_every_config_has_its_published_result():
    table = PAGE.partition("## Published results")[2].partition("\n## ")[0]
    named = set(re.findall(r"`([\w/-]+)`", table))
    assert named == {n.removesuffix(".yaml") for n in CONFIGS if not n.startswith(OURS)}


def test_links_and_files_exist():
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", PAGE) if "://" not in link]
    assert [link for link in links if not (REPO / "docs" / link).exists()] == []
    blocks = re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL)
    files = [
        word for word in " ".join(blocks).split() if re.match(r"(tools|scripts|configs)/", word)
    ]
    assert len(files) > 15
    assert [word for word in files if not (REPO / word).exists()] == []
    titles = {
        re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")
        for title in re.findall(r"^## (.+)$", PAGE, re.MULTILINE)
    }
    assert set(re.findall(r"\]\(#([\w-]+)\)", PAGE)) <= titles


def test_keys_exist():
    known = set(all_keys())
    nodes = {key.rpartition(".")[0] for key in known}
    named = set(re.findall(r"\b[A-Z][A-Z_]+(?:\.[A-Z_0-9]+)+\b", PAGE))
    assert len(named) > 10
    assert named - known - nodes == set()


def test_the_cost_table_lists_every_config():
    header, *body = rows(section("models"))
    assert header[-1] == "latency p50 (ms)"
    assert [row[0] for row in body] == sorted(CONFIGS), UP_TO_DATE
    if any(row[-1] != "-" for row in body):
        machine = r"\nLatency: medians of one run, .* CPU cores, \d+ GiB"
        assert re.search(machine, section("models"))


def test_heads_of_configs_agree_with_the_cost_table():
    _, *body = rows(section("models"))
    for name, _, _, params, train, test, *_ in body:
        head = [line for line in CONFIGS[name].read_text().splitlines() if line.startswith("#")][-1]
        assert is_rounded(re.search(r"([\d.]+) M parameters", head)[1], params), name
        said = re.findall(r"([\d.]+)(?: GMACs)? at (\d+x\d+)", head)
        found = [macs_and_size(cell) for cell in dict.fromkeys((train, test))]
        assert [size for _, size in said] == [size for _, size in found], name
        for (macs, _), (exact, _) in zip(said, found, strict=True):
            assert is_rounded(macs, exact), name


def macs_and_size(cell):
    """``"4.732 (224²)"`` -> ``("4.732", "224x224")``."""
    macs, size = re.fullmatch(r"([\d.]+) \((.+)\)", cell).groups()
    return macs, re.sub(r"(\d+)²", r"\1x\1", size)


def is_rounded(value, exact):
    """Whether ``value`` is ``exact`` to its digits, in text both."""
    digits = len(value.partition(".")[2])
    return abs(float(value) - float(exact)) <= 0.51 * 10**-digits


@pytest.mark.slow
def test_the_cost_table_is_what_the_configs_give():
    from slowfast.reports.models import build_model_table, read_latencies

    latencies, _ = read_latencies(PAGE)
    cfgs = {name: load_cfg(CONFIGS[name]) for name in sorted(CONFIGS)}
    expected = build_model_table(cfgs, latencies).markdown()
    assert rows(section("models")) == rows(expected), UP_TO_DATE
