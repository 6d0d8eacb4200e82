#!/usr/bin/env python3
r"""Measure a model, ways of running it, or the parts of its training. Medians with their spread.

python tools/benchmark.py --cfg configs/Kinetics/X3D_S.yaml --model_path x3d_s.pyth
python tools/benchmark.py --cfg configs/Kinetics/X3D_S.yaml --model_path x3d_s.pyth --reference \
    --runtimes eager,onnxruntime,openvino --precisions f32,bf16 --threads 1,2 --batch 1,8
python tools/benchmark.py --compare reference:configs/Kinetics/X3D_S.yaml x3d_s.xml x3d_s_int8.xml
python tools/benchmark.py --cfg configs/Kinetics/X3D_S.yaml --stream --reference --cox3d \
    --runtimes openvino --precisions f32,bf16 --video video.mp4
python tools/benchmark.py --cfg configs/Kinetics/X3D_S.yaml --train_step --reference
python tools/benchmark.py --cfg ... --loader --reference DATA.PATH_TO_DATA_DIR my_data
python tools/benchmark.py --cfg ... --decoding --backends pyav,opencv BENCHMARK.STEPS 50
python tools/benchmark.py --cfg ... --test_views video.mp4
See docs/benchmark.md.
"""

import argparse
from pathlib import Path

from slowfast.config import add_cfg_arguments, load_cfg_from_args, parse_args
from slowfast.utils.errors import one_line_errors
from slowfast.utils.logging import setup_logging
from slowfast.utils.parser import tool_parser
from slowfast.utils.threads import limit_spinning


def parser() -> argparse.ArgumentParser:
    found = tool_parser(__doc__)
    add = found.add_argument
    add("--model_path", default="", help="checkpoint or exported file (default: random weights)")
    what = found.add_mutually_exclusive_group()
    what.add_argument("--train_step", action="store_true", help="training steps, random clips")
    what.add_argument("--loader", action="store_true", help="loading of the training split")
    what.add_argument("--decoding", action="store_true", help="loading on one core, part by part")
    what.add_argument("--test_views", metavar="VIDEO", help="decoding of a video's test views")
    what.add_argument("--loop", action="store_true", help="the training loop's own time")
    what.add_argument("--compare", nargs="+", metavar="MODEL",
                      help="by turns: configs (random weights), checkpoints, exported files; "
                      "[stream:|reference:|cox3d:]PATH[@RUNTIME[/PRECISION]]")  # fmt: skip
    add("--runtimes", default="", help="a,b of eager, compile, onnxruntime, openvino, torch_export")
    add("--precisions", default="", help="a,b of f32, bf16 (default: f32)")
    add("--files", nargs="+", help="exported files of the same network, int8 for one; "
                      "FILE@openvino/bf16: what is not in int8 in bf16")  # fmt: skip
    add("--threads", default="", help="a,b: of one prediction; 0 (default): the runtime's choice")
    add("--batch", default="", help="a,b: clips, or streams, at once (default: 1)")
    add("--stream", action="store_true", help="one frame at a time, and a video from its file")
    add("--video", nargs="+", help="for that; the first is timed (default: a generated one)")
    add("--reference", action="store_true", help="also time PySlowFast's way, which is then 1")
    add("--cox3d", action="store_true", help="also time CoX3D's way of streaming")
    add("--busy", type=int, default=0, metavar="N", help="also beside N busy processes")
    add("--accuracy", nargs="?", const="val", choices=("val", "test"),
        help="also score every way on a split (default: val)")  # fmt: skip
    add("--choose", type=float, nargs="?", const=99.0, metavar="PERCENT",
        help="say which precision to use, of those that agree with f32 (99)")  # fmt: skip
    add("--no_memory", action="store_true", help="do not start processes to see their memory")
    add("--backends", default="", help="of loading: a,b (default: all installed)")
    add("--output", type=Path, metavar="JSON", help="write the figures there, and beside it tables "
        "(.md) and a picture (.png) of ways of running")  # fmt: skip
    add_cfg_arguments(found)
    return found


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv, parser())
    others = any(text.startswith(("reference:", "cox3d:")) for text in args.compare or [])
    if not (args.reference or args.cox3d or others):  # those wait as OpenMP comes
        limit_spinning()
    setup_logging()
    with one_line_errors(traceback=args.traceback):
        opts = list(args.opts)
        args.opts += ["TEST.CHECKPOINT_FILE_PATH", args.model_path] if args.model_path else []
        args.opts += ["DATA_LOADER.PERSISTENT_WORKERS", "False"] if args.loader else []
        cfg = load_cfg_from_args(args)
        from slowfast.deploy.benchmarks.choose import build_benchmark
        from slowfast.reports.loading import tables
        from slowfast.reports.ways import write_result

        result = build_benchmark(args, cfg, opts)()
        for table in tables(result):
            table.show()
        if args.output is not None:
            write_result(result, args.output)


if __name__ == "__main__":
    main()
