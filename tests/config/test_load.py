"""Defaults + files + overrides, in that order; what is wrong is named with its place."""

import logging

import pytest
import yaml

from slowfast.config import (
    ConfigError,
    all_keys,
    cfg_from_yaml,
    diff_cfg,
    get_cfg,
    load_cfg,
    read_foreign_cfg,
)
from tests.config.pyslowfast_yamls import FILES

SPEC_EXAMPLE = """
MODEL: {NUM_CLASSES: 61, ARCH: slowfast, MODEL_NAME: SlowFast, LOSS_FUNC: cross_entropy}
SLOWFAST: {ALPHA: 8, BETA_INV: 8, FUSION_CONV_CHANNEL_RATIO: 2, FUSION_KERNEL_SZ: 7}
DATA: {NUM_FRAMES: 32, SAMPLING_RATE: 2, TRAIN_JITTER_SCALES: [256, 320]}
SOLVER: {BASE_LR: 0.01, WEIGHT_DECAY: 1e-4, MAX_EPOCH: 196, WARMUP_EPOCHS: 34.0}
"""


def test_defaults_load_and_are_frozen():
    cfg = load_cfg()
    assert cfg == get_cfg()
    with pytest.raises(AttributeError, match="immutable"):
        cfg.SOLVER.BASE_LR = 1.0
    with pytest.raises(AttributeError):
        cfg.NEW = 1


def test_the_shipped_files_are_all_there():
    assert len(FILES) == 18


@pytest.mark.parametrize("name", FILES)
def test_pyslowfast_files_load_unchanged(name, write):
    cfg = load_cfg(write("x.yaml", FILES[name]))
    raw = yaml.safe_load(FILES[name])
    assert raw["DATA"]["NUM_FRAMES"] == cfg.DATA.NUM_FRAMES
    assert pytest.approx(float(raw["SOLVER"]["WEIGHT_DECAY"])) == cfg.SOLVER.WEIGHT_DECAY
    assert type(cfg.SOLVER.WEIGHT_DECAY) is float
    family = {"slowfast": "SlowFast", "x3d": "X3D", "mobilenet": "MobileNet"}
    assert family.get(cfg.MODEL.ARCH, "ResNet") == cfg.MODEL.MODEL_NAME
    assert cfg_from_yaml(cfg.dump()) == cfg


def test_spec_example(write):
    cfg = load_cfg(write("a.yaml", SPEC_EXAMPLE), ["NUM_GPUS", "1", "TRAIN.BATCH_SIZE", "8"])
    assert (cfg.SLOWFAST.ALPHA, cfg.SOLVER.WEIGHT_DECAY, cfg.TRAIN.BATCH_SIZE) == (8, 1e-4, 8)


def test_later_files_and_overrides_win(write):
    one = write("one.yaml", "DATA: {NUM_FRAMES: 16, SAMPLING_RATE: 4}\nRNG_SEED: 3")
    two = write("two.yaml", "DATA.NUM_FRAMES: 32\nSOLVER:\n")
    cfg = load_cfg([one, str(two)], ["RNG_SEED", "5", "RNG_SEED", "7"])
    assert (cfg.DATA.NUM_FRAMES, cfg.DATA.SAMPLING_RATE, cfg.RNG_SEED) == (32, 4, 7)


def test_base_chain(write):
    write("base/one.yaml", "RNG_SEED: 1\nLOG_PERIOD: 1\nSHARD_ID: 0\nTASK: one")
    write("base/two.yaml", "RNG_SEED: 2\nLOG_PERIOD: 2")
    write("mid.yaml", "_BASE_: [base/one.yaml, base/two.yaml]\nRNG_SEED: 3")
    cfg = load_cfg(write("sub/top.yaml", "_BASE_: ../mid.yaml\nNUM_GPUS: 2"))
    assert (cfg.RNG_SEED, cfg.LOG_PERIOD, cfg.TASK, cfg.NUM_GPUS) == (3, 2, "one", 2)


def test_base_may_be_shared_but_not_circular(write):
    write("root.yaml", "RNG_SEED: 9")
    write("a.yaml", "_BASE_: root.yaml")
    write("b.yaml", "_BASE_: root.yaml")
    assert load_cfg(write("c.yaml", "_BASE_: [a.yaml, b.yaml]")).RNG_SEED == 9
    write("x.yaml", "_BASE_: y.yaml")
    with pytest.raises(ConfigError, match=r"circle: .*y.yaml -> .*x.yaml -> .*y.yaml"):
        load_cfg(write("y.yaml", "_BASE_: x.yaml"))
    with pytest.raises(ConfigError, match=r"no config file .*none.yaml \(_BASE_ of .*z.yaml\)"):
        load_cfg(write("z.yaml", "_BASE_: none.yaml"))
    with pytest.raises(ConfigError, match="_BASE_ must be a path or a list of paths, got 5"):
        load_cfg(write("w.yaml", "_BASE_: 5"))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("SLOWFAST.ALHPA", r"unknown config key SLOWFAST.ALHPA in the command line\. Did you mean "
         r"SLOWFAST.ALPHA\?"),
        ("MODEL.NUM_FRAMES", r"Did you mean DATA.NUM_FRAMES\?"),
        ("TRAIN.BASE_LR", r"Did you mean SOLVER.BASE_LR\?"),
        ("train.batch_size", r"Did you mean TRAIN.BATCH_SIZE\?"),
        ("num_gpus", r"Did you mean NUM_GPUS\?"),
        ("BATCH_SIZE", r"Did you mean (TRAIN|TEST).BATCH_SIZE\?"),
        ("MODELS.NUM_CLASSES", r"Did you mean MODEL.NUM_CLASSES\?"),
        ("QQQ", r"unknown config key QQQ in the command line\.$"),
        ("MODEL", "MODEL in the command line is a node"),
        ("DATA.NUM_FRAMES.X", "unknown config key DATA.NUM_FRAMES.X"),
    ],
)  # fmt: skip
def test_unknown_key_names_the_closest(name, message):
    with pytest.raises(ConfigError, match=message):
        load_cfg((), [name, "1"])


def test_wrong_keys_and_values_are_placed(write):
    path = write("a.yaml", "# c\nDATA:\n  NUM_FRAMES: 8\n  NUM_FRAME: 3\n")
    with pytest.raises(ConfigError, match=r"DATA.NUM_FRAME in .*a.yaml:4\. Did you mean DATA.NUM_"):
        load_cfg(path)
    path = write("b.yaml", "MODEL:\n  NUM_CLASSES: many\n")
    with pytest.raises(
        ConfigError, match=r"MODEL.NUM_CLASSES in .*b.yaml:2: expected an integer or a list"
    ):
        load_cfg(path)
    with pytest.raises(ConfigError, match=r"MODEL in .*c.yaml:1 is a node with keys below it"):
        load_cfg(write("c.yaml", "MODEL: SlowFast"))
    with pytest.raises(ConfigError, match=r"unknown config key MODEL.NUM_CLASSES.verb in .*d.yaml"):
        load_cfg(write("d.yaml", "MODEL: {NUM_CLASSES: {verb: 97}}"))
    with pytest.raises(ConfigError, match=r"KEY VALUE pairs, got 3 words; the last is 'RNG_SEED'"):
        load_cfg((), ["NUM_GPUS", "1", "RNG_SEED"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("A: 1\n<<<<<<< HEAD\nB: 2\n=======\n", r"x.yaml:2: git conflict marker <<<<<<<"),
        ("A: [1, 2\nB: 3\n", r"x.yaml:2: not valid YAML"),
        ("A:\n\tB: 3\n", r"x.yaml:2: not valid YAML.*spaces, not tabs"),
        ("A: !!python/object/apply:os.getcwd []", r"x.yaml:1: not valid YAML.*could not determine"),
        ("- 1\n- 2", "expected config nodes such as MODEL:, got list"),
        ("hello", "expected config nodes such as MODEL:, got str 'hello'"),
        ("A: 1\n---\nB: 2", r"x.yaml:2: not valid YAML"),
        ("A: 1\x00", r"x.yaml: not valid YAML"),
    ],
)
def test_broken_yaml_is_placed(text, message, write):
    with pytest.raises(ConfigError, match=message):
        load_cfg(write("x.yaml", text))


def test_missing_file_names_similar_ones(write, tmp_path):
    write("MECCANO/SLOWFAST_8x8_R50.yaml", "")
    write("MECCANO/X3D_M.yaml", "")
    with pytest.raises(ConfigError, match=r"In that folder: SLOWFAST_8x8_R50.yaml\."):
        load_cfg(tmp_path / "MECCANO" / "slowfast_8x8_r50.yaml")
    with pytest.raises(ConfigError, match=r"no folder .*meccano\. In .*: MECCANO\."):
        load_cfg(tmp_path / "meccano" / "X3D_M.yaml")
    with pytest.raises(ConfigError, match=r"is a folder\. In .*: SLOWFAST_8x8_R50.yaml, X3D_M"):
        load_cfg(tmp_path / "MECCANO")


@pytest.mark.parametrize("text", ["", "# nothing\n", "TRAIN:\n", "---\n", "\ufeffRNG_SEED: 1\n"])
def test_empty_and_bom_are_fine(text, write):
    assert load_cfg(write("x.yaml", text)) == load_cfg()


def test_a_key_given_twice_warns(write, caplog):
    path = write("x.yaml", "TEST: {BATCH_SIZE: 4}\nRNG_SEED: 1\nRNG_SEED: 1\nTEST:\n  TOPK: [1]\n")
    cfg = load_cfg(path)
    assert cfg.TEST.BATCH_SIZE == 8
    assert [r.getMessage() for r in caplog.records] == [
        f"{path}:4: TEST is set twice (first in line 1); the last one counts"
    ]


def test_architecture_and_model_name_follow_each_other():
    assert load_cfg((), ["MODEL.ARCH", "i3d"]).MODEL.MODEL_NAME == "ResNet"
    assert load_cfg((), ["MODEL.MODEL_NAME", "X3D"]).MODEL.ARCH == "x3d"
    assert load_cfg((), ["MODEL.HEAD_ACT", "same"]).MODEL.HEAD_ACT == "none"


def test_dump_round_trip():
    cfg = load_cfg((), ["SOLVER.BETAS", "(0.5, 0.9)", "SOLVER.CLIP_GRAD_VAL", "2",
                        "MODEL.TASKS", "[verb, noun]", "MODEL.NUM_CLASSES", "[97, 300]",
                        "DATA.PATH_LABEL_SEPARATOR", "\t", "TASK", "1e-3"])  # fmt: skip
    again = cfg_from_yaml(cfg.dump())
    assert again == cfg
    assert diff_cfg(cfg, again, list(all_keys())) == {}
    assert type(again.SOLVER.BETAS) is tuple
    assert again.is_frozen()


def test_foreign_checkpoint_config(caplog):
    text = """
        MODEL: {ARCH: x3d, MODEL_NAME: X3D, SURPRISE: 3, LOSS_FUNC: contrastive_loss}
        SOLVER: {BETAS: !!python/tuple [0.9, 0.99], LARS_ON: True}
        AVA: {FRAME_DIR: /mnt}
        DATA: {NUM_FRAMES: 16}
    """
    cfg, ignored = read_foreign_cfg(text)
    assert ignored == ["MODEL.SURPRISE", "MODEL.LOSS_FUNC", "SOLVER.LARS_ON"]
    assert (cfg.MODEL.MODEL_NAME, cfg.SOLVER.BETAS, cfg.DATA.NUM_FRAMES) == ("X3D", (0.9, 0.99), 16)
    with caplog.at_level(logging.INFO):
        assert cfg_from_yaml(text) == cfg
    assert "ignored MODEL.SURPRISE, MODEL.LOSS_FUNC, SOLVER.LARS_ON" in caplog.text


def test_diff_shows_what_shapes_cannot():
    a, b = (load_cfg((), ["DATA.NUM_FRAMES", "32", "SLOWFAST.ALPHA", v]) for v in "48")
    assert diff_cfg(a, b) == {"SLOWFAST.ALPHA": (4, 8)}
    assert diff_cfg(a, a) == {}
    assert diff_cfg(a, b, ["DATA", "RNG_SEED"]) == {}
    assert diff_cfg(a, b, ["SLOWFAST.ALPHA"]) == {"SLOWFAST.ALPHA": (4, 8)}


def test_diff_leaves_out_what_the_network_does_not_read():
    spelled = [
        "SLOWFAST.ALPHA", "4", "DATA.INPUT_CHANNEL_NUM", "[3]", "SOLVER.BASE_LR", "1",
        "NONLOCAL.INSTANTIATION", "softmax", "MODEL.NUM_CLASSES", "61",
    ]  # fmt: skip
    i3d = ["MODEL.ARCH", "i3d"]
    assert diff_cfg(load_cfg((), i3d), load_cfg((), [*i3d, *spelled])) == {}
    two = ["RESNET.SPATIAL_STRIDES", "[[1, 1], [2, 2], [2, 2], [2, 2]]"]
    assert diff_cfg(load_cfg(), load_cfg((), two)) == {}
    nonlocal_ = ["NONLOCAL.LOCATION", "[[[]], [[1, 3]], [[]], [[]]]"]
    assert "NONLOCAL.LOCATION" in diff_cfg(load_cfg((), i3d), load_cfg((), [*i3d, *nonlocal_]))
