"""What docs/report.md says is so."""

import re
import runpy
from pathlib import Path

import pytest

from slowfast.config import all_keys, load_cfg
from slowfast.reports.plots import FIGURES

REPO = Path(__file__).parents[1]
TEXT = (REPO / "docs/report.md").read_text("utf-8")
COMMANDS = [
    line.split()
    for block in re.findall(r"```bash\n(.*?)```", TEXT, re.DOTALL)
    for line in block.replace("\\\n", " ").splitlines()
]


def test_every_command_is_seen():
    tools = [command[1] for command in COMMANDS]
    assert sorted(set(tools)) == ["tools/plot.py", "tools/report.py", "tools/run_net.py"]
    assert all((REPO / tool).exists() for tool in tools)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_commands_parse(command):
    if "run_net" in command[1]:
        config = REPO / command[command.index("--cfg") + 1]
        load_cfg(config, command[command.index("--eval") + 1 :])
        return
    parser = runpy.run_path(str(REPO / command[1]))["parser"]()
    assert parser.parse_args(command[2:]).runs


def test_figures_and_keys_are_known():
    assert re.findall(r"^\| `(\d\d_\w+)` \|", TEXT, re.MULTILINE) == list(FIGURES)
    named = set(re.findall(r"\b[A-Z]+\.[A-Z_]+\b", TEXT))
    assert named
    assert named <= set(all_keys())
