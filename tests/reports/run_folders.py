"""Small run folders as the tools leave them, written without running the tools."""

import json

import numpy as np

from slowfast.engine.predictions import Predictions

NAMES = ["take", "put <b>", "screw", "turn"]
COSTS = {"params_m": 2.0, "macs_g": 1.5, "flops_g": 3.0, "size_mib": 8.0}
SMALL = {"params_m": 0.5, "macs_g": 0.25, "flops_g": 0.5, "size_mib": 2.0}
MACHINE = {"runtime": "openvino", "name": "A CPU", "threads": 2, "torch": "2.13.0", "device": "cpu"}


def write_log(folder, *, epochs=4, test=None, lr=0.1):
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for epoch in range(1, epochs + 1):
        place = f"{epoch}/{epochs}"
        lines += [
            {"_type": "train_iter_", "epoch": place, "iter": "5/10", "dt": 0.6, "lr": lr / epoch},
            {"_type": "train_epoch", "epoch": place, "dt": 0.6, "gpu_mem": "0.00G",
             "RAM": "1.50/16.00G", "loss": 3.0 / epoch, "lr": lr / epoch, "top1_err": 50.0},
            {"_type": "val_epoch", "epoch": place, "top1_acc": 40.0 + 10 * epoch,
             "top1_err": 60.0 - 10 * epoch},
        ]  # fmt: skip
    if test is not None:
        lines.append({"_type": "test_final", "top1_acc": test, "top5_acc": 99.0,
                      "mean_class_acc": test - 1, "num_views": 4})  # fmt: skip
    (folder / "json_stats.log").write_text("".join(json.dumps(line) + "\n" for line in lines))


def row(costs, accuracy, p50, agreement=100.0):
    metrics = {"top1_acc": accuracy, "top5_acc": 99.0, "mean_class_acc": accuracy - 1}
    latency = {"p50_ms": p50, "p90_ms": p50 * 1.2, "iqr_ms": 0.1, "runs": 20}
    return costs | {"metric": "top1_acc", "accuracy": accuracy, "agreement": agreement,
                    "metrics": metrics, "latency": latency}  # fmt: skip


def write_pruning(folder, *, before=80.0, after=79.0):
    folder.mkdir(parents=True, exist_ok=True)
    report = {
        "method": "group_norm",
        "goal": {"kind": "macs", "value": 0.5},
        "ratio": 0.5,
        "split": "test",
        "rows": {
            "before": row(COSTS, before, 10.0),
            "cut": row(SMALL, 30.0, 1.1, 40.0),
            "finetuned": row(SMALL, after, 1.0, 95.0),
        },
        "machine": MACHINE,
        "files": {"pruned": f"{folder}/pruned.pyth", "finetuned": f"{folder}/finetuned.pyth"},
    }
    (folder / "prune.json").write_text(json.dumps(report))
    write_log(folder / "finetune", epochs=2)


def predictions(wrong=(), seed=0, names=True):
    """Twelve videos of four classes; those in ``wrong`` are taken for the next class."""
    labels = np.arange(12) % 4
    said = labels.copy()
    said[list(wrong)] = (labels[list(wrong)] + 1) % 4
    scores = np.random.default_rng(seed).uniform(0, 0.1, (12, 4)).astype(np.float32)
    scores[range(12), said] = 0.7
    known = {"action": NAMES} if names else {}
    return Predictions(
        {"action": scores}, {"action": labels}, [f"v{i}.mp4" for i in range(12)], 4, known
    )


def write_set(root):
    """A teacher, the same pruned, and predictions of both."""
    write_log(root / "teacher", test=80.0)
    write_pruning(root / "prune")
    predictions(wrong=[0]).save(root / "teacher/preds")
    predictions(wrong=[0, 1, 5], seed=1).save(root / "prune/preds")
    return root
