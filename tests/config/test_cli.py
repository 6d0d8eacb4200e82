"""Config files, options and KEY VALUE pairs in any order."""

import argparse
import functools
import subprocess
import sys

import pytest

from slowfast.config import (
    ConfigError,
    KeyOption,
    add_cfg_arguments,
    get_cfg,
    load_cfg_from_args,
    parse_args,
)


def tool_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser()
    add_cfg_arguments(parser)
    parser.add_argument("--eval", action="store_true")
    parser.add_argument("--method", default="l1")
    parser.add_argument("--formats", nargs="+", default=[])
    parser.add_argument("--size", nargs=2, type=int)
    parser.add_argument("--table", nargs="?", const="yes")
    return parser


@pytest.mark.parametrize(
    ("line", "files", "opts"),
    [
        ("--cfg a.yaml", "a.yaml", ""),
        ("--cfg a.yaml b.yml", "a.yaml b.yml", ""),
        ("--cfg a.yaml NUM_GPUS 1 TRAIN.BATCH_SIZE 8", "a.yaml", "NUM_GPUS 1 TRAIN.BATCH_SIZE 8"),
        ("--cfg a.yaml --opts NUM_GPUS 1", "a.yaml", "NUM_GPUS 1"),
        ("NUM_GPUS 1 --cfg a.yaml", "a.yaml", "NUM_GPUS 1"),
        ("--cfg a.yaml NUM_GPUS 1 --opts RNG_SEED 2", "a.yaml", "NUM_GPUS 1 RNG_SEED 2"),
        ("--opts RNG_SEED 2 --cfg a.yaml NUM_GPUS 1", "a.yaml", "RNG_SEED 2 NUM_GPUS 1"),
        ("--cfg a.yaml --eval NUM_GPUS 1", "a.yaml", "NUM_GPUS 1"),
        ("--cfg a.yaml X 1 --eval X 2 --opts X 3", "a.yaml", "X 1 X 2 X 3"),
        ("--cfg a.yaml --cfg b.yaml", "a.yaml b.yaml", ""),
        ("--cfg=a.yaml NUM_GPUS 1", "a.yaml", "NUM_GPUS 1"),
        ("--cfg a.yaml NUM_GPUS=1 RNG_SEED 2", "a.yaml", "NUM_GPUS 1 RNG_SEED 2"),
        ("--cfg noextension NUM_GPUS 1", "noextension", "NUM_GPUS 1"),
        (
            "--cfg a.yaml DISTILLATION.TEACHER_CFG_FILE t.yaml b.yaml",
            "a.yaml b.yaml",
            "DISTILLATION.TEACHER_CFG_FILE t.yaml",
        ),
        ("--cfg a.yaml DEMO.WEBCAM -1 X -1e-3", "a.yaml", "DEMO.WEBCAM -1 X -1e-3"),
        ("--cfg a.yaml typo 1", "a.yaml", "typo 1"),
        ("", "", ""),
    ],
)
def test_where_words_go(line, files, opts):
    for argv in (line, line + " --method L2 --size 3 4"):
        args = parse_args(argv.split(), tool_parser())
        assert (args.cfg, args.opts) == (files.split(), opts.split())
    assert (args.method, args.size) == ("L2", [3, 4])


def test_options_keep_their_values():
    line = "--formats onnx openvino NUM_GPUS 1 --table RNG_SEED 2 --meth l3 --table x"
    args = parse_args(line.split(), tool_parser())
    assert (args.formats, args.table, args.method) == (["onnx", "openvino"], "x", "l3")
    assert args.opts == ["NUM_GPUS", "1", "RNG_SEED", "2"]


def test_empty_and_spaced_values():
    argv = ["--cfg", "a.yaml", "DATA.PATH_LABEL_SEPARATOR", " ", "TASK", "", "OUTPUT_DIR", "a b"]
    assert parse_args(argv, tool_parser()).opts == argv[2:]


def test_positionals_of_a_tool():
    parser = tool_parser()
    parser.add_argument("folder")
    args = parse_args(["videos", "NUM_GPUS", "1"], parser)
    assert (args.folder, args.opts) == ("videos", ["NUM_GPUS", "1"])


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--cfg a.yaml NUM_GPUS", "override NUM_GPUS has no value: overrides come as KEY VALUE"),
        ("--cfg a.yaml NUM_GPUS --eval", "override NUM_GPUS has no value"),
        ("--cfg", "--cfg needs a YAML file"),
        ("--cfg --eval", "--cfg needs a YAML file"),
        ("--cfg NUM_GPUS 1", "--cfg needs a YAML file before the overrides, got NUM_GPUS"),
        ("--cfg a.yaml --evil", "unrecognized arguments: --evil"),
        ("--method", "expected one argument"),
    ],
)
def test_errors(line, message, capsys):
    with pytest.raises(SystemExit):
        parse_args(line.split(), tool_parser())
    assert message in capsys.readouterr().err


def test_load_from_args(write):
    path = write("a.yaml", "NUM_SHARDS: 2\nRNG_SEED: 4")
    args = parse_args(["--cfg", str(path), "--shard_id", "3", "--num_shards", "4"])
    cfg = load_cfg_from_args(args)
    assert (cfg.NUM_SHARDS, cfg.SHARD_ID, cfg.RNG_SEED) == (4, 3, 4)
    assert args.init_method == "tcp://localhost:9999"
    assert load_cfg_from_args(parse_args(["--cfg", str(path)])).NUM_SHARDS == 2


def test_import_is_light():
    code = (
        "import sys, slowfast.config\n"
        "heavy = {'torch', 'numpy', 'torchvision', 'av'} & set(sys.modules)\n"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def key_options(line):
    parser = argparse.ArgumentParser()
    key = functools.partial(parser.add_argument, action=KeyOption)
    key("--alpha", key="DISTILLATION.ALPHA")
    key("--loss", nargs="+", key="DISTILLATION.LOSSES")
    key("--quiet", nargs=0, help="no bar", pairs=lambda _: {"PROGRESS": "none"})
    add_cfg_arguments(parser)
    assert "alpha: weight of the label loss" in parser.format_help()
    return load_cfg_from_args(parse_args(line.split(), parser))


def test_options_that_set_keys():
    cfg = key_options("--loss dist kd=0.5 --quiet DISTILLATION.ALPHA 0.9 --alpha 0.25")
    assert cfg.DISTILLATION.LOSSES == ["dist", "kd=0.5"]
    assert cfg.DISTILLATION.ALPHA == 0.25  # options win
    assert cfg.PROGRESS == "none"
    assert key_options("").DISTILLATION.ALPHA == get_cfg().DISTILLATION.ALPHA
    with pytest.raises(ConfigError, match=r"DISTILLATION\.ALPHA"):
        key_options("--alpha much")
