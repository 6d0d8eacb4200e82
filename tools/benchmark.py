#!/usr/bin/env python3
"""Measure a model, or the parts of its training. Figures are medians with their spread.

python tools/benchmark.py --cfg configs/Kinetics/X3D_S.yaml --model_path x3d_s.pyth
python tools/benchmark.py --cfg configs/Kinetics/X3D_S.yaml --train_step --reference
python tools/benchmark.py --cfg ... --loader --reference DATA.PATH_TO_DATA_DIR my_data
python tools/benchmark.py --cfg ... --decoding --backends pyav,opencv BENCHMARK.STEPS 50
python tools/benchmark.py --cfg ... --test_views video.mp4
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slowfast.config import add_cfg_arguments, load_cfg_from_args, parse_args
from slowfast.utils.errors import one_line_errors
from slowfast.utils.logging import setup_logging

if TYPE_CHECKING:
    from yacs.config import CfgNode


def build_benchmark(args: argparse.Namespace, cfg: CfgNode) -> Callable[[], dict[str, Any]]:
    from slowfast.deploy.benchmarks import build

    backends = [name for name in args.backends.split(",") if name]
    if args.train_step:
        return build.build_train_step_benchmark(cfg, reference=args.reference)
    if args.loader:
        return build.build_loader_benchmark(cfg, reference=args.reference, backends=backends)
    if args.decoding:
        return build.build_decoding_benchmark(cfg, backends)
    if args.test_views:
        return build.build_test_views_benchmark(cfg, args.test_views)
    if args.loop:
        return build.build_loop_benchmark(cfg)
    return build.build_model_benchmark(cfg)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model_path", default="", help="weights (default: random ones)")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--train_step", action="store_true", help="training steps, random clips")
    what.add_argument("--loader", action="store_true", help="loading of the training split")
    what.add_argument("--decoding", action="store_true", help="loading on one core, part by part")
    what.add_argument("--test_views", metavar="VIDEO", help="decoding of a video's test views")
    what.add_argument("--loop", action="store_true", help="the training loop's own time")
    parser.add_argument("--reference", action="store_true", help="also time PySlowFast's way")
    parser.add_argument("--backends", default="", help="of these two: a,b (default: all installed)")
    parser.add_argument("--output", type=Path, metavar="JSON", help="write the figures there")
    parser.add_argument("--traceback", action="store_true", help="show errors in full")
    add_cfg_arguments(parser)
    args = parse_args(argv, parser)
    args.opts += ["TEST.CHECKPOINT_FILE_PATH", args.model_path] if args.model_path else []
    args.opts += ["DATA_LOADER.PERSISTENT_WORKERS", "False"] if args.loader else []
    setup_logging()
    with one_line_errors(traceback=args.traceback):
        cfg = load_cfg_from_args(args)
        from slowfast.reports.benchmark import benchmark_table
        from slowfast.reports.loading import loading_tables

        benchmark = build_benchmark(args, cfg)
        result = benchmark()
        by_part = args.loader or args.decoding
        for table in loading_tables(result) if by_part else [benchmark_table(result)]:
            table.show()
        if args.output is not None:
            args.output.parent.mkdir(parents=True, exist_ok=True)
            args.output.write_text(json.dumps(result, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
