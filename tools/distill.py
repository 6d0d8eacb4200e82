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

from slowfast.config import add_cfg_arguments, load_cfg_from_args, parse_args
from slowfast.utils.errors import one_line_errors
from slowfast.utils.logging import setup_logging
from slowfast.utils.threads import limit_spinning

KEYS = {
    "teacher_model": "DISTILLATION.TEACHER_CHECKPOINTS",
    "teacher_cfg": "DISTILLATION.TEACHER_CFG_FILES",
    "student_model": "TRAIN.CHECKPOINT_FILE_PATH", "loss": "DISTILLATION.LOSSES",
    "alpha": "DISTILLATION.ALPHA", "temperature": "DISTILLATION.TEMPERATURE",
    "warmup_epochs": "DISTILLATION.WARMUP_EPOCHS",
}  # fmt: skip


def parser() -> argparse.ArgumentParser:
    found = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = found.add_argument
    add("--student_cfg", nargs="+", default=[], metavar="YAML", help="the same as --cfg")
    add("--student_model", help="weights to start from, pruned or not (default: fresh ones)")
    add("--teacher_model", nargs="+", help="checkpoints; the logits of several are averaged")
    add("--teacher_cfg", nargs="+", metavar="YAML",
        help="of each teacher (default: the config in its checkpoint)")  # fmt: skip
    add("--loss", nargs="+", metavar="NAME[=WEIGHT]",
        help="dist (default), kd, kd_zscore, dkd, feature, attention")  # fmt: skip
    add("--alpha", type=float, help="weight of the labels' loss; 1 - alpha weighs the teacher's")
    add("--temperature", type=float, help="that logits are divided by")
    add("--warmup_epochs", type=float, help="in which the teacher's weight rises from 0")
    add("--cache_teacher", action="store_true", help="ask the teachers once: fixed views")
    add("--runtime", default="eager", help="what times a clip: eager, onnxruntime or openvino")
    add("--traceback", action="store_true", help="show errors in full")
    add_cfg_arguments(found)
    return found


def overrides(args: argparse.Namespace) -> list[str]:
    """The options that were given, as ``KEY VALUE`` pairs."""
    given = {key: getattr(args, option) for option, key in KEYS.items()}
    if args.cache_teacher:
        given |= {"DISTILLATION.CACHE_TEACHER": True, "DATA.FIXED_VIEWS": True}
    pairs = [(key, str(value)) for key, value in given.items() if value is not None]
    return [word for pair in pairs for word in pair]


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv, parser())
    with one_line_errors(traceback=args.traceback):
        args.cfg = [*args.student_cfg, *args.cfg]
        args.opts += overrides(args)
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
