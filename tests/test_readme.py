"""What the README says is so."""

import re
from pathlib import Path

import pytest

from slowfast.config import all_keys, load_cfg

REPO = Path(__file__).parents[1]
README = (REPO / "README.md").read_text("utf-8")
CONFIGS = sorted((REPO / "configs").rglob("*.yaml"))


def commands():
    """Shell commands in the README, continuation lines joined."""
    blocks = re.findall(r"```bash\n(.*?)```", README, re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    return [line.split("#")[0].split() for line in (raw.strip() for raw in lines) if line]


def test_files_in_commands_exist():
    words = [word for command in commands() for word in command]
    ours = [w for w in words if re.match(r"(tools|scripts|configs)/", w)]
    assert len(ours) > 10
    assert [w for w in ours if not (REPO / w).exists()] == []


def test_links_exist():
    links = [link for link in re.findall(r"\]\(([^)]+)\)", README) if "://" not in link]
    assert [link for link in links if not (REPO / link).exists()] == []


def test_keys_exist():
    known = set(all_keys())
    nodes = {key.rpartition(".")[0] for key in known}
    named = set(re.findall(r"\b[A-Z][A-Z_]+(?:\.[A-Z_0-9]+)+\b", README))
    assert len(named) > 15
    assert named - known - nodes == set()


@pytest.mark.parametrize(
    "command", [c for c in commands() if "run_net.py" in " ".join(c)], ids=" ".join
)
def test_commands_parse(command):
    import argparse

    from slowfast.config import parse_args
    from slowfast.config.cli import add_cfg_arguments

    parser = argparse.ArgumentParser()
    add_cfg_arguments(parser)
    parser.add_argument("--eval", action="store_true")
    words = [word for word in command[2:] if word != "..."]
    files = [w for w in words if w.endswith(".yaml")]
    args = parse_args(words, parser)
    shipped = [path for path in args.cfg if (REPO / path).exists()]
    assert files
    load_cfg([REPO / path for path in shipped], args.opts)


def rows(markdown):
    """Cells of a Markdown table, without its padding."""
    return [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in markdown.splitlines()
        if line.startswith("|") and not line.startswith("| --")
    ]


def test_model_table_is_part_of_the_whole_one():
    """That one is checked against the configs in test_models_doc.py."""
    shown, whole = (
        rows(page.partition("<!-- models -->")[2].partition("<!-- /models -->")[0])
        for page in (README, (REPO / "docs" / "models.md").read_text("utf-8"))
    )
    columns = len(shown[0])
    assert len(shown) > 8
    missing = [row[0] for row in shown if row not in [line[:columns] for line in whole]]
    assert not missing, "bring them up to date: python tools/model_table.py CONFIG ... --update"
