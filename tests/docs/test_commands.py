"""Every command of the README and of docs/ is run: here, or where the tables of pages.py say."""

import os
import re
import subprocess

import pytest

from tests.docs.pages import (
    ELSEWHERE,
    OTHERS,
    PYTHON_ELSEWHERE,
    REPO,
    SHELLS,
    blocks_of,
    free_ports,
    is_elsewhere,
    make_scratch,
    pages,
    script_of,
)
from tests.docs.small import AS_WRITTEN, KEYS, OPTIONS
from tests.docs.world import PRELUDES, SETUPS

BLOCKS = [block for page in pages() for block in blocks_of(page)]
COMMANDS = [command for block in BLOCKS if block.language in SHELLS for command in block.commands]
WITH_COMMANDS = [
    page for page in pages()
    if any(block.language in SHELLS | {"python"} for block in blocks_of(page))
]  # fmt: skip


def test_every_command_is_found():
    """Fences that are none of commands are those of files and of what is printed."""
    assert {block.language for block in BLOCKS} <= SHELLS | OTHERS | {"python"}
    assert len(COMMANDS) >= 125
    assert sum(block.language == "python" for block in BLOCKS) >= 20
    assert len(WITH_COMMANDS) >= 15
    for page in pages():
        fences = re.findall(r"^ *```", (REPO / page).read_text("utf-8"), re.MULTILINE)
        assert len(fences) == 2 * len(blocks_of(page)), page


def test_what_runs_elsewhere_does():
    for start, (file, place) in ELSEWHERE.items():
        assert place in (REPO / file).read_text("utf-8"), start
        assert any(command.startswith(start) for command in COMMANDS), start
    for page, (file, name) in PYTHON_ELSEWHERE.items():
        source = (REPO / file).read_text("utf-8")
        assert f"def {name}(" in source, page
        assert page in source, page
    assert sum(map(is_elsewhere, COMMANDS)) <= 25


def test_tables_are_of_things_that_are_there():
    from slowfast.config import all_keys

    assert set(SETUPS) | set(PRELUDES) <= set(pages())
    assert set(KEYS) | AS_WRITTEN <= set(all_keys())
    assert all((REPO / "tools" / tool).exists() for tool in OPTIONS)


@pytest.mark.slow
@pytest.mark.parametrize("page", WITH_COMMANDS)
def test_every_command_runs(page, quick_python, tmp_path):
    """From top to bottom, in one shell, as a reader would type them."""
    here = make_scratch(tmp_path, quick_python.program)
    port, other = free_ports(2)
    script = tmp_path / "page.sh"
    script.write_text(script_of(page, tmp_path, root=tmp_path, port=port))
    environment = os.environ | {
        "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}", "PYTHONPATH": str(REPO),
        "VENV": str(here / ".venv"), "REPO": str(REPO), "ROOT": str(tmp_path),
        "PORT": str(port), "OTHER_PORT": str(other), "OMP_NUM_THREADS": "1",
    }  # fmt: skip
    log = tmp_path / "log.txt"
    with log.open("w") as file:
        done = subprocess.run(
            ["bash", str(script)], cwd=here, env=environment, stdin=subprocess.DEVNULL,
            stdout=file, stderr=subprocess.STDOUT, check=False, timeout=580,
        )  # fmt: skip
    said = log.read_text(errors="replace")
    failed = re.findall(r"((?:.*\n){0,4}### failed: .*)", said)
    assert not failed, "\n".join(failed)
    assert done.returncode == 0
    assert f"### end of {page}" in said
