"""The latency of many models, one after the other: for tables that compare them."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import date
from typing import TYPE_CHECKING

import torch

from slowfast.deploy.benchmarks.model import clip_runner
from slowfast.deploy.latency import Timing, describe_machine, time_runs
from slowfast.deploy.profile import build_model_inputs
from slowfast.engine.build import build_placed_model, build_placement

if TYPE_CHECKING:
    from yacs.config import CfgNode

MOST_RUNS, FEWEST_RUNS = 20, 3


def build_clip_latency(cfg: CfgNode, *, seconds: float = 5.0) -> Timing:
    """Times of predictions of one random clip of the test crop, in float32, fresh weights.

    Args:
        cfg: of the model, and where it runs.
        seconds: time to spend, roughly: 3 to 20 runs after one unmeasured.
    """
    placement = replace(build_placement(cfg), amp_dtype=None)
    model = build_placed_model(cfg, placement).eval()
    shapes = build_model_inputs(cfg, cfg.DATA.TEST_CROP_SIZE)
    clips = [torch.rand(shape, device=placement.device) for shape in shapes]
    run = clip_runner(model, clips, placement)
    first = time_runs(run, warmup=1, repeats=1, device=placement.device)
    repeats = min(MOST_RUNS, max(FEWEST_RUNS, int(seconds / first.median_s)))
    return time_runs(run, warmup=0, repeats=repeats, device=placement.device)


def build_machine_line(cfg: CfgNode) -> str:
    """What the latencies were measured on, and when."""
    found = describe_machine(build_placement(cfg).device)
    size = f"{os.cpu_count()} CPU cores"
    if hasattr(os, "sysconf"):  # not on Windows
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
        size += f", {memory:.0f} GiB"
    return (
        f"{found['name']} ({found['device']}, {found['threads']} threads), {size}, "
        f"torch {found['torch']}, {date.today():%d %B %Y}"
    )
