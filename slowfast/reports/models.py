"""Parameters, multiply-adds and latency of configs, as the README and docs/models.md list them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
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
LATENCY = "latency p50 (ms)"
SECTION = re.compile(r"(<!-- models -->\n).*?(<!-- /models -->)", re.DOTALL)
NOTE = re.compile(r"^Latency: .*$", re.MULTILINE)


def build_model_table(
    cfgs: Mapping[str, CfgNode], latencies: Mapping[str, str] | None = None
) -> Table:
    """One row per config, with its name.

    Args:
        cfgs: by name.
        latencies: by name, for a further column; ``-`` where there is none.
    """
    rows = [build_model_row(name, cfg) for name, cfg in cfgs.items()]
    if latencies is None:
        return Table(COLUMNS, rows)
    return Table((*COLUMNS, LATENCY), [[*row, latencies.get(str(row[0]), "-")] for row in rows])


def build_model_row(name: str, cfg: CfgNode) -> list[Cell]:
    """What a model costs for one clip. Nothing is allocated: it is built on the meta device."""
    data, cost = cfg.DATA, build_cost(cfg)
    classes, whole = cfg.MODEL.NUM_CLASSES, "x".join(map(str, data.RESIZE))
    if cfg.MODEL.MODEL_NAME == "IMFE" and not cfg.IMFE.CLASSIFIER:
        classes = "none"  # its output is a feature
    return [
        name,
        " + ".join(map(str, classes)) if isinstance(classes, list) else str(classes),
        f"{data.NUM_FRAMES} x {data.SAMPLING_RATE}",
        f"{cost.parameters / 1e6:.3f}",
        f"{cost.macs_train_crop / 1e9:.3f} ({whole or f'{data.TRAIN_CROP_SIZE}²'})",
        f"{cost.macs_test_crop / 1e9:.3f} ({whole or f'{data.TEST_CROP_SIZE}²'})",
        f"{2 * cost.macs_test_crop / 1e9:.3f}",
    ]


def build_latencies(
    cfgs: Mapping[str, CfgNode],
    *,
    seconds: float = 5.0,
    on_result: Callable[[str, str], object] = lambda name, value: None,
) -> tuple[dict[str, str], str]:
    """Median latency of every config, in milliseconds, and the line that says how it was measured.

    Args:
        cfgs: by name.
        seconds: for each of them, roughly.
        on_result: called with name and milliseconds as they come.
    """
    from slowfast.deploy.benchmarks.zoo import build_clip_latency, build_machine_line

    found = {}
    for name, cfg in cfgs.items():
        milliseconds = build_clip_latency(cfg, seconds=seconds).percentile_ms(50)
        found[name] = f"{milliseconds:.{0 if milliseconds >= 100 else 1}f}"
        on_result(name, found[name])
    machine = build_machine_line(next(iter(cfgs.values())))
    return found, f"Latency: medians of one run, one clip of the test crop, float32; {machine}."


def read_latencies(page: str) -> tuple[dict[str, str] | None, str]:
    """The latencies in the table of a page, and the line about them.

    Returns:
        Milliseconds by config, ``None`` where the table has no such column; the line, or ``""``.
    """
    section = SECTION.search(page)
    text = section[0] if section else ""
    note = NOTE.search(text)
    if LATENCY not in text:
        return None, note[0] if note else ""
    lines = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("| ")]
    cells = {first.strip(): last.strip() for first, *_, last in lines}
    found = {name: value for name, value in cells.items() if re.fullmatch(r"[\d.]+", value)}
    return found, note[0] if note else ""


def with_table(page: str, table: Table, note: str = "") -> str:
    """The page with the table, and a line below, in its ``<!-- models -->`` part."""
    body = f"{table.markdown()}\n" + (f"\n{note}\n" if note else "")
    return SECTION.sub(lambda match: f"{match[1]}{body}{match[2]}", page)
