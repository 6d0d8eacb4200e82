#!/usr/bin/env python3
r"""Write the synthetic video dataset: 12 verbs, 20 objects, 61 actions, in one of five layouts.

    python tools/make_synthetic.py --output_dir data/synthetic --num_clips 1200 --workers 2
    python tools/make_synthetic.py --layout epic --output_dir data/epic

    kinetics    one H.264 file per clip, path and class in train.csv, val.csv, test.csv
    meccano     folders of images with 12 clips each, MECCANO_{split}_{actions,verbs,objects}.csv
    epic        rgb_frames folders with 12 clips each, EPIC_100_{train,validation}.csv
    epic_video  the same as H.264 files, in which timestamps find the clips
    rawframes   folders of images, one clip and what stands around it, seven-column train.txt

A finished dataset is left as it is; one that was interrupted is continued.
"""

import argparse
import logging
import time

from slowfast.utils.errors import one_line_errors
from slowfast.utils.logging import setup_logging
from slowfast.utils.parser import tool_parser
from slowfast.utils.progress import open_progress


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = tool_parser(__doc__)
    add = parser.add_argument
    add("--output_dir", required=True, help="made when missing")
    add("--num_clips", type=int, default=3000, help="in all splits together (%(default)s)")
    add("--layout", default="kinetics", help="see above (%(default)s)")
    add(
        "--frames", type=int, help="per clip; up to a quarter more in long videos (24; kinetics 32)"
    )
    add("--size", type=int, help="side of the square picture, pixels (72; kinetics 80)")
    add("--fps", type=int, help="frames per second (meccano 12, epic 60, others 30)")
    add("--difficulty", type=float, help="0 clean ... 1 hard (0; kinetics 0.1)")
    add(
        "--firm_grip",
        action=argparse.BooleanOptionalAction,
        help="let the hand turn with the object: rotations are easier to see (yes; kinetics no)",
    )
    add("--seed", type=int, default=0, help="of all that is drawn (%(default)s)")
    add("--split_ratio", type=float, nargs=3, metavar="SHARE",
        help="shares of train, val and test (0.8 0.04 0.16; epic 0.84 0.16 0)")  # fmt: skip
    add("--actions", nargs="+", metavar="NAME", help="only these, e.g. push_left_red_bar (all 61)")
    add("--workers", type=int, default=2, help="processes (%(default)s)")
    add("--overwrite", action="store_true", help="replace a dataset made with other options")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    setup_logging()
    with one_line_errors(traceback=args.traceback):
        from slowfast.datasets.synthetic import default_options, make_synthetic

        names = ("num_clips", "size", "fps", "difficulty", "firm_grip", "seed", "split_ratio",
                 "actions")  # fmt: skip
        given = {name: getattr(args, name) for name in names}
        given = {k: tuple(v) if isinstance(v, list) else v for k, v in given.items()}
        options = default_options(args.layout, num_frames=args.frames, **given)
        start = time.monotonic()
        with open_progress(options.num_clips, "clips") as progress:

            def show(done: int, _: int) -> None:
                progress.done = done
                progress.show({})

            root = make_synthetic(
                args.output_dir,
                options,
                workers=args.workers,
                overwrite=args.overwrite,
                progress=show,
            )
        seconds = time.monotonic() - start
        logging.info("%s: %d clips ready, %.1f s", root, options.num_clips, seconds)


if __name__ == "__main__":
    main()
