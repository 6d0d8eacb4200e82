"""The fenced commands of the documentation, and how a page of them is run."""

import hashlib
import re
import shlex
import shutil
import socket
import textwrap
from dataclasses import dataclass
from pathlib import Path

from tests.docs.small import place
from tests.docs.world import PRELUDES, SETUPS

REPO = Path(__file__).parents[2]
SHELLS = {"bash", "sh", "console", "shell"}
OTHERS = {"yaml", "json", "toml", "text", "nginx", ""}  # what is shown, not run

ELSEWHERE = {
    "bash scripts/test.sh": (".ci/run", "bash scripts/test.sh --slow"),
    "bash scripts/check.sh": (".ci/run", "bash scripts/check.sh --no-tests"),
    "python scripts/deployment_evidence.py": (
        "tests/test_scripts.py", "test_deployment_runs_are_ones_that_the_tool_takes",
    ),
    "python scripts/faults.py": ("tests/faults/test_faults.py", "kills.kill_often(folder"),
    "python scripts/fuzz.py": ("tests/fuzz/test_fuzz.py", "fuzz(cli.load_target(name)"),
    "python scripts/endurance.py": ("tests/faults/test_endurance.py", "train(tmp_path"),
    "python -m tests.datasets.endurance": ("tests/datasets/test_endurance.py", "endure(tmp_path"),
    "bash scripts/gpu_check.sh": ("tests/deploy/test_gpu_check.py", "test_the_script_on_the_cpu"),
    # Several machines, or processes that cores here do not suffice for.
    "torchrun": ("tests/engine/test_distributed.py", "test_torchrun"),
    "python tools/run_net.py --cfg configs/Kinetics/X3D_S.yaml NUM_GPUS 8": (
        "tests/engine/test_distributed.py", "test_pyslowfasts_shards",
    ),
    "sbatch": ("tests/utils/test_jobs.py", 'scripts/slurm/{name}.sbatch", "--cfg"'),
    "python tools/submit.py": ("tests/utils/test_jobs.py", "test_a_preempted_job_is_queued_again"),
}  # fmt: skip
"""Beginning of a command that the pages' tests pass over -> file that runs it, and where there."""

PYTHON_ELSEWHERE = {
    "docs/learners.md": ("tests/test_learners_doc.py", "test_the_examples_run"),
    "docs/serve.md": ("tests/deploy/serve/test_doc.py", "test_programs_run"),
}
"""Page -> file and test that run its Python."""

GO_ON = {"docs/compression.md", "docs/streaming.md"}
"""Pages whose Python blocks use the names of those before."""

SHELL = r"""
set -uo pipefail
failed=0
trap 'failed=1; echo "### failed: $BASH_COMMAND"' ERR
# A server stays until the page's next one has answered; the first of a page stays to its end.
servers=0
serve() {
  local port=$PORT
  if [ "$servers" -gt 0 ]; then port=$OTHER_PORT; fi
  servers=$((servers + 1))
  "$@" --port "$port" &
  local server=$!
  until command curl --silent --output answer.html "http://127.0.0.1:$port/"; do
    kill -0 "$server"
    sleep 0.05
  done
  if [ "$port" = "$OTHER_PORT" ]; then kill "$server"; wait "$server" || true; fi
}
trap 'kill $(jobs -p) 2>/dev/null || true' EXIT
# Extras and packages that the repository knows; nothing is installed.
pip() { PYTHONPATH=$REPO python -m tests.docs.world known_to_pip "$@"; }
# Exit status 1 says that something was found, here: that the generated data are few.
check_data() { "$@" || [ $? -eq 1 ]; }
make() { PYTHONPATH=$REPO python -m tests.docs.world "$@"; }
"""


@dataclass(frozen=True)
class Block:
    """Attributes: page, line of its first command, language, text without its indentation."""

    page: str
    line: int
    language: str
    text: str

    @property
    def commands(self) -> list[str]:
        """One line each; of Python, one for the block."""
        if self.language == "python":
            return [self.text]
        without = re.sub(r"<<'END'\n.*?\nEND\n", "\n", self.text, flags=re.DOTALL)
        lines = without.replace("\\\n", " ").splitlines()
        return [line for line in lines if line.strip() and not line.strip().startswith("#")]


def pages() -> list[str]:
    """The README and all of docs/, as paths in the repository."""
    return ["README.md", *sorted(f"docs/{path.name}" for path in (REPO / "docs").glob("*.md"))]


def blocks_of(page: str) -> list[Block]:
    """What stands between fences on a page, whatever it is."""
    text = (REPO / page).read_text("utf-8")
    found = []
    for match in re.finditer(r"^( *)```(\w*)\n(.*?)^ *```$", text, re.DOTALL | re.MULTILINE):
        line = text.count("\n", 0, match.start(3)) + 1
        found.append(Block(page, line, match[2], textwrap.dedent(match[3])))
    return found


def is_elsewhere(command: str) -> bool:
    """Whether another test or CI runs a command."""
    return any(command.startswith(start) for start in ELSEWHERE)


def script_of(page: str, folder: Path, **places: object) -> str:
    """A program for bash that runs a page from top to bottom; its Python goes into ``folder``.

    It goes on after what fails, so that one run shows all of it, and ends with exit status 1."""
    parts = [SHELL, SETUPS.get(page, ""), "echo '### prepared'"]
    earlier = [PRELUDES.get(page, "")]
    for block in blocks_of(page):
        mark = f"### {page}:{block.line}"
        if block.language == "python" and page not in PYTHON_ELSEWHERE:
            path = folder / f"line_{block.line}.py"
            path.write_text(place("\n".join([*earlier, block.text]), **places))
            if page in GO_ON:
                earlier.append(block.text)
            parts += [f"echo '{mark}'", f"python {path}"]
        elif block.language in SHELLS:
            parts += [f"echo '{mark}'", place(_runnable(block), **places)]
    return "\n".join([*parts, f"echo '### end of {page}'", "exit $failed"])


def _runnable(block: Block) -> str:
    """The block without what runs elsewhere, and with the functions of ``SHELL``."""
    lines = []
    text = block.text if "<<" in block.text else re.sub(r" *\\\n *", " ", block.text)
    for line in text.splitlines():
        if is_elsewhere(line.strip()) or _is_of_the_readme(block, line.strip()):
            line = f": {shlex.quote(line)}"
        line = re.sub(r"^( *)(python tools/serve\.py)", r"\1serve \2", line)
        line = re.sub(r"^( *)(python tools/check_data\.py)", r"\1check_data \2", line)
        lines.append(line)
    return "\n".join(lines)


def _is_of_the_readme(block: Block, line: str) -> bool:
    """Whether a run of the whole pipeline is one that the README's test makes."""
    if block.page == "README.md" or line != "bash scripts/run_pipeline.sh":
        return False
    return any(line in other.commands for other in blocks_of("README.md"))


def free_ports(count: int) -> list[int]:
    """Ports that nothing listens at."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def make_scratch(root: Path, program: Path) -> Path:
    """A folder that looks like the repository, and an environment whose Python is ``program``."""
    here = root / "here"
    here.mkdir(parents=True)
    files = ("requirements.txt", "setup.py", "pyproject.toml")
    for name in ("tools", "configs", "scripts"):
        (here / name).symlink_to(REPO / name)
    for name in files:  # copies: their digest says that all is installed
        shutil.copy(REPO / name, here / name)
    (here / ".venv").mkdir()
    (root / "bin").mkdir()
    for name in ("python", "python3"):
        (root / "bin" / name).symlink_to(program)
    venv_bin = here / ".venv" / "bin"
    venv_bin.mkdir()
    (venv_bin / "python").symlink_to(program)
    (venv_bin / "activate").write_text(f"PATH={venv_bin}:$PATH\n")
    digest = hashlib.sha256(b"".join((here / name).read_bytes() for name in files)).hexdigest()
    (here / ".venv" / ".installed").write_text(f"{digest} {here} .[dev]\n")
    return here
