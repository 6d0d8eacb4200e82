#!/usr/bin/env python3
r"""Remove channels of a trained network, finetune what is left, and say what it is worth.

    python tools/prune.py --cfg configs/MECCANO/SLOWFAST_8x8_R50.yaml \
        --model_path checkpoint.pyth --prune_ratio 0.5 --method l1_structured

    python tools/prune.py --cfg ... --model_path ... --target_macs 0.5 --method taylor \
        --scope global --round_to 8 --finetune_epochs 20 OUTPUT_DIR runs/pruned

    python tools/prune.py --cfg ... --model_path ... --target_latency_ms 20 --runtime openvino

Every option is a key of the node PRUNING (python -m slowfast.config PRUNING).
"""

import argparse
from functools import partial

from slowfast.config import (
    KeyOption,
    add_cfg_arguments,
    all_keys,
    load_cfg_from_args,
    parse_args,
)
from slowfast.utils.errors import one_line_errors
from slowfast.utils.logging import setup_logging
from slowfast.utils.parser import tool_parser
from slowfast.utils.threads import limit_spinning

KEYS = {
    "model_path": "CHECKPOINT_FILE_PATH", "method": "PRUNING_METHOD", "runtime": "RUNTIME",
    "round_to": "ROUND_TO", "iterative_steps": "ITERATIVE_STEPS", "step_epochs": "STEP_EPOCHS",
    "sparse_epochs": "SPARSE_EPOCHS", "eval_split": "EVAL_SPLIT",
}  # fmt: skip
GOALS = {
    "prune_ratio": "PRUNING_RATE", "target_macs": "TARGET_MACS",
    "target_params": "TARGET_PARAMS", "target_latency_ms": "TARGET_LATENCY_MS",
}  # fmt: skip
SCOPES = ("local", "global", "isomorphic")


def goal(name: str, value: str) -> dict[str, str]:
    """One goal in place of all that a YAML may set."""
    targets = {f"PRUNING.{key}": "0.0" for key in GOALS.values() if key.startswith("TARGET")}
    return targets | {f"PRUNING.{name}": value}


def parser() -> argparse.ArgumentParser:
    found = tool_parser(__doc__)
    add = partial(found.add_argument, action=KeyOption)
    goals = found.add_mutually_exclusive_group()
    for option, key in GOALS.items():
        text = all_keys()[f"PRUNING.{key}"].doc.rstrip(".")
        goals.add_argument(f"--{option}", action=KeyOption, help=text, pairs=partial(goal, key))
    for option, key in KEYS.items():
        add(f"--{option}", key=f"PRUNING.{key}")
    add("--protect", nargs="+", metavar="LAYER", key="PRUNING.PROTECT")
    add("--prune_stems", nargs=0, pairs=lambda _: {"PRUNING.PROTECT_STEMS": False},
        help="stems and first temporal convolutions too")  # fmt: skip
    add("--scope", choices=SCOPES, help="what is ranked together", pairs=lambda scope: {
        "PRUNING.GLOBAL": scope == "global", "PRUNING.ISOMORPHIC": scope == "isomorphic",
    })  # fmt: skip
    add("--finetune_epochs", type=int, help="epochs of training after", pairs=lambda epochs: {
        "PRUNING.PRUNING_MAX_EPOCH": epochs, "PRUNING.FINE_TUNING_AFTER_PRUNING": epochs > 0,
    })  # fmt: skip
    add_cfg_arguments(found)
    return found


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv, parser())
    with one_line_errors(traceback=args.traceback):
        cfg = load_cfg_from_args(args)
        limit_spinning()
        setup_logging(cfg.OUTPUT_DIR)
        from slowfast.compression.pruning.run import run
        from slowfast.deploy.measure import build_latency, build_machine
        from slowfast.reports.compression import rows_table, tradeoff_table

        runtime = cfg.PRUNING.RUNTIME
        report = run(cfg, latency=build_latency(cfg, runtime), machine=build_machine(cfg, runtime))
        if report["tradeoff"]:
            tradeoff_table(report["tradeoff"], "Timed on the way, not finetuned").show()
        title = f"{cfg.PRUNING.PRUNING_METHOD}, {report['ratio']:.1%} of the channels removed"
        rows_table(report["rows"], title).show()
        print("\n".join(f"{name}: {path}" for name, path in report["files"].items()))


if __name__ == "__main__":
    main()
