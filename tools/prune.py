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

from slowfast.config import add_cfg_arguments, load_cfg_from_args, parse_args
from slowfast.utils.errors import one_line_errors
from slowfast.utils.logging import setup_logging
from slowfast.utils.threads import limit_spinning

KEYS = {
    "model_path": "CHECKPOINT_FILE_PATH", "method": "PRUNING_METHOD",
    "prune_ratio": "PRUNING_RATE", "target_macs": "TARGET_MACS",
    "target_params": "TARGET_PARAMS", "target_latency_ms": "TARGET_LATENCY_MS",
    "runtime": "RUNTIME", "round_to": "ROUND_TO", "protect": "PROTECT",
    "iterative_steps": "ITERATIVE_STEPS", "step_epochs": "STEP_EPOCHS",
    "sparse_epochs": "SPARSE_EPOCHS", "finetune_epochs": "PRUNING_MAX_EPOCH",
    "eval_split": "EVAL_SPLIT",
}  # fmt: skip

GOALS = ("PRUNING_RATE", "TARGET_MACS", "TARGET_PARAMS", "TARGET_LATENCY_MS")


def parser() -> argparse.ArgumentParser:
    found = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = found.add_argument
    add("--model_path", help="checkpoint of the trained network, pruned before or not")
    add("--method", help="l1_structured, l2_structured, fpgm, bn_scale, group_norm, taylor, "
        "hessian or random")  # fmt: skip
    add("--scope", choices=("local", "global", "isomorphic"), help="what is ranked together")
    goal = found.add_mutually_exclusive_group()
    add_goal = goal.add_argument
    add_goal("--prune_ratio", type=float, help="share of the channels to remove")
    add_goal("--target_macs", type=float, help="share of the MACs to keep")
    add_goal("--target_params", type=float, help="share of the parameters to keep")
    add_goal("--target_latency_ms", type=float, help="measured time of a clip to reach")
    add("--runtime", help="what times a clip: eager, onnxruntime or openvino")
    add("--round_to", type=int, help="leave multiples of so many channels")
    add("--protect", nargs="+", metavar="LAYER", help="leave these layers (patterns) their width")
    add("--prune_stems", action="store_true", help="stems and first temporal convolutions too")
    add("--iterative_steps", type=int, help="cuts on the way")
    add("--step_epochs", type=int, help="epochs of training between them")
    add("--sparse_epochs", type=int, help="epochs of sparse training before")
    add("--finetune_epochs", type=int, help="epochs of training after")
    add("--eval_split", choices=("val", "test"), help="that accuracies are of")
    add("--traceback", action="store_true", help="show errors in full")
    add_cfg_arguments(found)
    return found


def overrides(args: argparse.Namespace) -> list[str]:
    """The options that were given, as ``KEY VALUE`` pairs."""
    given = {key: getattr(args, option) for option, key in KEYS.items()}
    if any(given[key] for key in GOALS):  # in place of what the YAML may set
        given |= {key: given[key] or 0.0 for key in GOALS if key.startswith("TARGET")}
    if args.scope:
        given |= {"GLOBAL": args.scope == "global", "ISOMORPHIC": args.scope == "isomorphic"}
    if args.prune_stems:
        given["PROTECT_STEMS"] = False
    if args.finetune_epochs is not None:
        given["FINE_TUNING_AFTER_PRUNING"] = args.finetune_epochs > 0
    pairs = [(f"PRUNING.{key}", str(value)) for key, value in given.items() if value is not None]
    return [word for pair in pairs for word in pair]


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv, parser())
    with one_line_errors(traceback=args.traceback):
        args.opts += overrides(args)
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
