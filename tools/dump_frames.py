#!/usr/bin/env python3
r"""Write videos as folders of images, with the annotation that TRAIN.DATASET rawframes reads.

    python tools/dump_frames.py --videos_dir data/videos \
        --annotation data/train.txt data/val.txt --output_dir data

Annotations have lines <video file> <label>. Makes data/custom_dataset/{rawframes/,train.txt,
val.txt} and touches nothing else; an interrupted run goes on where it was. Exit status 1 when
videos were dropped; each is named.
"""

from pathlib import Path

from slowfast.utils.errors import one_line_errors
from slowfast.utils.logging import setup_logging
from slowfast.utils.parallel import default_workers
from slowfast.utils.parser import tool_parser


def main(argv: list[str] | None = None) -> None:
    parser = tool_parser(__doc__)
    add, shown = parser.add_argument, "(default: %(default)s)"
    add("--videos_dir", type=Path, required=True, help="where the paths of the lists start")
    add("--annotation", type=Path, nargs="+", required=True, help="lists, one line per video")
    add("--output_dir", type=Path, required=True, help="gets the folder custom_dataset")
    add(
        "--short_side", type=int, default=256, help=f"of the images, pixels; never enlarged {shown}"
    )
    add("--quality", type=int, default=90, help=f"of the JPEGs, 1 to 100 {shown}")
    add("--workers", type=int, default=default_workers(), help=f"processes {shown}")
    args = parser.parse_args(argv)
    setup_logging()
    with one_line_errors(traceback=args.traceback):
        from slowfast.datasets.dump import dump_dataset

        result = dump_dataset(
            args.videos_dir,
            args.annotation,
            args.output_dir,
            short_side=args.short_side,
            quality=args.quality,
            workers=args.workers,
        )
    reused = sum(dumped.reused for dumped in result.dumped.values())
    print(f"{len(result.dumped)} videos ({reused} were there), {len(result.dropped)} dropped")
    for video, reason in sorted(result.dropped.items()):
        print(f"dropped: {video}: {reason}")
    print(f"train with: TRAIN.DATASET rawframes DATA.PATH_TO_DATA_DIR {args.output_dir}")
    raise SystemExit(1 if result.dropped else 0)


if __name__ == "__main__":
    main()
