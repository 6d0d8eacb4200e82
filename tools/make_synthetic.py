#!/usr/bin/env python3
"""Write the synthetic video dataset: 12 verbs, 20 objects, 61 actions, as H.264 files.

    python tools/make_synthetic.py --output_dir data/synthetic --num_clips 1200 --workers 2

A finished dataset is left as it is; one that was interrupted is continued.
"""

import argparse
import logging
import time

from slowfast.utils.errors import one_line_errors
from slowfast.utils.logging import setup_logging
from slowfast.utils.progress import open_progress


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--output_dir", required=True, help="made when missing")
    add("--num_clips", type=int, default=3000, help="in all splits together (%(default)s)")
    add("--frames", type=int, default=32, help="frames per clip (%(default)s)")
    add("--size", type=int, default=80, help="side of the square picture, pixels (%(default)s)")
    add("--fps", type=int, default=30, help="frames per second (%(default)s)")
    add("--difficulty", type=float, default=0.1, help="0 clean ... 1 hard (%(default)s)")
    add("--seed", type=int, default=0, help="of all that is drawn (%(default)s)")
    add("--split_ratio", type=float, nargs=3, default=[0.8, 0.04, 0.16], metavar="SHARE",
        help="shares of train, val and test (%(default)s)")  # fmt: skip
    add("--layout", default="kinetics", help="how the files lie (%(default)s)")
    add("--workers", type=int, default=2, help="processes (%(default)s)")
    add("--overwrite", action="store_true", help="replace a dataset made with other options")
    add("--traceback", action="store_true", help="show errors in full")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    setup_logging()
    with one_line_errors(traceback=args.traceback):
        from slowfast.datasets.synthetic import SyntheticOptions, make_synthetic

        names = ("num_clips", "size", "fps", "difficulty", "seed", "layout")
        options = SyntheticOptions(
            num_frames=args.frames,
            split_ratio=tuple(args.split_ratio),
            **{name: getattr(args, name) for name in names},
        )
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
