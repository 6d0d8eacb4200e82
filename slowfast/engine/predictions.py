"""What an evaluation returns, and its files."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from slowfast.metrics import (
    ClassRow,
    combined_ranks,
    confusion_matrix,
    mean_average_precision,
    mean_class,
    mean_class_accuracy,
    per_class_table,
    rank_accuracy,
    topk_accuracy,
)
from slowfast.metrics.epic import log_probabilities
from slowfast.utils.archives import check_scores_archive
from slowfast.utils.errors import UserError
from slowfast.utils.files import write_atomically, write_text

SINGLE_TASK = "action"
"""What the one task of a single-task model is called, as in ``ClipModel.classifiers``, and what
all tasks of a model with several are called together: a verb and a noun are an action."""

_WANTED = "give an .npz that a test wrote (TEST.SAVE_RESULTS_PATH)"


class PredictionsError(UserError, ValueError):
    """A file holds no predictions that can be read."""


class ForeignArraysError(PredictionsError):
    """A file holds arrays, but no predictions."""


@dataclass(frozen=True)
class Predictions:
    """Scores of every video of a split, views combined.

    Attributes:
        scores: task -> ``(N, C)`` float32; for ``sum`` the sum over views divided by their
            number, so probabilities stay probabilities (the ranking is that of the sum).
        labels: task -> ``(N,)`` class ids, or ``(N, C)`` of 0 and 1 for multi-label data. A task
            whose labels are not known, as in a challenge's test set, is absent: no metrics.
        names: of the ``N`` videos.
        num_views: views combined per video.
        class_names: task -> ``C`` names, where known.
        loss: mean label loss over clips, when a criterion was given.
        task_losses: the same of each task, when there are several.
        dataset_metrics: what the dataset's own rules give beside the usual metrics, by name.
    """

    scores: dict[str, NDArray[np.float32]]
    labels: dict[str, NDArray[Any]]
    names: list[str]
    num_views: int = 1
    class_names: dict[str, list[str]] = field(default_factory=dict)
    loss: float | None = None
    task_losses: dict[str, float] = field(default_factory=dict)
    dataset_metrics: dict[str, float] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.names)

    def metrics(self, ks: Sequence[int] = (1, 5)) -> dict[str, float]:
        """Every number that is reported, by name, in percent (losses in nats).

        Per task ``top{k}_acc``, ``top{k}_err``, ``mean_class_{precision,recall,f1,acc}``; with
        several tasks those carry the task's name (``verb_top1_err``). ``action_top{k}_acc`` is
        then the share of videos whose classes of all tasks are together among the ``k`` best
        combinations (unless one of the tasks is the action itself); ``top{k}_acc`` without a name
        is the same number. Multi-label data have ``map`` instead. ``k`` in a name stays ``k`` when
        there are fewer classes.

        Args:
            ks: each at least 1.
        """
        found: dict[str, float] = {}
        several = len(self.scores) > 1
        for task in self.labels:
            prefix = f"{task}_" if several else ""
            found |= {f"{prefix}{k}": v for k, v in self._task_metrics(task, ks).items()}
        if several:
            found |= self._action_metrics(ks)
        if self.loss is not None:
            found["loss"] = self.loss
            found |= {f"loss_{task}": loss for task, loss in self.task_losses.items()}
        return found | self.dataset_metrics

    def _action_metrics(self, ks: Sequence[int]) -> dict[str, float]:
        """Accuracies of all tasks together, under both of their names."""
        if set(self.labels) != set(self.scores) or any(x.ndim > 1 for x in self.labels.values()):
            return {}
        labels = {task: torch.from_numpy(value) for task, value in self.labels.items()}
        if SINGLE_TASK in self.scores:
            scores = torch.from_numpy(self.scores[SINGLE_TASK])
            found = _accuracies(topk_accuracy(scores, labels[SINGLE_TASK], ks))
        else:
            logs = {task: torch.from_numpy(self.log_probabilities(task)) for task in labels}
            found = _accuracies(rank_accuracy(combined_ranks(logs, labels, max(ks)), ks))
        return {f"{SINGLE_TASK}_{name}": value for name, value in found.items()} | found

    def log_probabilities(self, task: str) -> NDArray[np.float64]:
        """Log-probabilities ``(N, C)`` of ``task``, normalised by row.

        Scores that all lie in 0..1 (softmax, sigmoid, averages or maxima of them) are taken for
        probabilities, others for logits.
        """
        scores = self.scores[task]
        bounded = bool(scores.size and scores.min() >= 0 and scores.max() <= 1 + 1e-6)
        return log_probabilities(scores, are_probabilities=bounded)

    def _task_metrics(self, task: str, ks: Sequence[int]) -> dict[str, float]:
        scores = torch.from_numpy(self.scores[task])
        labels = torch.from_numpy(self.labels[task])
        if labels.ndim == 2:
            return {"map": mean_average_precision(scores, labels)}
        confusion = self.confusion(task)
        means = mean_class(confusion)
        return _accuracies(topk_accuracy(scores, labels, ks)) | {
            "mean_class_precision": means.precision,
            "mean_class_recall": means.recall,
            "mean_class_f1": means.f1,
            "mean_class_acc": mean_class_accuracy(confusion),
        }

    def confusion(self, task: str | None = None) -> torch.Tensor:
        """Counts ``(C, C)``, row = label, column = best score, of ``task`` (default: the first)."""
        task = task or next(iter(self.scores))
        scores, labels = self.scores[task], self.labels[task]
        best = torch.from_numpy(scores.argmax(axis=1))  # the lower class of equal ones
        return confusion_matrix(best, torch.from_numpy(labels), scores.shape[1])

    def per_class(self, task: str | None = None) -> list[ClassRow]:
        """The per-class table of ``task`` (default: the first)."""
        task = task or next(iter(self.scores))
        return per_class_table(self.confusion(task), self.class_names.get(task))

    def save(self, path: Path | str, *, extra: Mapping[str, Any] | None = None) -> list[Path]:
        """Write ``<path>.npz`` (all scores) and ``<path>.json`` (for people and other programs).

        No pickle, so anybody may open them. An ending of ``path`` is replaced: PySlowFast's
        ``preds.pkl`` becomes ``preds.npz``.

        Args:
            path: where.
            extra: further entries of the JSON.

        Returns:
            The two files.
        """
        path = Path(path)
        arrays: dict[str, Any] = {"names": np.array(self.names, dtype=np.str_)}
        for task in self.scores:
            arrays[f"scores_{task}"] = self.scores[task]
            if task in self.labels:
                arrays[f"labels_{task}"] = self.labels[task]
            if task in self.class_names:
                arrays[f"classes_{task}"] = np.array(self.class_names[task], dtype=np.str_)
        arrays["num_views"] = np.array(self.num_views)
        files = [path.with_suffix(".npz"), path.with_suffix(".json")]
        write_atomically(files[0], lambda file: np.savez_compressed(file, **arrays))
        write_text(files[1], json.dumps(self._summary() | dict(extra or {}), indent=1) + "\n")
        return files

    def _summary(self) -> dict[str, Any]:
        """Metrics, per-class rows, and every video's label and five best classes."""
        tables = {
            task: [row._asdict() for row in self.per_class(task)]
            for task, labels in self.labels.items()
            if labels.ndim == 1
        }
        videos = [{"name": name, **self._video(i)} for i, name in enumerate(self.names)]
        return {
            "metrics": self.metrics(),
            "num_videos": len(self),
            "num_views": self.num_views,
            "per_class": tables,
            "videos": videos,
        }

    def _video(self, index: int) -> dict[str, Any]:
        row: dict[str, Any] = {}
        for task, scores in self.scores.items():
            best = np.argsort(-scores[index], kind="stable")[:5]
            label = self.labels[task][index].tolist() if task in self.labels else None
            row[task] = {
                "label": label,
                "top": [[int(c), round(float(scores[index, c]), 6)] for c in best],
            }
        return row


def load_predictions(path: Path | str) -> Predictions:
    """The predictions in an ``.npz`` that :meth:`Predictions.save` wrote.

    Raises:
        ForeignArraysError: sound, but of another program.
        PredictionsError: missing or damaged.
    """
    try:
        check_scores_archive(Path(path))
        with np.load(path, allow_pickle=False) as file:
            arrays = {key: file[key] for key in file.files}
    except Exception as error:  # of many kinds: the archive's, and those of the arrays' headers
        raise PredictionsError(f"{path}: cannot be read ({error!s:.300}): {_WANTED}") from error
    tasks = [key.removeprefix("scores_") for key in arrays if key.startswith("scores_")]
    if not tasks or not {"names", "num_views"} <= arrays.keys():
        raise ForeignArraysError(f"{path}: holds no predictions: {_WANTED}")

    def of(prefix: str) -> dict[str, Any]:
        return {task: arrays[prefix + task] for task in tasks if prefix + task in arrays}

    try:
        return Predictions(
            scores=of("scores_"),
            labels=of("labels_"),
            names=arrays["names"].tolist(),
            num_views=int(arrays["num_views"]),
            class_names={task: names.tolist() for task, names in of("classes_").items()},
        )
    except (TypeError, ValueError) as error:
        raise ForeignArraysError(f"{path}: holds other arrays ({error}): {_WANTED}") from error


def metric_mode(name: str) -> str:
    """``"min"`` for errors and losses, ``"max"`` for everything else."""
    return "min" if name.endswith(("err", "loss")) or name.startswith("loss_") else "max"


def _accuracies(accuracy: Mapping[int, float]) -> dict[str, float]:
    errors = {f"top{k}_err": 100.0 - value for k, value in accuracy.items()}
    return errors | {f"top{k}_acc": value for k, value in accuracy.items()}
