"""Which of several models is faster: one clip each, by turns, in one process."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from slowfast.deploy.benchmarks.model import clip_runner
from slowfast.deploy.latency import describe_machine, speedup, time_interleaved
from slowfast.deploy.profile import build_model_inputs, count_macs, count_parameters
from slowfast.engine.build import build_placed_model, build_placement
from slowfast.utils.errors import UserError

if TYPE_CHECKING:
    from yacs.config import CfgNode


def name_configs(paths: Sequence[str]) -> list[str]:
    """File names without ending where they tell the configs apart, else the paths.

    Example:
        >>> name_configs(["configs/Kinetics/X3D_S.yaml", "configs/Kinetics/X3D_M.yaml"])
        ['X3D_S', 'X3D_M']
    """
    stems = [Path(path).stem for path in paths]
    return stems if len(set(stems)) == len(stems) else list(paths)


def build_comparison(cfgs: Mapping[str, CfgNode]) -> Callable[[], dict[str, Any]]:
    """Latency of one clip of the test crop of every config, fresh weights, batch 1.

    Args:
        cfgs: name -> config, two or more. Repetitions are those of the first, and the others are
            compared with it: how many times faster it is, turn by turn.

    Raises:
        UserError: fewer than two, or on different devices.
    """
    if len(cfgs) < 2:
        raise UserError(f"{next(iter(cfgs))} cannot be compared with itself: give another config")
    placements = {name: build_placement(cfg) for name, cfg in cfgs.items()}
    if len({placement.device for placement in placements.values()}) > 1:
        raise UserError("the configs to compare run on different devices: set DEVICE")
    runs: dict[str, Callable[[], object]] = {}
    costs: dict[str, dict[str, Any]] = {}
    for name, cfg in cfgs.items():
        placed, shapes = placements[name], build_model_inputs(cfg, cfg.DATA.TEST_CROP_SIZE)
        model = build_placed_model(cfg, placed).eval()
        clips = [torch.rand(*shape, device=placed.device) for shape in shapes]
        runs[name] = clip_runner(model, clips, placed)
        costs[name] = {
            "clip": " and ".join("x".join(map(str, shape[1:])) for shape in shapes),
            "params_m": count_parameters(model) / 1e6,
            "macs_g": count_macs(model, shapes) / 1e9,
        }
    first, *others = cfgs
    device = placements[first].device

    def measure() -> dict[str, Any]:
        keys = cfgs[first].BENCHMARK
        timings = time_interleaved(runs, warmup=keys.WARMUP, repeats=keys.STEPS, device=device)
        faster = {other: speedup(timings[other], timings[first]) for other in others}
        return {
            **{name: cost | timings[name].as_dict() for name, cost in costs.items()},
            f"times that {first} is faster than": faster,
            "machine": describe_machine(device),
        }

    return measure
