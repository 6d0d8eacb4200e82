"""What docs/visualize.md says is so."""

import re
import runpy
from pathlib import Path

import pytest

from slowfast.checkpoint.io import write_checkpoint
from slowfast.config import all_keys, load_cfg, parse_args
from slowfast.models import MODELS
from slowfast.models.build import build_model
from tests.reports.test_gradcam import DEFAULT

REPO = Path(__file__).parents[1]
TEXT = (REPO / "docs/visualize.md").read_text("utf-8")
PARSER = runpy.run_path(str(REPO / "tools/visualize.py"))["parser"]
COMMANDS = [
    line.split()
    for block in re.findall(r"```bash\n(.*?)```", TEXT, re.DOTALL)
    for line in block.replace("\\\n", " ").splitlines()
]


def test_commands_parse():
    assert [words[1] for words in COMMANDS] == ["tools/visualize.py"] * 4 + ["tools/run_net.py"]
    for words in COMMANDS[:4]:
        args = parse_args(words[2:], PARSER())
        assert all((REPO / path).exists() for path in args.cfg)
        assert args.model_path is not None
    assert args.target_layer == ["s3", "s4"]
    cfg = load_cfg(REPO / COMMANDS[4][3], COMMANDS[4][4:])
    assert cfg.TENSORBOARD.MODEL_VIS.ENABLE


def test_options_and_keys_are_complete():
    options = {name for action in PARSER()._actions for name in action.option_strings}
    shared = {"-h", "--help", "--traceback", "--opts", "--num_shards", "--shard_id",
              "--init_method"}  # fmt: skip
    named = set(re.findall(r"(--\w+)", TEXT)) - {"--eval", "--logdir"}
    assert named == options - shared
    keys = set(all_keys())
    said = set(re.findall(r"\b(?:DATA|DEMO|TEST|TENSORBOARD)\.[A-Z_]+(?:\.[A-Z_]+)*\b", TEXT))
    assert said <= keys
    for key in keys:
        if key.startswith("TENSORBOARD."):
            assert key.rpartition(".")[2] in TEXT, key


def test_default_layers():
    rows = re.findall(r"^\| ([^|]+) \| `([\w.]+)` \| ", TEXT, re.MULTILINE)
    rows = [(names.split(", "), layer) for names, layer in rows if not names.startswith("`")]
    said = {name: layer for names, layer in rows for name in names if name in set(MODELS)}
    assert said == {name: DEFAULT[name] for name in set(MODELS) - {"PTVMViT"}}


@pytest.mark.filterwarnings("error")
def test_the_program_runs(tmp_path, monkeypatch):
    (code,) = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    cfg = load_cfg(REPO / "configs/Synthetic/X3D_T.yaml")
    write_checkpoint(
        Path("best.pyth"), epoch=0, model=build_model(cfg), optimizer=None, cfg_yaml=cfg.dump()
    )
    names = {}
    exec(code, names)
    assert names["heat"].shape == (1, 8, 64, 64)
