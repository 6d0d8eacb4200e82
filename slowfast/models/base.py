"""What every clip classifier offers besides ``forward``."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar

from torch import Tensor, nn

Preds = Tensor | dict[str, Tensor]
"""Per task: a bare tensor when a model has one task, ``{task: tensor}`` when it has several."""

NumClasses = int | Mapping[str, int]
"""Classes of the one task, or ``{task: classes}``, e.g. ``{"verb": 97, "noun": 300}``."""

ACTIVATIONS = ("softmax", "sigmoid", "none")


def check_head_act(act: str) -> str:
    """``act`` itself, when it is one of ``ACTIVATIONS``."""
    if act not in ACTIVATIONS:
        raise ValueError(f"MODEL.HEAD_ACT is {act!r}: give one of {ACTIVATIONS}")
    return act


class ClipModel(nn.Module):
    """A clip classifier in two halves, so that heads can be swapped and features regressed.

    Attributes:
        num_features: width of what :meth:`forward_features` returns.
        head_act: how :meth:`predict` turns logits into scores, one of ``ACTIVATIONS``.
        is_pruned: whether layers are narrower than the config says; a checkpoint of the model
            then carries the table of its widths.
        fixed_widths: name patterns (as of files) of layers that must keep the number of channels
            they give because the code around them counts on it, e.g. to split it into heads.
    """

    num_features: int
    head_act: str = "softmax"
    is_pruned: bool = False
    fixed_widths: ClassVar[tuple[str, ...]] = ()

    @property
    @abstractmethod
    def classifiers(self) -> dict[str, nn.Linear]:
        """Task -> the layer whose width is its number of classes.

        Never pruned, replaced to finetune. A single-task model has the one key ``"action"``.
        """

    @abstractmethod
    def forward_features(self, clips: Sequence[Tensor]) -> Tensor:
        """``[(B, C, T_p, H, W)]``, one per pathway -> pooled features ``(B, num_features)``."""

    @abstractmethod
    def forward_head(self, features: Tensor) -> Preds:
        """``(B, num_features)`` -> logits ``(B, num_classes)`` (of every task)."""

    def forward(self, clips: Sequence[Tensor]) -> Preds:
        """Logits ``(B, num_classes)`` (of every task), in training and evaluation mode alike."""
        return self.forward_head(self.forward_features(clips))

    def predict(self, clips: Sequence[Tensor]) -> Preds:
        """Scores ``(B, num_classes)`` (of every task): what testing combines over views.

        Probabilities for ``head_act`` softmax and sigmoid.
        """
        return activate(self.forward(clips), self.head_act)

    def score(self, clips: Sequence[Tensor]) -> tuple[Preds, Preds]:
        """What :meth:`forward` and :meth:`predict` give, of one pass through the network."""
        logits = self(clips)
        return logits, activate(logits, self.head_act)


def activate(logits: Preds, act: str) -> Preds:
    """``softmax``, ``sigmoid`` or ``none`` over the last axis, of every task."""
    if isinstance(logits, dict):
        return {task: _activate(value, act) for task, value in logits.items()}
    return _activate(logits, act)


def _activate(logits: Tensor, act: str) -> Tensor:
    if act == "softmax":
        return logits.softmax(dim=-1)
    return logits.sigmoid() if act == "sigmoid" else logits
