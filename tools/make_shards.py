#!/usr/bin/env python3
r"""Put the videos of a dataset into tar files that training reads from front to back.

    python tools/make_shards.py --cfg configs/Kinetics/X3D_S.yaml \
        DATA.PATH_TO_DATA_DIR /data/kinetics --output_dir /data/kinetics_shards
    python tools/run_net.py --cfg configs/Kinetics/X3D_S.yaml TRAIN.DATASET shards \
        TEST.DATASET shards DATA.PATH_TO_DATA_DIR /data/kinetics_shards

For disks and object stores that are slow with many small files. A sample is the video as it is, or
re-encoded with --short_side, a JSON with its labels, and its class, as the webdataset library has
them; index.json says where each lies. An interrupted run goes on with the next shard. Exit status
1 when a video was left out, or a shard is not as its index says.

    python tools/make_shards.py --index_only /data/others/train     tar files made by others
    python tools/make_shards.py --verify /data/kinetics_shards/train
"""

from pathlib import Path

from slowfast.config import add_cfg_arguments, load_cfg_from_args, parse_args
from slowfast.utils.errors import one_line_errors
from slowfast.utils.logging import setup_logging
from slowfast.utils.parallel import default_workers
from slowfast.utils.parser import tool_parser


def main(argv: list[str] | None = None) -> None:
    parser = tool_parser(__doc__)
    add, shown = parser.add_argument, "(default: %(default)s)"
    add("--output_dir", type=Path, default=Path("runs/shards"), help=f"new folder {shown}")
    splits = ("train", "val", "test")
    add("--splits", nargs="+", choices=splits, default=["train", "val"], help=shown)
    add("--shard_mb", type=float, default=1000.0, help=f"megabytes a shard, at most {shown}")
    add("--shard_samples", type=int, default=10_000, help=f"videos a shard, at most {shown}")
    add("--short_side", type=int, default=0, help=f"re-encode to this; 0: as they are {shown}")
    add("--gop", type=int, default=16, help=f"re-encoded: keyframe to keyframe, frames {shown}")
    add("--crf", type=int, default=20, help=f"re-encoded: quality, 0 lossless to 51 {shown}")
    add("--workers", type=int, default=default_workers(), help=f"that re-encode {shown}")
    add("--index_only", type=Path, metavar="FOLDER", help="write the index of its tar files")
    add("--verify", metavar="FOLDER", help="compare shards, also behind a URL, with their index")
    add_cfg_arguments(parser)
    args = parse_args(argv, parser)
    setup_logging()
    with one_line_errors(traceback=args.traceback):
        from slowfast.datasets.shards import make

        if args.index_only:
            problems = make.index_folder(args.index_only)
        elif args.verify:
            problems = make.verify_folder(args.verify)
        else:
            recipe = (args.short_side, args.gop, args.crf) if args.short_side else None
            limits = (int(args.shard_mb * 1e6), args.shard_samples)
            problems = make.build_shards(
                load_cfg_from_args(args), args.splits, args.output_dir, limits, recipe, args.workers
            )
    raise SystemExit(1 if problems else 0)


if __name__ == "__main__":
    main()
