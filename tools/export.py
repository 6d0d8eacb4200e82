#!/usr/bin/env python3
r"""Write a trained model as files that run without this package, and check that they compute it.

    python tools/export.py --cfg configs/Kinetics/X3D_S.yaml --model_path x3d_s.pyth --format onnx
    python tools/export.py --model_path pruned.pyth --format onnx openvino --softmax
    python tools/export.py --model_path best.pyth --format openvino --normalize_inside \
        --output exported/model.xml DATA.TEST_CROP_SIZE 224
    python tools/export.py --model_path best.pyth --format onnx openvino --stream

Formats: onnx, openvino, torch_export, coreml, executorch; of streams onnx, openvino and
executorch. Every file is run and compared with PyTorch before it gets its name; beside it,
<file>.json says all that its users must know.
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
    add("--model_path", type=Path, help="checkpoint, pruned or not; without --cfg its own config")
    add("--format", nargs="+", default=["onnx"], help="one or several of the formats above")
    add("--output", type=Path, help="file or folder (default: beside the checkpoint)")
    add("--normalize_inside", action="store_true", help="take uint8 frames, as they are")
    score = found.add_mutually_exclusive_group()
    score.add_argument("--score", choices=("logits", "probabilities", "cosines"), default="logits",
                       help="what comes out (default: %(default)s)")  # fmt: skip
    score.add_argument("--softmax", dest="score", action="store_const", const="probabilities",
                       help="the same as --score probabilities")  # fmt: skip
    add("--channels", choices=("RGB", "BGR"), default="RGB", help="colours the file takes")
    add("--stream", action="store_true", help="one frame, of the training crop, at a time")
    add("--dense", action="store_true", help="of a stream: no layer pauses between its frames")
    add("--batch", type=int, default=0, help="fixed number of clips (default: any)")
    add("--tolerance", type=float, default=1e-3, help="of outputs, relative to the largest")
    add_cfg_arguments(found)
    return found


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv, parser())
    with one_line_errors(traceback=args.traceback):
        cfg = load_cfg_from_args(args) if args.cfg or args.model_path is None else None
        limit_spinning()
        setup_logging()
        # torch loads here, so that --help and a misspelt key answer at once.
        from slowfast.deploy.export.build import build_exports
        from slowfast.deploy.export.files import describe
        from slowfast.deploy.export.stream_build import build_stream_exports, describe_stream

        formats = [name for word in args.format for name in word.split(",") if name]
        names = ("opts", "output", "channels", "normalize_inside", "batch")
        options = {"kind": args.score} | {name: getattr(args, name) for name in names}
        if args.stream:
            options["dense"] = args.dense
            streams = build_stream_exports(cfg, args.model_path, formats, **options)
            lines = map(describe_stream, streams)
        else:
            options["tolerance"] = args.tolerance
            lines = map(describe, build_exports(cfg, args.model_path, formats, **options))
        print("\n".join(lines))


if __name__ == "__main__":
    main()
