"""Parameters and multiply-adds of configs, as the README lists them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from slowfast.deploy.profile import build_cost
from slowfast.reports.table import Cell, Table

if TYPE_CHECKING:
    from yacs.config import CfgNode

COLUMNS = (
    "config",
    "classes",
    "frames x stride",
    "params (M)",
    "MACs, train crop (G)",
    "MACs, test crop (G)",
    "FLOPs, test crop (G)",
)


def build_model_table(cfgs: Mapping[str, CfgNode]) -> Table:
    """One row per config, with its name."""
    return Table(COLUMNS, [build_model_row(name, cfg) for name, cfg in cfgs.items()])


def build_model_row(name: str, cfg: CfgNode) -> list[Cell]:
    """What a model costs for one clip. Nothing is allocated: it is built on the meta device."""
    data, cost = cfg.DATA, build_cost(cfg)
    classes = cfg.MODEL.NUM_CLASSES
    return [
        name,
        " + ".join(map(str, classes)) if isinstance(classes, list) else str(classes),
        f"{data.NUM_FRAMES} x {data.SAMPLING_RATE}",
        f"{cost.parameters / 1e6:.3f}",
        f"{cost.macs_train_crop / 1e9:.3f} ({data.TRAIN_CROP_SIZE}²)",
        f"{cost.macs_test_crop / 1e9:.3f} ({data.TEST_CROP_SIZE}²)",
        f"{2 * cost.macs_test_crop / 1e9:.3f}",
    ]
