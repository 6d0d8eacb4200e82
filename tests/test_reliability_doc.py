"""What docs/reliability.md names is there."""

import re
import runpy
from pathlib import Path

from slowfast.config import all_keys

REPO = Path(__file__).parents[1]
TEXT = (REPO / "docs/reliability.md").read_text("utf-8")


def test_files_exist():
    named = set(re.findall(r"`((?:tests|scripts|slowfast)/[\w/.]+\.(?:py|sh))", TEXT))
    assert len(named) >= 10
    assert [name for name in named if not (REPO / name).is_file()] == []


def test_keys_exist():
    named = set(re.findall(r"`([A-Z][A-Z_]+\.[A-Z_]+)`", TEXT))
    assert len(named) >= 3
    assert named <= set(all_keys())


def test_the_scripts_take_the_commands():
    count = 0
    for line in TEXT.splitlines():
        words = line.split("#")[0].split()
        if words[:1] != ["python"] or words[1] not in ("scripts/faults.py", "scripts/endurance.py"):
            continue
        runpy.run_path(str(REPO / words[1]))["parser"]().parse_args(words[2:])
        count += 1
    assert count == 5


def test_sections_and_markers():
    headings = re.findall(r"^## (.*)", TEXT, re.MULTILINE)
    assert {"Faults", "Bad input", "Long runs"} <= set(headings)
    for name in ("faults", "endurance"):
        assert TEXT.index(f"<!-- {name} -->") < TEXT.index(f"<!-- /{name} -->")
