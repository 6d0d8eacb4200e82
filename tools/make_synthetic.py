"""Writes the synthetic video dataset: 12 verbs x 20 objects in 61 actions, as H.264 files.

python tools/make_synthetic.py --output_dir data/synthetic --num_clips 1200 --workers 2
"""

import argparse
import sys
import time
from collections.abc import Callable, Sequence


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--output_dir", required=True, help="made when missing; skipped when already complete")
    add("--num_clips", type=int, default=1200, help="all splits together (%(default)s)")
    add("--frames", type=int, default=32, help="frames per clip (%(default)s)")
    add("--size", type=int, default=112, help="side of the square picture, pixels (%(default)s)")
    add("--fps", type=int, default=30, help="frames per second (%(default)s)")
    add("--difficulty", type=float, default=0.5, help="0 clean .. 1 hard (%(default)s)")
    add("--seed", type=int, default=0, help="(%(default)s)")
    add("--split_ratio", type=float, nargs=3, default=(0.7, 0.1, 0.2), metavar="SHARE",
        help="train val test, summing to 1 (0.7 0.1 0.2)")  # fmt: skip
    add("--layout", default="kinetics", help="files on disk (%(default)s)")
    add("--workers", type=int, default=2, help="processes (%(default)s)")
    add("--overwrite", action="store_true", help="replace a dataset made with other options")
    return parser.parse_args(argv)


def plain_progress() -> Callable[[int, int], None]:
    """Prints a line at every tenth of the work."""
    last = 0

    def show(done: int, total: int) -> None:
        nonlocal last
        if done * 10 // total > last or done == total:
            last = done * 10 // total
            print(f"{done}/{total} clips", flush=True)

    return show


def main(argv: Sequence[str] | None = None) -> int:
    args = parse_args(argv)
    from slowfast.datasets.synthetic import NotOurs, SyntheticOptions, make_synthetic

    fields = ("num_clips", "size", "fps", "difficulty", "seed", "layout")
    start = time.perf_counter()
    try:
        options = SyntheticOptions(
            num_frames=args.frames,
            split_ratio=tuple(args.split_ratio),
            **{name: getattr(args, name) for name in fields},
        )
        root = make_synthetic(
            args.output_dir, options, workers=args.workers, overwrite=args.overwrite,
            progress=plain_progress(),
        )  # fmt: skip
    except (ValueError, NotOurs, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{root}: {options.num_clips} clips ready in {time.perf_counter() - start:.1f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
