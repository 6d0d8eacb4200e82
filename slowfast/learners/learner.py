"""What all learners offer, and what their arguments may be."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Self

from slowfast.learners.types import Category
from slowfast.utils.errors import UserError


class LearnerError(UserError, ValueError):
    """Something asked of a learner that it cannot do; the text says what to ask instead."""


class Learner(ABC):
    """A model together with all that is done with it."""

    @abstractmethod
    def fit(
        self,
        dataset: Any,
        val_dataset: Any = None,
        epochs: int | None = None,
        steps: int | None = None,
    ) -> dict[str, float]:
        """Train on ``dataset``; what came of it, by name."""

    @abstractmethod
    def eval(self, dataset: Any, steps: int | None = None) -> dict[str, float]:
        """Score on ``dataset``."""

    @abstractmethod
    def infer(self, batch: Any) -> list[Category]:
        """What is seen in every element of ``batch``."""

    @abstractmethod
    def save(self, path: Path | str) -> Self:
        """Write weights and their description to the folder ``path``."""

    @abstractmethod
    def load(self, path: Path | str) -> Self:
        """Take back what :meth:`save` wrote."""

    @abstractmethod
    def optimize(self, do_constant_folding: bool = False) -> Self:
        """Make :meth:`infer` faster."""

    @abstractmethod
    def reset(self) -> None:
        """Forget what was seen, not what was learned."""


def check_kinds(values: Mapping[str, Any], kinds: Mapping[str, tuple[type, ...]]) -> None:
    """Raise when a value is of another kind than its name asks for.

    Raises:
        LearnerError: names it, and says what it should be.
    """
    for name, allowed in kinds.items():
        value = values[name]
        is_flag = isinstance(value, bool) and bool not in allowed  # Python takes it for a number
        if is_flag or not isinstance(value, allowed):
            wanted = " or ".join(
                "None" if kind is type(None) else kind.__name__ for kind in allowed
            )
            raise LearnerError(f"{name} is {value!r}, a {type(value).__name__}: give a {wanted}")


def check_choices(values: Mapping[str, Any], choices: Mapping[str, Collection[str]]) -> None:
    """Raise when a value is none of those its name allows.

    Raises:
        LearnerError: names it, and lists them.
    """
    for name, known in choices.items():
        if values[name] not in known:
            listing = ", ".join(map(repr, known))
            raise LearnerError(f"{name} is {values[name]!r}: give one of {listing}")


def check_lowest(values: Mapping[str, Any], lowest: Mapping[str, float]) -> None:
    """Raise when a number is below the smallest that makes sense; ``None`` is passed over.

    Raises:
        LearnerError: names it.
    """
    for name, low in lowest.items():
        if values[name] is not None and not values[name] >= low:  # also of "not a number"
            raise LearnerError(f"{name} is {values[name]}: it must be {low} or more")
