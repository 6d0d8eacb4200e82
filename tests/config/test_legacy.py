"""Keys of PySlowFast that are not built here."""

import logging

import pytest

from slowfast.config import ConfigError, all_keys, load_cfg
from slowfast.config.legacy import DEFAULTS, IGNORED, NOT_BUILT, OPEN_NODES, RENAMED


@pytest.mark.parametrize("name", DEFAULTS)
def test_default_is_accepted(name, caplog):
    with caplog.at_level(logging.WARNING):
        assert load_cfg((), [name, DEFAULTS[name]]) == load_cfg()
        assert load_cfg((), [name, str(DEFAULTS[name])]) == load_cfg()
    assert not caplog.records


def test_tables_are_disjoint_and_named():
    assert len(DEFAULTS) == 36
    assert not {*DEFAULTS, *RENAMED, *IGNORED} & {*all_keys()}
    assert {name.partition(".")[0] for name in (*DEFAULTS, *OPEN_NODES)} == {*NOT_BUILT}
    assert {*RENAMED.values()} <= {*all_keys()}


@pytest.mark.parametrize(
    ("name", "value", "feature"),
    [
        ("DETECTION.ENABLE", "True", "detection"),
        ("MULTIGRID.SHORT_CYCLE", "True", "multigrid training"),
        ("MASK.ENABLE", True, "masked pretraining"),
        ("MVIT.PATCH_2D", "True", "MViT"),
        ("BN.NUM_SPLITS", 4, "split batch norm"),
        ("SOLVER.LAYER_DECAY", 0.75, "LARS and layer-wise decay"),
        ("DATA.SSL_COLOR_JITTER", "True", "self-supervised"),
    ],
)
def test_other_values_are_refused(name, value, feature):
    with pytest.raises(ConfigError, match=f"{name} = .*command line: .*{feature}.* is not built"):
        load_cfg((), [name, value])


def test_parameters_of_absent_features_are_ignored(write):
    text = "AVA: {BGR: True, NEW: 1}\nMVIT:\nMULTIGRID: {BN_BASE_SIZE: 2}\nCONTRASTIVE: {T: 0.1}\n"
    assert load_cfg(write("x.yaml", text + "DEMO: {STARTING_SECOND: 3}")) == load_cfg()


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("BN.MOMENTUM", "0.1", "BN.MOMENTUM = 0.1 in the command line is ignored: batch norm has"),
        ("BN.EPSILON", "1e-5", "epsilon 1e-5"),
        ("FINE_TUNING.ENABLE", "True", "set TRAIN.CHECKPOINT_FILE_PATH"),
    ],
)
def test_ignored_with_a_warning(name, value, message, caplog):
    assert load_cfg((), [name, value]) == load_cfg()
    assert message in caplog.text


def test_renamed_with_a_warning(caplog):
    cfg = load_cfg((), ["BN.FREEZE", "True", "TRAIN.FINETUNE", "True"])
    assert cfg.MODEL.FROZEN_BN is True
    assert cfg.TRAIN.CHECKPOINT_EPOCH_RESET is True
    assert "BN.FREEZE in the command line: now called MODEL.FROZEN_BN" in caplog.text
    with pytest.raises(ConfigError, match=r"MODEL\.FROZEN_BN in the command line: expected True"):
        load_cfg((), ["BN.FREEZE", "x"])


@pytest.mark.parametrize(
    ("given", "name", "arch"),
    [
        ("MODEL.MODEL_NAME SlowFastExtractFeatures MODEL.ARCH slowfast", "SlowFast", "slowfast"),
        ("MODEL.MODEL_NAME ResNet_nopool MODEL.ARCH c2d", "ResNet", "c2d_nopool"),
        ("MODEL.MODEL_NAME ResNet_nopool MODEL.ARCH c2d_nopool", "ResNet", "c2d_nopool"),
        ("MODEL.ARCH c2d_nopool", "ResNet", "c2d_nopool"),
    ],
)
def test_model_names_of_shipped_files(given, name, arch):
    cfg = load_cfg((), given.split())
    assert (name, arch) == (cfg.MODEL.MODEL_NAME, cfg.MODEL.ARCH)
