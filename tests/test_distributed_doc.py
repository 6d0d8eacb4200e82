"""What docs/distributed.md and docs/gpu.md say is so."""

import re
import runpy
import shlex
from pathlib import Path

import pytest

from slowfast.config import add_cfg_arguments, all_keys, load_cfg, parse_args
from slowfast.deploy.benchmarks.gpu import compute, data, plan
from slowfast.deploy.benchmarks.gpu.run import CHECKS
from slowfast.utils.signals import PREEMPTED_STATUS, SIGNALS

REPO = Path(__file__).parents[1]
DISTRIBUTED = (REPO / "docs/distributed.md").read_text("utf-8")
GPU = (REPO / "docs/gpu.md").read_text("utf-8")
BLOCKS = re.findall(r"```bash\n(.*?)```", DISTRIBUTED + GPU, re.DOTALL)
LINES = "\n".join(BLOCKS).replace("\\\n", " ").splitlines()
COMMANDS = [shlex.split(line) for line in LINES if line]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_commands(command):
    words = [word for word in command if re.match(r"(tools|scripts|configs)/", word)]
    assert [word for word in words if not (REPO / word).exists()] == []
    if "tools/submit.py" in command:
        args = runpy.run_path(str(REPO / "tools/submit.py"))["parser"]().parse_args(command[2:])
        command = ["python", *args.command]
    if "tools/run_net.py" in command:
        command = command[command.index("tools/run_net.py") + 1 :]
    elif "sbatch" in command:
        command = command[command.index(words[0]) + 1 :]
    elif "scripts/gpu_check.sh" in command:
        runpy.run_path(str(REPO / "tools/gpu_check.py"))["parser"]().parse_args(command[2:])
        return
    else:
        assert command[0] in {"pip", "export"}
        return
    import argparse

    parser = argparse.ArgumentParser()
    add_cfg_arguments(parser)
    args = parse_args(command, parser)
    load_cfg([REPO / path for path in args.cfg], args.opts)


def test_the_pages_are_complete():
    assert len(COMMANDS) == 14
    assert set(re.findall(r"\b[A-Z][A-Z_]+\.[A-Z_0-9]+\b", DISTRIBUTED + GPU)) <= set(all_keys())
    named = set(re.findall(r"`((?:tests|scripts|tools)/[\w/.]+)`", DISTRIBUTED + GPU))
    assert len(named) > 4
    assert [path for path in named if not (REPO / path).exists()] == []
    assert f"exit status {PREEMPTED_STATUS}" in DISTRIBUTED
    assert ", ".join(s.name for s in SIGNALS[:2]) + f" or {SIGNALS[2].name}" in DISTRIBUTED
    for key in (key for key in all_keys() if key.startswith("DISTRIBUTED.")):
        assert f"`{key}`" in DISTRIBUTED
    for name in CHECKS:
        assert f"| `{name}` |" in GPU
    for limit in (compute.LOGIT_TOLERANCE, compute.GRADIENT_TOLERANCE, compute.BF16_TOLERANCE):
        assert f"at most {limit:g}" in GPU
    assert f"at most {data.NVDEC_TOLERANCE:g};" in GPU
    assert f"under {plan.BUDGET_S / 60:g} minutes" in GPU
