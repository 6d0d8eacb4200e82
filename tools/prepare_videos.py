#!/usr/bin/env python3
r"""Re-encode the videos of a dataset so that random clips of them load several times faster.

    python tools/prepare_videos.py --data_dir /data/kinetics --output_dir /data/kinetics_256
    python tools/run_net.py --cfg ... DATA.PATH_TO_DATA_DIR /data/kinetics_256

Short side, short and regular groups of pictures, cheap-to-decode H.264, no sound; frames and
their times stay, so segments stay valid. Folders of numbered images are scaled, too. The output has
the layout of the input, with its lists. An interrupted run goes on where it was. Exit status 1 when
a video was dropped or an image could not be read; each is named.
"""

from pathlib import Path

from slowfast.utils.errors import one_line_errors
from slowfast.utils.logging import setup_logging
from slowfast.utils.parallel import default_workers
from slowfast.utils.parser import tool_parser


def main(argv: list[str] | None = None) -> None:
    parser = tool_parser(__doc__)
    add, shown = parser.add_argument, "(default: %(default)s)"
    add("--data_dir", type=Path, required=True, help="DATA.PATH_TO_DATA_DIR of the dataset")
    add("--output_dir", type=Path, required=True, help="new folder")
    add("--short_side", type=int, default=256, help=f"pixels; never enlarged {shown}")
    add("--gop", type=int, default=16, help=f"frames from keyframe to keyframe {shown}")
    add("--crf", type=int, default=20, help=f"quality, 0 lossless to 51 {shown}")
    add("--no_b_frames", action="store_true", help="larger files; some decoders need it")
    add("--preset", default="fast", help=f"effort of x264 {shown}")
    add("--workers", type=int, default=default_workers(), help=f"processes {shown}")
    add("--sample", type=int, default=20, help=f"videos to measure the gain on {shown}")
    args = parser.parse_args(argv)
    setup_logging()
    with one_line_errors(traceback=args.traceback):
        from slowfast.datasets.prepare.encode import Recipe
        from slowfast.datasets.prepare.folder import prepare_folder, sample_pairs
        from slowfast.datasets.prepare.gain import measure_gain

        b_frames = 0 if args.no_b_frames else 3
        recipe = Recipe(args.short_side, args.gop, args.crf, b_frames, args.preset)
        result = prepare_folder(args.data_dir, args.output_dir, recipe, workers=args.workers)
        old, new = (size / 1e6 for size in result.sizes())
        print(f"{len(result.done)} videos ({result.reused} were there), {old:.1f} -> {new:.1f} MB")
        print(measure_gain(sample_pairs(result.done, args.sample), short_side=args.short_side))
    for path, reason in sorted(result.dropped.items()):
        print(f"dropped: {path}: {reason}")
    raise SystemExit(1 if result.dropped else 0)


if __name__ == "__main__":
    main()
