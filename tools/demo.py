#!/usr/bin/env python3
r"""Show what is recognised in a video or by a camera, drawn on its frames.

    python tools/demo.py --cfg configs/MECCANO/SLOWFAST_8x8_R50.yaml \
        --input_video video.mp4 --checkpoint checkpoint.pyth
    python tools/demo.py --checkpoint x3d_s.xml --input_video video.mp4 --output seen.mp4
    python tools/demo.py --checkpoint best.pyth --camera 0 --skip_frames 2 --fp16

A file gives <name>_demo.mp4, with the predictions over time beside it as .json and .csv. A camera
gives a window; q closes it.
"""

import argparse
from pathlib import Path

from slowfast.config import add_cfg_arguments, load_cfg_from_args, parse_args
from slowfast.config.cli import KeyOption
from slowfast.utils.errors import one_line_errors
from slowfast.utils.logging import setup_logging
from slowfast.utils.parser import tool_parser
from slowfast.utils.threads import limit_spinning


def parser() -> argparse.ArgumentParser:
    found = tool_parser(__doc__)
    add = found.add_argument
    add("--input_video", default="", metavar="FILE", help="video to look at")
    add("--camera", default="", metavar="NUMBER", help="camera to look through, 0 is the first")
    add("--checkpoint", type=Path, help="checkpoint, .onnx, .xml, .pt2 or exported stream")
    add("--output", type=Path, metavar="FILE", help="video to write, .json and .csv beside it")
    add("--mode", choices=("auto", "window", "stream"), default="auto",
        help="clips, or frame by frame (default: what the file is for)")  # fmt: skip
    add("--skip_frames", type=int, metavar="N", help="frames left out between two predictions")
    add("--num_frames", type=int, action=KeyOption, key="DATA.NUM_FRAMES")
    add("--window_s", type=float, default=0.0, metavar="S",
        help="seconds of a window, of models trained on whole actions")  # fmt: skip
    add("--class_names", action=KeyOption, key="DEMO.LABEL_FILE_PATH",
        help="file of class names: one per line, or JSON")  # fmt: skip
    add("--top_k", type=int, default=5, help="classes shown (default: %(default)s)")
    add("--precision", choices=("f32", "bf16", "f16"), default="f32",
        help="of the computation (default: %(default)s)")  # fmt: skip
    add("--fp16", dest="precision", action="store_const", const="f16", help="--precision f16")
    add("--threads", type=int, default=0, help="of a prediction (default: the runtime's choice)")
    add("--headless", action="store_true", help="no window, for machines without a screen")
    add("--show", action="store_true", help="a window also for a file")
    add("--seconds", type=float, default=0.0, metavar="S", help="stop after that much video")
    add_cfg_arguments(found)
    return found


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv, parser())
    with one_line_errors(traceback=args.traceback):
        cfg = load_cfg_from_args(args) if args.cfg else None
        limit_spinning()
        setup_logging()
        # torch loads here, so that --help and a misspelt key answer at once.
        from slowfast.deploy.demo.build import DemoOptions, build_demo

        options = DemoOptions(
            video=args.input_video,
            camera=args.camera,
            output=args.output,
            mode=args.mode,
            precision=args.precision,
            threads=args.threads,
            skip_frames=args.skip_frames,
            window_s=args.window_s,
            top_k=args.top_k,
            headless=args.headless,
            show=args.show,
            limit_s=args.seconds,
        )
        demo = build_demo(cfg, args.checkpoint, options, args.opts)
        print(demo.describe(demo.run()))


if __name__ == "__main__":
    main()
