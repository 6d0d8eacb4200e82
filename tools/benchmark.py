#!/usr/bin/env python3
r"""Measure a model, or the parts of its training. Figures are medians with their spread.

python tools/benchmark.py --cfg configs/Kinetics/X3D_S.yaml --model_path x3d_s.pyth
python tools/benchmark.py --cfg configs/Kinetics/X3D_S.yaml --train_step --reference
python tools/benchmark.py --cfg ... --loader --reference DATA.PATH_TO_DATA_DIR my_data
python tools/benchmark.py --cfg ... --decoding --backends pyav,opencv BENCHMARK.STEPS 50
python tools/benchmark.py --cfg ... --test_views video.mp4
python tools/benchmark.py --cfg configs/ActivityNet/IMFE_LOCAL_6x1.yaml \
    --compare configs/ActivityNet/IMFE_6x1.yaml
"""

import argparse
import json
from pathlib import Path

from slowfast.config import add_cfg_arguments, load_cfg_from_args, parse_args
from slowfast.utils.errors import one_line_errors
from slowfast.utils.logging import setup_logging


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
    what.add_argument("--compare", nargs="+", metavar="YAML",
                      help="this model and those of other configs, random weights")  # fmt: skip
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
        from slowfast.deploy.benchmarks.choose import build_benchmark
        from slowfast.reports.loading import tables

        result = build_benchmark(args, cfg, "+".join(map(str, args.cfg)))()
        for table in tables(result):
            table.show()
        if args.output is not None:
            args.output.parent.mkdir(parents=True, exist_ok=True)
            args.output.write_text(json.dumps(result, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
