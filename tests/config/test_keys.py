"""Every key is declared well; every value becomes exactly its type or an error."""

import pytest

from slowfast.config import ConfigError, all_keys, describe, get_cfg
from slowfast.config.__main__ import main
from slowfast.config.keys import Key, coerce
from slowfast.config.tree import get_value

KEYS = all_keys()


def test_the_tree_is_whole():
    assert len(KEYS) == 394  # raise with every key
    nodes = {name.partition(".")[0] for name in KEYS if "." in name}
    assert len(nodes) == 32


@pytest.mark.parametrize("name", KEYS)
def test_key_is_documented_and_takes_its_own_default(name):
    key = KEYS[name]
    assert len(key.doc) > 10
    assert key.doc.strip() == key.doc
    assert "  " not in key.doc
    assert coerce(key.default, key) == key.default
    assert type(coerce(key.default, key)) is type(key.default)
    assert not key.options or key.default in key.options
    assert get_value(get_cfg(), name) == key.default


# Defaults of PySlowFast, from its documentation of the tree.
@pytest.mark.parametrize(
    ("name", "default"),
    [
        ("MODEL.ARCH", "slowfast"),
        ("MODEL.NUM_CLASSES", 400),
        ("MODEL.DROPOUT_RATE", 0.5),
        ("RESNET.ZERO_INIT_FINAL_BN", False),
        ("RESNET.NUM_BLOCK_TEMP_KERNEL", [[3], [4], [6], [3]]),
        ("X3D.DIM_C1", 12),
        ("SLOWFAST.ALPHA", 8),
        ("SLOWFAST.FUSION_KERNEL_SZ", 5),
        ("BN.NUM_BATCHES_PRECISE", 200),
        ("DATA.TARGET_FPS", 30),
        ("DATA.INPUT_CHANNEL_NUM", [3, 3]),
        ("SOLVER.BETAS", (0.9, 0.999)),
        ("SOLVER.CLIP_GRAD_L2NORM", None),
        ("SOLVER.WARMUP_START_LR", 0.01),
        ("TRAIN.BATCH_SIZE", 64),
        ("TRAIN.CHECKPOINT_CLEAR_NAME_PATTERN", ()),
        ("TEST.NUM_ENSEMBLE_VIEWS", 10),
        ("MIXUP.ALPHA", 0.8),
        ("DISTILLATION.TEMPERATURE", 4.0),
        ("PRUNING.PRUNING_RATE", 0.05),
        ("NUM_GPUS", 1),
        ("RNG_SEED", 1),
    ],
)
def test_defaults(name, default):
    assert KEYS[name].default == default


def test_defaults_are_not_shared():
    get_cfg().DATA.MEAN.append(1.0)
    assert get_cfg().DATA.MEAN == [0.45] * 3


INT, FLOAT, BOOL, STR = Key(1, "x"), Key(1.0, "x"), Key(True, "x"), Key("a", "x")
NONE = Key(None, "x", types=(float,))
INTS, FLOATS, STRS = Key([1], "x"), Key([], "x", item=float), Key([], "x", item=str)
NESTED, PAIR, MANY = Key([[1], [2]], "x"), Key((0.9, 0.99), "x"), Key(4, "x", types=(list,))


@pytest.mark.parametrize(
    ("key", "raw", "value"),
    [
        (INT, 3, 3),
        (INT, "3", 3),
        (INT, "-1", -1),
        (INT, 32.0, 32),
        (INT, "1e2", 100),
        (INT, "12345678901234567891", 12345678901234567891),
        (FLOAT, 3, 3.0),
        (FLOAT, "1e-4", 1e-4),
        (FLOAT, "5e-5", 5e-5),
        (FLOAT, ".5", 0.5),
        (FLOAT, " 2. ", 2.0),
        (BOOL, False, False),
        (BOOL, "True", True),
        (BOOL, "false", False),
        (BOOL, "0", False),
        (BOOL, "1", True),
        (STR, "1", "1"),
        (STR, "", ""),
        (STR, None, ""),
        (NONE, None, None),
        (NONE, 40, 40.0),
        (NONE, "1.0", 1.0),
        (NONE, "None", None),
        (INTS, (1, 2), [1, 2]),
        (INTS, "[1, 2]", [1, 2]),
        (INTS, "(3, 7, 7)", [3, 7, 7]),
        (INTS, [], []),
        (INTS, "[]", []),
        (FLOATS, [0, 14, 18], [0.0, 14.0, 18.0]),
        (FLOATS, ["1e-3", 1], [0.001, 1.0]),
        (STRS, "[verb, noun]", ["verb", "noun"]),
        (STRS, '["a (b)", "c"]', ["a (b)", "c"]),
        (NESTED, "[[1], [2, 3]]", [[1], [2, 3]]),
        (PAIR, [0.5, 1], (0.5, 1.0)),
        (PAIR, "(0.5, 1)", (0.5, 1.0)),
        (MANY, [97, 300], [97, 300]),
        (MANY, "[97, 300]", [97, 300]),
        (MANY, "61", 61),
    ],
)
def test_coerce(key, raw, value):
    result = coerce(raw, key)
    assert result == value
    assert type(result) is type(value)
    if isinstance(value, list):
        assert [type(item) for item in result] == [type(item) for item in value]


@pytest.mark.parametrize(
    ("key", "raw", "message"),
    [
        (INT, 1.5, "expected an integer, got 1.5"),
        (INT, "x", "expected an integer, got 'x'"),
        (INT, True, "expected an integer, got True"),
        (INT, [1], "expected an integer"),
        (INT, None, "expected an integer, got None"),
        (FLOAT, False, "expected a number, got False"),
        (FLOAT, "nan", "finite"),
        (FLOAT, float("inf"), "finite"),
        (BOOL, 1, "expected True or False, got 1"),
        (BOOL, 0, "expected True or False, got 0"),
        (BOOL, "yes please", "expected True or False"),
        (STR, 5, "expected text, got 5"),
        (NONE, "x", "expected None or a number"),
        (INTS, 5, "expected a list of integers"),
        (INTS, [1, "x"], "expected a list of integers"),
        (INTS, "__import__('os')", "expected a list of integers"),
        (INTS, "[__import__('os')]", "expected a list of integers"),
        (STRS, [1], "expected a list of texts"),
        (MANY, "x", "expected an integer or a list of integers"),
        (Key("a", "x", options=("a", "b")), "c", "expected one of a, b, got 'c'"),
        (Key(1, "x", low=1), 0, "at least 1"),
        (Key(0.5, "x", high=1), 2, "at most 1"),
        (Key([1], "x", low=1), [1, 0], "at least 1"),
        (Key([1], "x"), [[1], [2]], "expected a list of integers, got lists in a list"),
    ],
)
def test_coerce_refuses(key, raw, message):
    with pytest.raises(ConfigError, match=message):
        coerce(raw, key)


def test_describe():
    assert "DATA.NUM_FRAMES = 8  (an integer, at least 1)" in describe("DATA.NUM_FRAMES")
    assert describe("TENSORBOARD").count("CONFUSION_MATRIX.") == 3
    with pytest.raises(ConfigError, match=r"DATA.NUM_FRAME\. Did you mean DATA.NUM_FRAMES\?"):
        describe("DATA.NUM_FRAME")


def test_help_command(capsys):
    assert main([]) == 0
    assert capsys.readouterr().out.count(" = ") >= len(KEYS)
    assert main(["SLOWFAST.ALHPA"]) == 1
    assert "Did you mean SLOWFAST.ALPHA?" in capsys.readouterr().err
