"""Defaults, YAML files and ``KEY VALUE`` overrides -> one checked, frozen config."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from yacs.config import CfgNode

from slowfast.config import legacy
from slowfast.config.check import check_cfg, num_pathways
from slowfast.config.files import Setting, read_file, read_text
from slowfast.config.keys import ConfigError, called, coerce, shown
from slowfast.config.tree import all_keys, all_nodes, closest, get_cfg, get_value, set_value

logger = logging.getLogger(__name__)

COMMAND_LINE = "the command line"
FAMILIES = {
    "slowfast": "SlowFast",
    "c2d": "ResNet",
    "i3d": "ResNet",
    "slow": "ResNet",
    "2d": "ResNet",
    "c2d_nopool": "ResNet",
    "i3d_nopool": "ResNet",
    "x3d": "X3D",
    "mobilenet": "MobileNet",
    "tiny": "TinyNet",
    "resnet_lstm": "ResNetLSTM",
    "imfe": "IMFE",
    "s3d_mobilenetv3": "MobileNetV3",
    "x3d_mobilenetv3_lgd_gc": "MobileNetV3",
    "csn": "PTVCSN",
    "r2plus1d": "PTVR2plus1D",
    "mvit": "PTVMViT",
}
"""MODEL.ARCH -> MODEL.MODEL_NAME, for PySlowFast files from before MODEL_NAME was a key."""
OWN_NODES = {
    "MOBILENET": "MobileNet",
    "TINY": "TinyNet",
    "LSTM": "ResNetLSTM",
    "IMFE": "IMFE",
    "COSINE": "MobileNetV3",
    "MVIT": "PTVMViT",
}
"""Nodes that one family alone reads -> its MODEL.MODEL_NAME."""
SAME_NETWORK = {"PTVSlowFast": "SlowFast", "PTVX3D": "X3D", "PTVResNet": "ResNet"}
"""PyTorchVideo's code of a network -> ours; weights of one load into the other."""
PER_PATHWAY = ("RESNET.NUM_BLOCK_TEMP_KERNEL", "RESNET.SPATIAL_STRIDES", "RESNET.SPATIAL_DILATIONS")
"""Keys with a list per stage of one entry per pathway."""


def load_cfg(
    paths: Sequence[Path | str] | Path | str | None = (), opts: Sequence[str] = ()
) -> CfgNode:
    """The config of a run. It is frozen: derive values, never write them back.

    Args:
        paths: YAML files that hold what differs from the defaults; later files win. A file may
            name others in ``_BASE_``, which it then overrides.
        opts: flat ``["SOLVER.BASE_LR", "0.1", ...]``; they win over the files.

    Raises:
        ConfigError: file missing or not YAML, unknown key, unfit value, keys that contradict one
            another, or a feature of PySlowFast that is not built here.
    """
    settings: list[Setting] = []
    for path in [paths] if isinstance(paths, (str, Path)) else paths or ():
        settings += read_file(path, is_node)
    settings += override_settings(opts)
    cfg = get_cfg()
    given = apply_settings(cfg, settings)
    _normalise(cfg, given)
    check_cfg(cfg)
    cfg.freeze()
    return cfg


def change_cfg(cfg: CfgNode, opts: Sequence[str]) -> CfgNode:
    """A frozen copy of ``cfg`` with other values, e.g. of the data a checkpoint is tested on.

    Args:
        cfg: not changed.
        opts: as in :func:`load_cfg`.

    Raises:
        ConfigError: see there.
    """
    changed = cfg.clone()
    changed.defrost()
    _normalise(changed, apply_settings(changed, override_settings(opts)))
    check_cfg(changed)
    changed.freeze()
    return changed


def cfg_from_yaml(text: str) -> CfgNode:
    """The frozen config kept in a checkpoint, also one that PySlowFast or a fork wrote.

    What our tree does not know is left out with one log line: the file has been trained already,
    its features need not be built here. See :func:`read_foreign_cfg` for the list.
    """
    cfg, ignored = read_foreign_cfg(text)
    if ignored:
        logger.info("config in the checkpoint: ignored %s", ", ".join(ignored))
    return cfg


def read_foreign_cfg(text: str) -> tuple[CfgNode, list[str]]:
    """The frozen config of a YAML text, and the names of the keys it could not hold.

    Raises:
        ConfigError: the text is not YAML.
    """
    cfg, given, ignored = get_cfg(), set[str](), []
    for setting in read_text(text, "config in the checkpoint", is_node):
        try:
            given |= apply_settings(cfg, [setting])
        except ConfigError:
            ignored.append(setting.name)
    _normalise(cfg, given)
    cfg.freeze()
    return cfg, ignored


def is_node(name: str) -> bool:
    """Whether a dotted name is a node of the tree."""
    return name in all_nodes()


def override_settings(opts: Sequence[str]) -> list[Setting]:
    """``["KEY", "VALUE", ...]`` as settings.

    Raises:
        ConfigError: the last key has no value.
    """
    if len(opts) % 2:
        raise ConfigError(
            f"overrides are KEY VALUE pairs, got {len(opts)} words; the last is "
            f"{shown(opts[-1])}: {shown(' '.join(map(str, opts)))}"
        )
    pairs = zip(opts[::2], opts[1::2], strict=True)
    return [Setting(str(name), value, COMMAND_LINE) for name, value in pairs]


def apply_settings(cfg: CfgNode, settings: Iterable[Setting]) -> set[str]:
    """Set the keys in order; returns their names.

    Raises:
        ConfigError: names the key and the file and line, or the command line.
    """
    given = set()
    for setting in settings:
        name, value = setting.name, setting.value
        if name not in all_keys() and legacy.is_legacy(name):
            translated = legacy.translate(name, value, setting.where)
            if translated is None:
                continue
            name, value = translated
        set_value(cfg, name, _value(name, value, setting.where))
        given.add(name)
    return given


def _value(name: str, value: Any, where: str) -> Any:
    key = all_keys().get(name)
    if key is None:
        if name in all_nodes():
            raise ConfigError(f"{name} in {where} is a node; name one of its keys, as {name}.KEY")
        raise ConfigError(f"unknown config key {called(name)} in {where}.{closest(name)}")
    try:
        return coerce(value, key)
    except ConfigError as error:
        raise ConfigError(f"{name} in {where}: {error}. Meaning: {key.doc}") from None


def _normalise(cfg: CfgNode, given: set[str]) -> None:
    """Give synonyms their one value and fill in what follows from another key."""
    if cfg.MODEL.HEAD_ACT == "same":
        cfg.MODEL.HEAD_ACT = "none"
    if cfg.MODEL.MODEL_NAME in legacy.MODEL_NAMES:
        old = cfg.MODEL.MODEL_NAME
        cfg.MODEL.MODEL_NAME, suffix = legacy.MODEL_NAMES[old]
        if not cfg.MODEL.ARCH.endswith(suffix):
            cfg.MODEL.ARCH += suffix
        logger.warning(
            "MODEL.MODEL_NAME %s is read as %s, MODEL.ARCH %s",
            old, cfg.MODEL.MODEL_NAME, cfg.MODEL.ARCH,
        )  # fmt: skip
    if "MODEL.ARCH" in given and "MODEL.MODEL_NAME" not in given:
        _follow(cfg.MODEL, "MODEL_NAME", FAMILIES.get(cfg.MODEL.ARCH))
    elif "MODEL.MODEL_NAME" in given and "MODEL.ARCH" not in given:
        archs = [arch for arch, family in FAMILIES.items() if family == cfg.MODEL.MODEL_NAME]
        _follow(cfg.MODEL, "ARCH", archs[0] if len(archs) == 1 else None)


def _follow(node: CfgNode, leaf: str, value: str | None) -> None:
    if value is not None and node[leaf] != value:
        logger.info("MODEL.%s is not set: %s, which goes with the rest of MODEL", leaf, value)
        node[leaf] = value


def diff_cfg(
    a: CfgNode, b: CfgNode, sections: Sequence[str] | None = None
) -> dict[str, tuple[Any, Any]]:
    """Keys whose values differ: ``{"SLOWFAST.ALPHA": (4, 8)}``.

    Args:
        a: one config.
        b: the other.
        sections: nodes or keys to compare. Default: the keys that define the network, less those
            that the network of neither config reads. Weights of one value do not mean the same
            under another, even where all their shapes fit.
    """
    if sections is None:
        names = [n for n, key in all_keys().items() if key.structural and _is_read(n, a, b)]
    else:
        names = [n for n in all_keys() if any(f"{n}.".startswith(f"{s}.") for s in sections)]
    pairs = {name: (get_value(a, name), get_value(b, name)) for name in names}
    return {
        name: (left, right)
        for name, (left, right) in pairs.items()
        if _comparable(name, left, a) != _comparable(name, right, b)
    }


def _comparable(name: str, value: Any, cfg: CfgNode) -> Any:
    """``value`` in the form that makes two spellings of one network equal."""
    count = num_pathways(cfg)
    if name == "MODEL.MODEL_NAME":
        return SAME_NETWORK.get(value, value)
    if name == "DATA.INPUT_CHANNEL_NUM":
        return value[:count]
    if name in PER_PATHWAY:  # one entry for a stage means the same for every pathway
        return [[*stage, *stage[-1:] * (count - len(stage))] for stage in _plain(value)]
    return _plain(value)


def _is_read(name: str, a: CfgNode, b: CfgNode) -> bool:
    """Whether the network of ``a`` or ``b`` depends on the key."""
    node, _, leaf = name.partition(".")
    if node == "SLOWFAST":
        return any(num_pathways(cfg) == 2 for cfg in (a, b))
    if node == "X3D":
        return any(cfg.MODEL.ARCH == "x3d" for cfg in (a, b))
    if node in OWN_NODES:
        return any(OWN_NODES[node] == cfg.MODEL.MODEL_NAME for cfg in (a, b))
    if node == "NONLOCAL":
        used = [_plain(cfg.NONLOCAL.LOCATION) for cfg in (a, b)]
        return any(_has_number(location) for location in used)
    if leaf.startswith("STREAMING.") and leaf != "STREAMING.ENABLE":
        return any(cfg.MODEL.STREAMING.ENABLE for cfg in (a, b))
    return leaf != "WIDTH_MULT" or any("mobilenet" in cfg.MODEL.ARCH for cfg in (a, b))


def _plain(value: Any) -> Any:
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value


def _has_number(value: Any) -> bool:
    return any(map(_has_number, value)) if isinstance(value, list) else True
