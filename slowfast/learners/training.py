"""How a learner's arguments become a training and an evaluation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor
from yacs.config import CfgNode

from slowfast.checkpoint.io import checkpoint_path, list_checkpoints, read_checkpoint
from slowfast.engine.batches import BatchPreparation
from slowfast.engine.evaluate import evaluate
from slowfast.engine.hook import Hook, State
from slowfast.engine.hooks import JsonLog, LogStats, TensorBoard
from slowfast.engine.losses import binary_cross_entropy, cross_entropy
from slowfast.engine.objective import Criterion, Supervised
from slowfast.engine.optimizer import make_optimizer, param_groups
from slowfast.engine.predictions import Predictions
from slowfast.engine.schedule import LrSchedule, cosine, steps
from slowfast.engine.trainer import Loader, Trainer
from slowfast.engine.weights import ResumePoint, build_config_check, resume
from slowfast.learners.learner import LearnerError
from slowfast.models.base import ClipModel

LOG_PERIOD = 10  # batches
STATS_FILE = "json_stats.log"


def one_hot_bce(logits: Tensor, labels: Tensor) -> Tensor:
    """Sigmoid cross entropy of every class against all others, from class ids ``(B,)``."""
    return binary_cross_entropy(logits, F.one_hot(labels, logits.shape[-1]))


@dataclass(frozen=True)
class LossKind:
    """A loss of class ids. Attributes: the function; how scores are made of its logits."""

    criterion: Criterion
    head_act: str


LOSSES = {
    "cross_entropy": LossKind(cross_entropy, "softmax"),
    "bce": LossKind(one_hot_bce, "sigmoid"),
}

OPTIMIZERS = ("adam", "sgd")


def constant(lr: float, epochs: float) -> LrSchedule:
    """``lr`` all along."""
    return lambda epoch: lr


def falling_steps(lr: float, epochs: float) -> LrSchedule:
    """A tenth of it after half of the epochs, a hundredth after three quarters."""
    return steps(lr, (0.0, epochs / 2, epochs * 3 / 4), (1.0, 0.1, 0.01))


SCHEDULES: Mapping[str, Callable[[float, float], LrSchedule]] = {
    "": constant,
    "cosine": cosine,
    "step": falling_steps,
}
"""Name -> ``(lr, epochs)`` to the rate by epoch."""


@dataclass
class Scoring:
    """A model, a loader and how to score one on the other.

    Attributes:
        model: scored.
        loader: of clips in order.
        prepare: for the model.
        criterion: for the loss.
    """

    model: ClipModel
    loader: Loader
    prepare: BatchPreparation
    criterion: Criterion

    def __call__(self) -> tuple[Predictions | None, dict[str, float]]:
        """Predictions and metrics, as validation hooks want them."""
        predictions = evaluate(
            self.model,
            self.loader,
            prepare=self.prepare,
            criterion=self.criterion,
            by_position=True,  # clips may be larger than in training
        )
        assert predictions is not None  # this is the only process
        return predictions, predictions.metrics((1,))


def as_results(metrics: Mapping[str, float]) -> dict[str, float]:
    """``accuracy``, a share in 0..1, and ``loss`` from the metrics of an evaluation."""
    return {"accuracy": metrics["top1_acc"] / 100, "loss": metrics["loss"]}


@dataclass
class Outcome(Hook):
    """Keeps what a training came to.

    Attributes:
        found: ``loss`` of the last epoch, ``val_accuracy`` and ``val_loss`` after it.
    """

    found: dict[str, float] = field(default_factory=dict)

    def on_stats(self, trainer: Trainer, stats: State) -> None:
        if stats["_type"] == "train_epoch":
            self.found["loss"] = float(stats["loss"])

    def after_evaluate(self, trainer: Trainer, predictions: Predictions | None) -> None:
        results = as_results(trainer.metrics)
        self.found |= {f"val_{name}": value for name, value in results.items()}


def log_hooks(logging_path: Path | str) -> list[Hook]:
    """What publishes statistics, and writes them where a path is given."""
    hooks: list[Hook] = [LogStats(LOG_PERIOD, ks=(1,))]
    if logging_path:
        hooks += [JsonLog(Path(logging_path) / STATS_FILE), TensorBoard(logging_path)]
    return hooks


def find_resume_point(folder: Path, epochs: int) -> ResumePoint:
    """The checkpoint in ``folder`` after so many epochs.

    Raises:
        LearnerError: there is none; lists those there are.
        CheckpointError: it cannot be read.
    """
    path = checkpoint_path(folder, epochs - 1)
    if not path.is_file():
        there = [file.name for file in list_checkpoints(folder)]
        raise LearnerError(
            f"checkpoint_load_iter is {epochs}, but there is no {path}; {path.parent} has "
            f"{', '.join(there) or 'no checkpoint'}"
        )
    return ResumePoint(path, read_checkpoint(path))


def seeded(seed: int, build: Callable[[], ClipModel]) -> ClipModel:
    """What ``build`` gives with random numbers of ``seed``; torch's own are left as they are."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return build()


@dataclass(frozen=True)
class Course:
    """How a network is trained.

    Attributes:
        lr: learning rate.
        schedule: one of ``SCHEDULES``.
        optimizer: one of ``OPTIMIZERS``.
        momentum: of it.
        weight_decay: of all parameters.
        loss: one of ``LOSSES``.
        seed: of what is drawn.
        load_epoch: go on with the checkpoint after so many epochs; 0: begin.
        folder: of checkpoints.
    """

    lr: float
    schedule: str
    optimizer: str
    momentum: float
    weight_decay: float
    loss: str
    seed: int
    load_epoch: int
    folder: Path

    def trainer(
        self,
        model: ClipModel,
        loader: Loader,
        prepare: BatchPreparation,
        hooks: list[Hook],
        epochs: float,
    ) -> Trainer:
        """The loop over ``loader``.

        Args:
            model: on the device of ``prepare``.
            loader: of training clips.
            prepare: for the model.
            hooks: of the loop.
            epochs: how long it will run, for the learning rate.
        """
        optimizer = make_optimizer(
            param_groups(model, weight_decay=self.weight_decay, bn_weight_decay=self.weight_decay),
            method=self.optimizer,
            lr=self.lr,
            momentum=self.momentum,
            nesterov=False,
            betas=(self.momentum, 0.999),
        )
        return Trainer(
            Supervised(model, LOSSES[self.loss].criterion),
            optimizer,
            SCHEDULES[self.schedule](self.lr, epochs),
            loader,
            batch_transform=prepare.transform,
            hooks=hooks,
            device=prepare.device,
            seed=self.seed,
        )

    def build_start(self, cfg: CfgNode, trainer: Trainer, epochs: float) -> int:
        """The epoch to begin with; a checkpoint to go on with is loaded.

        Args:
            cfg: of the network.
            trainer: to load it into.
            epochs: where training ends.

        Raises:
            LearnerError: there is none, or nothing is left to train.
            ConfigMismatchError: it is of another network.
        """
        if not self.load_epoch:
            return 0
        if self.load_epoch >= epochs:
            raise LearnerError(
                f"checkpoint_load_iter is {self.load_epoch}, and training ends after {epochs:g} "
                "epochs: nothing is left to train"
            )
        point = find_resume_point(self.folder, self.load_epoch)
        build_config_check(cfg, point.checkpoint, point.path)
        return resume(trainer, point)
