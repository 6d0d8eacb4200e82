#!/usr/bin/env python3
r"""A page where people drop a video or turn on their webcam and see what the model recognises.

    python tools/serve.py --model_path x3d_s.xml
    python tools/serve.py --model_path runs/best.pyth --cfg configs/Kinetics/X3D_S.yaml --threads 2
    python tools/serve.py --model_path x3d_s.xml --host 0.0.0.0 --port 80 --token SECRET

Programs send videos to the same address: curl --data-binary @video.mp4 -H 'Content-Type: video/mp4'
http://127.0.0.1:8000/api/predict. All of it: docs/serve.md.
"""

import argparse
from pathlib import Path

from slowfast.config import KeyOption, add_cfg_arguments, load_cfg_from_args, parse_args
from slowfast.utils.errors import one_line_errors
from slowfast.utils.logging import setup_logging
from slowfast.utils.parser import tool_parser
from slowfast.utils.threads import limit_spinning


def parser() -> argparse.ArgumentParser:
    found = tool_parser(__doc__)
    add = found.add_argument
    add("--model_path", type=Path, required=True, help="checkpoint, .onnx, .xml, .pt2, or a stream")
    add("--host", default="127.0.0.1", help="address to listen at (default: %(default)s)")
    add("--port", type=int, default=8000, help="0: any free one (default: %(default)s)")
    add("--max_upload_mb", type=float, default=200, help="of a video (default: %(default)s)")
    add("--max_seconds", type=float, default=300, help="of a video (default: %(default)s)")
    add("--max_sessions", type=int, default=4,
        help="uploads and live streams at once (default: %(default)s)")  # fmt: skip
    add("--threads", type=int, default=0, help="of a prediction; 0: the runtime's choice")
    add("--precision", choices=("f32", "bf16", "f16"), default="f32", help="default: %(default)s")
    add("--mode", choices=("auto", "window", "stream"), default="auto",
        help="clips, or frame by frame (default: what the file is for)")  # fmt: skip
    add("--class_names", action=KeyOption, key="DEMO.LABEL_FILE_PATH", metavar="FILE",
        help="one name per line, or JSON")  # fmt: skip
    add("--every_s", type=float, help="least seconds of video between two predictions")
    add("--token", default="", help="that clients must know")
    add("--allow_host", nargs="+", default=[], metavar="NAME",
        help="names that the server has besides, e.g. that of its proxy")  # fmt: skip
    add_cfg_arguments(found)
    return found


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv, parser())
    with one_line_errors(traceback=args.traceback):
        cfg = load_cfg_from_args(args) if args.cfg else None
        limit_spinning()
        setup_logging()
        # torch loads here, so that --help and a misspelt key answer at once.
        from slowfast.deploy.recognize_build import build_recognizer
        from slowfast.deploy.serve.limits import MIB, Limits
        from slowfast.deploy.serve.server import check_installed, serve

        check_installed()  # before the model is loaded
        settings = {name: getattr(args, name) for name in ("mode", "precision", "threads")}
        recognizer = build_recognizer(
            cfg, args.model_path, every_s=args.every_s, opts=args.opts, **settings
        )
        limits = Limits(
            upload_bytes=int(args.max_upload_mb * MIB),
            video_s=args.max_seconds,
            sessions=args.max_sessions,
        )
        serve(
            recognizer,
            args.model_path,
            host=args.host,
            port=args.port,
            limits=limits,
            token=args.token,
            hosts=args.allow_host,
            settings=settings,
        )


if __name__ == "__main__":
    main()
