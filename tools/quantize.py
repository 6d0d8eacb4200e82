#!/usr/bin/env python3
r"""Make a trained network's int8 or bf16 file, and say what that costs and brings.

    python tools/quantize.py --cfg configs/MECCANO/X3D_M.yaml --model_path checkpoint.pyth \
        --backend openvino --precision int8 OUTPUT_DIR runs/int8

    python tools/quantize.py --cfg ... --model_path ... --backend onnxruntime --max_drop 0.5 \
        --qat_epochs 3

Every option is a key of the node QUANTIZATION (python -m slowfast.config QUANTIZATION).
"""

import argparse

from slowfast.config import add_cfg_arguments, load_cfg_from_args, parse_args
from slowfast.utils.errors import one_line_errors
from slowfast.utils.logging import setup_logging
from slowfast.utils.threads import limit_spinning

KEYS = {
    "model_path": "CHECKPOINT_FILE_PATH", "backend": "RUNTIME", "precision": "PRECISION",
    "qat_epochs": "QAT_EPOCHS", "calibration_clips": "CALIBRATION_CLIPS", "max_drop": "MAX_DROP",
    "eval_split": "EVAL_SPLIT",
}  # fmt: skip


def parser() -> argparse.ArgumentParser:
    found = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = found.add_argument
    add("--model_path", help="checkpoint of the trained network, pruned or not")
    add("--backend", choices=("onnxruntime", "openvino"), help="what will run the file")
    add("--precision", choices=("int8", "bf16"))
    add("--qat_epochs", type=int, help="epochs of training with rounding before; 0: none")
    add("--calibration_clips", type=int, help="training clips that show the activations' ranges")
    add("--max_drop", type=float, help="points of accuracy that may be lost; layers stay in float")
    add("--eval_split", choices=("val", "test"), help="that accuracies are of")
    add("--traceback", action="store_true", help="show errors in full")
    add_cfg_arguments(found)
    return found


def overrides(args: argparse.Namespace) -> list[str]:
    """The options that were given, as ``KEY VALUE`` pairs."""
    given = {key: getattr(args, option) for option, key in KEYS.items()}
    if args.qat_epochs is not None:
        given["QAT"] = args.qat_epochs > 0
    pairs = [
        (f"QUANTIZATION.{key}", str(value)) for key, value in given.items() if value is not None
    ]
    return [word for pair in pairs for word in pair]


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv, parser())
    with one_line_errors(traceback=args.traceback):
        args.opts += overrides(args)
        cfg = load_cfg_from_args(args)
        limit_spinning()
        setup_logging(cfg.OUTPUT_DIR)
        from slowfast.compression.quantization.run import run
        from slowfast.deploy.variants import build_variants
        from slowfast.reports.quantization import quantization_table

        report = run(cfg, build_variants(cfg))
        quantization_table(report).show()
        print("\n".join(report["sentences"]))
        print("\n".join(f"{name}: {path}" for name, path in report["files"].items()))


if __name__ == "__main__":
    main()
