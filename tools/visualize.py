#!/usr/bin/env python3
r"""Show where in a clip a network found what it says: Grad-CAM on the frames of each pathway.

    python tools/visualize.py --cfg configs/MECCANO/SLOWFAST_8x8_R50.yaml \
        --model_path best.pyth --input_video assembly.mp4
    python tools/visualize.py --model_path best.pyth --num_videos 20 --true_label
    python tools/visualize.py --model_path best.pyth --class take_screwdriver --target_layer s4

Without --input_video the videos are those of the test split. Every clip gives an .mp4 and a .png
in --output_dir, and gradcam.json tells about all of them.
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
    add("--model_path", type=Path, help="checkpoint (default: what run_net.py --eval would test)")
    add("--input_video", default="", metavar="FILE", help="instead of the test split")
    add("--target_layer", action="append", default=[], metavar="NAME",
        help="to look at; may be repeated (default: the last with space in its maps)")  # fmt: skip
    add("--class", dest="classes", action="append", default=[], metavar="NAME|NUMBER",
        help="to explain; of several tasks verb=NAME; may be repeated")  # fmt: skip
    add("--true_label", action="store_true", help="explain the true classes")
    add("--num_videos", type=int, default=8, help="of the split; 0: all (default: %(default)s)")
    add("--num_clips", type=int, default=1, help="of each video (default: %(default)s)")
    add("--top_k", type=int, default=5, help="predictions written (default: %(default)s)")
    add("--colormap", default="viridis", help="matplotlib's name (default: %(default)s)")
    add("--output_dir", type=Path, default=Path("gradcam"), help="(default: %(default)s)")
    add("--tensorboard", action="store_true", help="write TensorBoard files there too")
    add_cfg_arguments(found)
    return found


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv, parser())
    with one_line_errors(traceback=args.traceback):
        cfg = load_cfg_from_args(args) if args.cfg else None
        limit_spinning()
        setup_logging()
        # torch loads here, so that --help and a misspelt key answer at once.
        from slowfast.reports.gradcam.build import VisualizeOptions, build_visualization

        options = VisualizeOptions(
            video=args.input_video,
            layers=args.target_layer,
            classes=args.classes,
            true_label=args.true_label,
            num_videos=args.num_videos,
            num_clips=args.num_clips,
            output_dir=args.output_dir,
            colours=args.colormap,
            top_k=args.top_k,
            tensorboard=args.tensorboard,
        )
        files = build_visualization(cfg, args.model_path, options, args.opts).run()
        print("\n".join(map(str, files)))


if __name__ == "__main__":
    main()
