"""What docs/demo.md says is so."""

import re
import runpy
from pathlib import Path

from slowfast.config import all_keys, parse_args

REPO = Path(__file__).parents[1]
TEXT = (REPO / "docs/demo.md").read_text("utf-8")
PARSER = runpy.run_path(str(REPO / "tools/demo.py"))["parser"]


def test_commands_parse():
    blocks = re.findall(r"```bash\n(.*?)```", TEXT, re.DOTALL)
    lines = [line.split() for block in blocks for line in block.splitlines() if "tools/" in line]
    assert len(lines) == 5
    for words in lines:
        assert words[:2] == ["python", "tools/demo.py"]
        args = parse_args(words[2:], PARSER())
        assert all((REPO / path).exists() for path in args.cfg)
        assert args.checkpoint is not None
        assert bool(args.input_video) != bool(args.camera)
    args = parse_args(lines[3][2:], PARSER())
    assert (args.precision, args.skip_frames) == ("f16", 3)
    assert args.opts == ["DATA.NUM_FRAMES", "16"]


def test_options_and_keys_are_complete():
    options = {name for action in PARSER()._actions for name in action.option_strings}
    shared = {"-h", "--help", "--traceback", "--opts", "--num_shards", "--shard_id",
              "--init_method"}  # fmt: skip
    named = set(re.findall(r"(--\w+)", TEXT)) - {"--eval"}
    assert named == options - shared
    assert set(re.findall(r"\b(?:DATA|DEMO|MODEL)\.[A-Z_]+\b", TEXT)) <= set(all_keys())
