"""What docs/benchmark.md says is so."""

import re
import runpy
import shlex
from pathlib import Path

import pytest

from slowfast.config import all_keys, load_cfg, parse_args
from slowfast.deploy.benchmarks.precision import MIN_AGREEMENT, MIN_CLIPS
from slowfast.deploy.benchmarks.quality import NOISE_CLIPS, STREAM_FRAMES
from slowfast.deploy.benchmarks.spec import RUNTIMES, expand
from slowfast.reports.ways import COST, SPEED
from slowfast.utils.threads import SPIN_COUNT

REPO = Path(__file__).parents[1]
TEXT = (REPO / "docs/benchmark.md").read_text("utf-8")
BLOCKS = re.findall(r"```bash\n(.*?)```", TEXT, re.DOTALL)
COMMANDS = [
    shlex.split(line)
    for line in "\n".join(BLOCKS).replace("\\\n", " ").splitlines()
    if "tools/benchmark.py" in line
]
PARSER = runpy.run_path(str(REPO / "tools/benchmark.py"))["parser"]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_commands_parse(command):
    words = command[command.index("tools/benchmark.py") + 1 :]
    args = parse_args(words, PARSER())
    assert args.cfg or args.model_path or args.compare
    load_cfg([REPO / path for path in args.cfg], args.opts)
    split = [option.split(",") if option else [] for option in (args.runtimes, args.precisions)]
    specs, _ = expand([*args.cfg, *(args.compare or [])], *split)
    assert specs or args.model_path
    configs = [path for path in (spec.path for spec in specs) if path.endswith(".yaml")]
    assert all((REPO / path).exists() for path in configs)


def test_the_page_is_complete():
    assert len(COMMANDS) == 9
    options = {word for action in PARSER()._actions for word in action.option_strings}
    others = {"--help", "-h", "--train_step", "--loader", "--decoding", "--test_views", "--loop",
              "--backends", "--traceback", "--opts", "--num_shards", "--shard_id",
              "--init_method"}  # fmt: skip
    named = set(re.findall(r"--[a-z_0-9]+", TEXT))
    assert options - others <= named
    assert named - options == {"--output_dir", "--trained"}  # of the script
    for runtime in RUNTIMES:
        assert f"`{runtime}`" in TEXT
    titles = " ".join([*SPEED.values(), *COST.values()])
    for name in ("p50", "p99", "clips/s", "times as fast", "FLOPs", "peak memory", "energy"):
        assert name in titles
        assert name in TEXT


def test_numbers_and_links():
    assert f"{SPIN_COUNT:,}" in TEXT
    assert f"at least {MIN_AGREEMENT:g} %" in TEXT
    assert f"fewer than {MIN_CLIPS} videos" in TEXT
    assert f"{NOISE_CLIPS} clips of noise" in TEXT
    assert f"{STREAM_FRAMES} frames of every video" in TEXT
    assert set(re.findall(r"\b[A-Z]{4,}\.[A-Z_]+\b", TEXT)) <= set(all_keys())
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", TEXT) if "://" not in link]
    assert [link for link in links if not (REPO / "docs" / link).exists()] == []
    files = re.findall(r"\b(?:scripts|tools)/\w+\.py", TEXT)
    assert [file for file in files if not (REPO / file).exists()] == []
