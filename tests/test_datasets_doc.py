"""What docs/datasets.md says is so."""

import argparse
import re
from pathlib import Path

import pytest

from slowfast.config import add_cfg_arguments, all_keys, load_cfg, parse_args
from slowfast.datasets.build import DATASETS
from slowfast.datasets.check.problems import KINDS
from slowfast.datasets.synthetic import LAYOUTS

REPO = Path(__file__).parents[1]
PAGE = (REPO / "docs/datasets.md").read_text("utf-8")
ALIASES = {"videofolder", "ptvkinetics", "epic_kitchens"}


def commands():
    """Words of every shell command, continuation lines joined."""
    blocks = re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    return [line.split() for line in lines if line.strip()]


def sections():
    return dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL))


def test_every_kind_of_dataset_has_its_commands():
    """Layout, the command that checks it, the command that trains on it."""
    assert set(re.findall(r"^\| `(\w+)` \| .* \|$", PAGE, re.MULTILINE)) >= set(DATASETS) - ALIASES
    kinds = [name for name in sections() if not name.startswith(("Check", "Faster"))]
    assert len(kinds) == 8
    for name in kinds:
        text = sections()[name]
        assert "tools/check_data.py --cfg" in text, name
        assert "tools/run_net.py --cfg" in text, name
        assert text.count("```\n") >= 2 or name.startswith("Synthetic"), name


def test_links_and_files_exist():
    words = [word for command in commands() for word in command]
    ours = [word for word in words if re.match(r"(tools|scripts|configs)/", word)]
    assert len(ours) > 40
    assert [word for word in ours if not (REPO / word).exists()] == []
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", PAGE) if "://" not in link]
    assert [link for link in links if not (REPO / "docs" / link).exists()] == []
    anchors = {re.sub(r"[^\w -]", "", name.lower()).replace(" ", "-") for name in sections()}
    assert set(re.findall(r"\]\(#([\w-]+)\)", PAGE)) <= anchors


def test_keys_exist():
    known = set(all_keys())
    nodes = {key.rpartition(".")[0] for key in known}
    named = set(re.findall(r"\b[A-Z][A-Z_]+(?:\.[A-Z_0-9]+)+\b", PAGE))
    assert len(named) > 30
    assert named - known - nodes - {"P01_01.MP4"} == set()


@pytest.mark.parametrize("command", [c for c in commands() if "--cfg" in c], ids=" ".join)
def test_configs_load_with_what_is_set(command):
    parser = argparse.ArgumentParser()
    add_cfg_arguments(parser)
    for option in ("--eval", "--loader", "--decoding"):
        parser.add_argument(option, action="store_true")
    for option in ("--model_path", "--videos_dir", "--output_dir"):
        parser.add_argument(option)
    args = parse_args(command[2:], parser)
    load_cfg([REPO / path for path in args.cfg], args.opts)


def options(tool):
    source = (REPO / tool).read_text("utf-8")
    return set(re.findall(r'"(--\w+)"', source)) | {"--cfg", "--opts"}


@pytest.mark.parametrize("command", commands(), ids=" ".join)
def test_options_exist(command):
    tool = "tools/pipeline.py" if command[0] == "bash" else command[1]
    assert {word for word in command if word.startswith("--")} <= options(tool)


def test_options_named_in_the_text_exist():
    tools = (path.relative_to(REPO) for path in (REPO / "tools").glob("*.py"))
    named = set(re.findall(r"`(--\w+)", PAGE))
    assert len(named) > 20
    assert named - set().union(*map(options, tools)) == set()


def test_problems_and_layouts_are_all_there():
    assert set(KINDS) <= set(re.findall(r"`(\w+)`", sections()["Check before training"]))
    rows = re.findall(r"^\| `(\w+)` \|", sections()["Synthetic assembly actions"], re.MULTILINE)
    assert set(LAYOUTS) == set(rows)
    named = set(re.findall(r"`(\w+\.yaml)`", sections()["Synthetic assembly actions"]))
    assert {name for name in named if not (REPO / "configs/Synthetic" / name).exists()} == set()
