"""Loading weights with an account of what fitted and what did not."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from slowfast.checkpoint.io import CheckpointError

logger = logging.getLogger(__name__)

NAMES_SHOWN = 8
Shape = tuple[int, ...]


class CheckpointMismatch(CheckpointError):  # noqa: N818 (says what is wrong)
    """Weights that do not belong to this model; the message lists names and the fix."""


@dataclass
class MatchReport:
    """What became of every entry of a file and of a model.

    Attributes:
        loaded: names taken over.
        missing: in the model only: they keep their fresh values.
        unexpected: in the file only: ignored.
        mismatched: name -> shape in the file, shape in the model: not loaded.
        heads: the classifiers among ``mismatched``, left fresh for another set of classes.
        share: part of the model's parameters that was loaded, in [0, 1], counting numbers and
            leaving out ``heads``.
    """

    loaded: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    mismatched: dict[str, tuple[Shape, Shape]] = field(default_factory=dict)
    heads: list[str] = field(default_factory=list)
    share: float = 0.0

    def summary(self) -> str:
        """One line."""
        return (
            f"{len(self.loaded)} entries loaded, {self.share:.1%} of the parameters; "
            f"{len(self.missing)} missing, {len(self.mismatched)} of another shape, "
            f"{len(self.unexpected)} unexpected"
        )

    def table(self) -> str:
        """The summary, a line per classifier skipped, and the names of whatever did not fit."""
        lines = [self.summary()]
        for name in self.heads:
            theirs, ours = self.mismatched[name]
            lines.append(f"  skipped {name}: {theirs[0]} classes in the file, {ours[0]} here")
        others = [n for n in self.mismatched if n not in self.heads]
        lines += _listed("another shape", [_shapes(n, *self.mismatched[n]) for n in others])
        lines += _listed("missing in the file", self.missing)
        lines += _listed("not in the model", self.unexpected)
        return "\n".join(lines)


def load_matching(
    model: nn.Module,
    state: Mapping[str, Tensor],
    *,
    min_share: float = 0.5,
    source: str = "the checkpoint",
) -> MatchReport:
    """Load the entries of equal name and shape: to start training from these weights.

    A classifier for another number of classes is skipped and reported.

    Args:
        model: changed in place.
        state: ``name -> tensor``, in the model's names (see
            :func:`slowfast.checkpoint.convert.read_weights`).
        min_share: smallest share of the parameters that must load, ``[0, 1]``
            (``TRAIN.CHECKPOINT_MIN_LOADED``).
        source: what to call the weights in messages: their path.

    Raises:
        CheckpointMismatch: less than ``min_share`` fitted; the model is unchanged.
    """
    report = compare(model, state)
    if report.share < min_share:
        raise CheckpointMismatch(
            f"only {report.share:.1%} of the model's parameters are in {source}, less than "
            f"TRAIN.CHECKPOINT_MIN_LOADED {min_share:.0%}. {_advice(model, state)}\n"
            + report.table()
        )
    model.load_state_dict({name: state[name] for name in report.loaded}, strict=False)
    logger.info("%s: %s", source, report.table())
    return report


def load_strict(
    model: nn.Module, state: Mapping[str, Tensor], *, source: str = "the checkpoint"
) -> MatchReport:
    """Load everything or nothing: to test, resume or export.

    The counter ``num_batches_tracked`` may be missing: caffe2 files have none, nothing reads it.

    Raises:
        CheckpointMismatch: an entry is missing, left over or of another shape; the model is
            unchanged.
    """
    report = compare(model, state)
    report.missing = [n for n in report.missing if not n.endswith("num_batches_tracked")]
    if report.missing or report.unexpected or report.mismatched:
        raise CheckpointMismatch(
            f"{source} does not fit this model. {_advice(model, state, report)}\n" + report.table()
        )
    model.load_state_dict({name: state[name] for name in report.loaded}, strict=False)
    return report


def compare(model: nn.Module, state: Mapping[str, Tensor]) -> MatchReport:
    """What loading ``state`` would do, without doing it."""
    own = model.state_dict()
    report = MatchReport(unexpected=[name for name in state if name not in own])
    for name, tensor in own.items():
        if name not in state:
            report.missing.append(name)
        elif state[name].shape != tensor.shape:
            report.mismatched[name] = (tuple(state[name].shape), tuple(tensor.shape))
        else:
            report.loaded.append(name)
    report.heads = [name for name in classifier_entries(model) if name in report.mismatched]
    loaded, heads = set(report.loaded), set(report.heads)
    sizes = {n: p.numel() for n, p in model.named_parameters() if n not in heads}
    total = sum(sizes.values())
    report.share = sum(size for n, size in sizes.items() if n in loaded) / total if total else 0.0
    return report


def classifier_entries(model: nn.Module) -> list[str]:
    """State-dict names of the layers whose width is the number of classes."""
    layers = getattr(model, "classifiers", {}).values()
    ours = {id(parameter) for layer in layers for parameter in layer.parameters()}
    return [name for name, parameter in model.named_parameters() if id(parameter) in ours]


def clear_names(state: Mapping[str, Tensor], patterns: tuple[str, ...]) -> dict[str, Tensor]:
    """Remove the first occurrence of each pattern from every name that has it.

    ``TRAIN.CHECKPOINT_CLEAR_NAME_PATTERN``: for weights saved inside a wrapper.

    Raises:
        CheckpointMismatch: two entries would get the same name.
    """
    cleared: dict[str, Tensor] = {}
    for name, tensor in state.items():
        new = name
        for pattern in patterns:
            new = new.replace(pattern, "", 1)
        if new in cleared:
            raise CheckpointMismatch(
                f"TRAIN.CHECKPOINT_CLEAR_NAME_PATTERN {patterns} gives two entries the name "
                f"{new!r}: use a longer pattern"
            )
        cleared[new] = tensor
    return cleared


def _advice(
    model: nn.Module, state: Mapping[str, Tensor], report: MatchReport | None = None
) -> str:
    if report is not None and report.heads and set(report.heads) == set(report.mismatched):
        theirs, ours = report.mismatched[report.heads[0]]
        return f"It has {theirs[0]} classes: set MODEL.NUM_CLASSES to that, not {ours[0]}."
    if not set(state) & set(model.state_dict()):
        first = next(iter(state), None)
        return (
            f"No name agrees (its first is {first!r}): check MODEL.MODEL_NAME, "
            "TRAIN.CHECKPOINT_TYPE (pytorch, caffe2) and TRAIN.CHECKPOINT_CLEAR_NAME_PATTERN."
        )
    return "Use the config the weights were trained with (a checkpoint carries it as `cfg`)."


def _shapes(name: str, theirs: Shape, ours: Shape) -> str:
    return f"{name} {theirs} in the file, {ours} here"


def _listed(title: str, names: list[str]) -> list[str]:
    if not names:
        return []
    more = f", ... {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else ""
    return [f"  {title}: {', '.join(names[:NAMES_SHOWN])}{more}"]


def fit_shapes(state: Mapping[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """Add or drop trailing axes of length 1 where only they differ from the model's shapes.

    caffe2 stores a linear layer as a 1x1x1 convolution, or the reverse.
    """
    shapes = {name: tensor.shape for name, tensor in model.state_dict().items()}
    fitted = {}
    for name, tensor in state.items():
        shape = shapes.get(name, tensor.shape)
        if tensor.shape != shape and _without_tail(tensor.shape) == _without_tail(shape):
            tensor = tensor.reshape(shape)
        fitted[name] = tensor
    return fitted


def _without_tail(shape: torch.Size) -> Shape:
    sizes = list(shape)
    while sizes and sizes[-1] == 1:
        sizes.pop()
    return tuple(sizes)
