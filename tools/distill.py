#!/usr/bin/env python3
r"""Train a student with a teacher's help, and compare the two.

    python tools/distill.py --teacher_cfg configs/MECCANO/SLOWFAST_8x8_R50.yaml \
        --student_cfg configs/MECCANO/MOBILE_8x8.yaml \
        --teacher_model teacher.pyth --temperature 4.0 OUTPUT_DIR runs/student

    python tools/distill.py --student_cfg ... --teacher_model a.pyth b.pyth \
        --loss dist kd=0.5 --alpha 0.3 --student_model pruned.pyth

Overrides (KEY VALUE) are of the student. Every option is a key of the node DISTILLATION
(python -m slowfast.config DISTILLATION). A run that was interrupted goes on.
"""

import argparse
from functools import partial

from slowfast.config import KeyOption, add_cfg_arguments, load_cfg_from_args, parse_args
from slowfast.utils.errors import one_line_errors
from slowfast.utils.logging import setup_logging
from slowfast.utils.parser import tool_parser
from slowfast.utils.threads import limit_spinning

CACHED = {"DISTILLATION.CACHE_TEACHER": True, "DATA.FIXED_VIEWS": True}


def parser() -> argparse.ArgumentParser:
    found = tool_parser(__doc__)
    add, key = found.add_argument, partial(found.add_argument, action=KeyOption)
    add("--student_cfg", nargs="+", default=[], metavar="YAML", help="the same as --cfg")
    key("--student_model", key="TRAIN.CHECKPOINT_FILE_PATH",
        help="weights to start from, pruned or not (default: fresh ones)")  # fmt: skip
    key("--teacher_model", nargs="+", key="DISTILLATION.TEACHER_CHECKPOINTS")
    key("--teacher_cfg", nargs="+", metavar="YAML", key="DISTILLATION.TEACHER_CFG_FILES")
    key("--loss", nargs="+", metavar="NAME[=WEIGHT]", key="DISTILLATION.LOSSES")
    key("--alpha", key="DISTILLATION.ALPHA")
    key("--temperature", key="DISTILLATION.TEMPERATURE")
    key("--warmup_epochs", key="DISTILLATION.WARMUP_EPOCHS")
    key("--cache_teacher", nargs=0, pairs=lambda _: CACHED,
        help="ask the teachers once; every epoch shows the same views")  # fmt: skip
    add("--runtime", default="eager", help="what times a clip: eager, onnxruntime or openvino")
    add_cfg_arguments(found)
    return found


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv, parser())
    with one_line_errors(traceback=args.traceback):
        args.cfg = [*args.student_cfg, *args.cfg]
        cfg = load_cfg_from_args(args)
        limit_spinning()
        setup_logging(cfg.OUTPUT_DIR)
        from slowfast.compression.distillation.run import run
        from slowfast.deploy.measure import build_latency, build_machine
        from slowfast.reports.compression import rows_table

        latency = partial(build_latency, runtime=args.runtime)
        report = run(cfg, latency=latency, machine=build_machine(cfg, args.runtime))
        rows_table(report["rows"], f"Distilled by {', '.join(report['losses'])}").show()
        print("\n".join(f"{name}: {path}" for name, path in report["files"].items()))


if __name__ == "__main__":
    main()
