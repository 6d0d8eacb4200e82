"""What docs/deployment.md says is so."""

import re
import runpy
from dataclasses import fields
from pathlib import Path

import pytest

from slowfast.config import all_keys, parse_args
from slowfast.deploy.export import EXPORTERS
from slowfast.deploy.export.info import ExportInfo

REPO = Path(__file__).parents[1]
TEXT = (REPO / "docs/deployment.md").read_text("utf-8")
COMMANDS = [
    line.split()
    for block in re.findall(r"```bash\n(.*?)```", TEXT, re.DOTALL)
    for line in block.splitlines()
    if "tools/export.py" in line
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_commands_parse(command):
    parser = runpy.run_path(str(REPO / "tools/export.py"))["parser"]()
    args = parse_args(command[2:], parser)
    assert set(args.format) <= set(EXPORTERS)
    assert all((REPO / path).exists() for path in args.cfg)


def test_tables_are_complete():
    assert len(COMMANDS) == 4
    described = set(re.findall(r"`(\w+)`", TEXT.split("## The description")[1].split("```")[0]))
    assert {field.name for field in fields(ExportInfo)} - {"model_channels", "schema"} <= described
    rows = set(re.findall(r"^\| `(\w+)` \|", TEXT, re.MULTILINE))
    assert set(EXPORTERS) <= rows
    assert set(re.findall(r"\b(?:DATA|TEST|MODEL)\.[A-Z_]+\b", TEXT)) <= set(all_keys())
