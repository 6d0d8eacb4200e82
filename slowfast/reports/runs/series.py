"""Numbers over the epochs, from the logs of trainings."""

from __future__ import annotations

from slowfast.reports.runs.facts import METRICS, Training
from slowfast.reports.stats import Record, epoch_of, series

Points = list[tuple[float, float]]
PERCENT = {"top1_acc": "top-1 accuracy (%)", "map": "mAP (%)", "r2": "r2"}


def over_epochs(training: Training, kind: str, key: str) -> Points:
    """``(epoch, value)`` of a key of the ``kind`` records: ``"train"`` or ``"val"``."""
    return list(zip(*series(training.stats.get(f"{kind}_epoch", []), key), strict=True))


def validation(training: Training) -> tuple[str, Points]:
    """Name and values of the accuracy on the validation split; of errors, what is left to 100."""
    for key in METRICS:
        points = over_epochs(training, "val", key)
        if points:
            return PERCENT[key], points
    errors = over_epochs(training, "val", "top1_err")  # PySlowFast's logs
    return PERCENT["top1_acc"], [(epoch, 100.0 - error) for epoch, error in errors]


def learning_rates(training: Training) -> Points:
    """``(epoch, rate)``, within epochs too where the log has them."""
    points = {}
    for record in training.stats.get("train_iter_", []):
        place = _place(record)
        if place is not None and "lr" in record:
            points[place] = float(record["lr"])
    if not points:
        return over_epochs(training, "train", "lr")
    return sorted(points.items())


def _place(record: Record) -> float | None:
    """Epochs done at a record of an iteration: ``"3/15"`` and ``"20/80"`` -> 2.25."""
    done, _, total = str(record.get("iter", "")).partition("/")
    if "epoch" not in record or not total:
        return None
    return epoch_of(record) - 1 + int(done) / int(total)


def epoch_minutes(training: Training) -> float | None:
    """Median duration of an epoch of training."""
    found = []
    iterations = {
        epoch_of(r): int(str(r["iter"]).partition("/")[2] or 0)
        for r in training.stats.get("train_iter_", [])
        if "iter" in r and "epoch" in r
    }
    for record in training.stats.get("train_epoch", []):
        count = iterations.get(epoch_of(record), 0)
        if "dt" in record and count:
            found.append(float(record["dt"]) * count / 60)
    return sorted(found)[len(found) // 2] if found else None


def peak_memory(training: Training) -> tuple[str, float] | None:
    """Where a training's memory lay, ``GPU`` or ``RAM``, and its peak in GiB."""
    records = training.stats.get("train_epoch", []) + training.stats.get("val_epoch", [])
    for title, key in (("GPU", "gpu_mem"), ("RAM", "RAM")):
        values = [_gib(str(record[key])) for record in records if key in record]
        if values and max(values) > 0:
            return title, max(values)
    return None


def _gib(text: str) -> float:
    """``"1.94/23.54G"`` or ``"1.94G"`` -> 1.94."""
    try:
        return float(text.partition("/")[0].rstrip("GMB "))
    except ValueError:
        return 0.0


def thinned(points: Points, most: int) -> Points:
    """At most about ``most`` points, first and last among them."""
    step = -(-len(points) // most) if points else 1
    return points[:-1:step] + points[-1:]
