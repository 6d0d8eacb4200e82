#!/usr/bin/env python3
r"""Write a model's features of videos: <output_dir>/<video>.npy, a row per window of the video.

    python tools/extract_features.py --cfg configs/MECCANO/SLOWFAST_8x8_R50.yaml \
        --model_path best.pyth --videos_dir data/videos --output_dir data/features

    python tools/extract_features.py --cfg configs/ActivityNet/IMFE_6x1.yaml \
        --model_path 2024-02-04-04-13-03-checkpoint-8.pt \
        --videos_dir 50salads/rawframes_rgb --output_dir 50salads/features

Row k belongs to the clip around frame INTERVAL / 2 + INTERVAL * k (FEATURES.INTERVAL 6): what
TRAIN.DATASET features trains on. An interrupted run goes on where it was. Exit status 1 when videos
could not be read; each is named.
"""

from pathlib import Path

from slowfast.config import add_cfg_arguments, load_cfg_from_args, parse_args
from slowfast.utils.errors import one_line_errors
from slowfast.utils.logging import setup_logging
from slowfast.utils.parser import tool_parser


def main(argv: list[str] | None = None) -> None:
    parser = tool_parser(__doc__)
    add = parser.add_argument
    add("--model_path", type=Path, required=True, help="checkpoint with the weights")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--videos_dir", type=Path, help="video files, or folders of images")
    source.add_argument("--split", choices=("train", "val", "test"), help="of the config's dataset")
    add("--output_dir", type=Path, required=True, help="gets the .npy files")
    add("--output", default="features", help="features or logits (default: %(default)s)")
    add("--overwrite", action="store_true", help="replace features that are there")
    add_cfg_arguments(parser)
    args = parse_args(argv, parser)
    setup_logging()
    with one_line_errors(traceback=args.traceback):
        args.opts += ["TEST.CHECKPOINT_FILE_PATH", str(args.model_path)]
        cfg = load_cfg_from_args(args)
        from slowfast.engine import extract_build as build
        from slowfast.engine.extract import extract_features

        extractor, checkpoint = build.build_extractor(cfg, args.output)
        if args.videos_dir:
            sources = build.list_videos(args.videos_dir)
        else:
            sources = build.build_sources(cfg, args.split)
        result = extract_features(
            extractor,
            sources,
            args.output_dir,
            settings=build.build_settings(cfg, checkpoint, args.output),
            overwrite=args.overwrite,
            progress=cfg.PROGRESS,
        )
    rows, there = sum(result.rows.values()), len(result.reused)
    print(f"{rows} rows of {len(result.rows)} videos written to {args.output_dir}, {there} there")
    for name, reason in result.dropped.items():
        print(f"no features of {name}: {reason}")
    raise SystemExit(1 if result.dropped else 0)


if __name__ == "__main__":
    main()
