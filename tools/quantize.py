#!/usr/bin/env python3
r"""Make a trained network's int8 or bf16 file, and say what that costs and brings.

    python tools/quantize.py --cfg configs/MECCANO/X3D_M.yaml --model_path checkpoint.pyth \
        --backend openvino --precision int8 OUTPUT_DIR runs/int8

    python tools/quantize.py --cfg ... --model_path ... --backend onnxruntime --max_drop 0.5 \
        --qat_epochs 3

Every option is a key of the node QUANTIZATION (python -m slowfast.config QUANTIZATION).
"""

import argparse
from functools import partial

from slowfast.config import KeyOption, add_cfg_arguments, load_cfg_from_args, parse_args
from slowfast.utils.errors import one_line_errors
from slowfast.utils.logging import setup_logging
from slowfast.utils.parser import tool_parser
from slowfast.utils.threads import limit_spinning

KEYS = {
    "model_path": "CHECKPOINT_FILE_PATH", "backend": "RUNTIME", "precision": "PRECISION",
    "calibration_clips": "CALIBRATION_CLIPS", "max_drop": "MAX_DROP", "eval_split": "EVAL_SPLIT",
}  # fmt: skip


def parser() -> argparse.ArgumentParser:
    found = tool_parser(__doc__)
    add = partial(found.add_argument, action=KeyOption)
    for option, key in KEYS.items():
        add(f"--{option}", key=f"QUANTIZATION.{key}")
    add("--qat_epochs", type=int, help="epochs of training with rounding before; 0: none",
        pairs=lambda epochs: {
            "QUANTIZATION.QAT_EPOCHS": epochs, "QUANTIZATION.QAT": epochs > 0,
        })  # fmt: skip
    add_cfg_arguments(found)
    return found


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv, parser())
    with one_line_errors(traceback=args.traceback):
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
