"""Whether an exported file computes what the model it was made from does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from slowfast.deploy.backends import Run, open_run
from slowfast.deploy.export.graph import Graph
from slowfast.deploy.export.info import LOGITS, ExportError, ExportInfo, read_info
from slowfast.deploy.frames import random_clips
from slowfast.models.base import ClipModel, activate

TOLERANCE = 1e-3


class ParityError(ExportError):
    """An exported file that computes something else than its model."""


@dataclass(frozen=True)
class Parity:
    """Differences between a file and its model, on the same clips of noise.

    Attributes:
        clips: compared, in batches of different sizes where the file takes any.
        largest: output of the model, absolute.
        max_difference: of an output.
        max_score_difference: of a probability, where the outputs are or become such; else of an
            output, as a share of ``largest`` where that is above 1.
        top1_agreement: share of the clips (and tasks) with the same best class.
        tolerance: of both, of ``max_difference`` relative to ``largest`` where that is above 1.
    """

    clips: int
    largest: float
    max_difference: float
    max_score_difference: float
    top1_agreement: float
    tolerance: float

    @property
    def holds(self) -> bool:
        """Whether the file may be used; also false of outputs that are no numbers."""
        outputs = self.max_difference <= self.tolerance * max(1.0, self.largest)
        return outputs and self.max_score_difference <= self.tolerance

    def as_dict(self) -> dict[str, Any]:
        """For the description of the file."""
        return {"executed": True, **asdict(self)}


def measure_parity(
    graph: Graph, run: Run, info: ExportInfo, *, tolerance: float = TOLERANCE, seed: int = 0
) -> Parity:
    """Compare what ``run`` computes with ``graph``, on one clip, and on several at once.

    Args:
        graph: the model as it went into the file.
        run: the file.
        info: of the file.
        tolerance: see :class:`Parity`.
        seed: of the clips.
    """
    expected: list[list[Tensor]] = []
    found: list[list[Tensor]] = []
    for batch in (info.batch,) if info.batch else (1, 3):
        clips = random_clips(info, batch, seed=seed + batch)
        with torch.no_grad():
            expected.append(list(graph(*clips)))
        found.append([torch.from_numpy(output) for output in run([c.numpy() for c in clips])])
    return compare(expected, found, info, tolerance)


def compare(
    expected: Sequence[Sequence[Tensor]],
    found: Sequence[Sequence[Tensor]],
    info: ExportInfo,
    tolerance: float = TOLERANCE,
) -> Parity:
    """The differences of outputs: per batch, per task ``(B, num_classes)``."""
    clips = sum(len(batch[0]) for batch in expected)
    pairs = [
        (torch.cat(a), torch.cat(b))
        for a, b in zip(zip(*expected, strict=True), zip(*found, strict=True), strict=True)
    ]
    scores = [(_scores(a, info), _scores(b, info)) for a, b in pairs]
    largest = max(float(a.abs().max()) for a, _ in pairs)
    is_bounded = info.kind != LOGITS or info.head_act != "none"
    same = [(a.argmax(1) == b.argmax(1)).float().mean() for a, b in pairs]
    return Parity(
        clips=clips,
        largest=largest,
        max_difference=_worst(pairs),
        max_score_difference=_worst(scores) / (1.0 if is_bounded else max(1.0, largest)),
        top1_agreement=float(torch.stack(same).mean()),
        tolerance=tolerance,
    )


def _scores(output: Tensor, info: ExportInfo) -> Tensor:
    scores = activate(output, info.head_act) if info.kind == LOGITS else output
    assert isinstance(scores, Tensor)
    return scores


def _worst(pairs: Sequence[tuple[Tensor, Tensor]]) -> float:
    return float(torch.stack([(a - b).abs().max() for a, b in pairs]).max())


def check_parity(
    model: ClipModel, path: Path, *, tolerance: float = TOLERANCE, info: ExportInfo | None = None
) -> Parity:
    """How far the outputs of the file at ``path`` are from those of ``model``.

    Args:
        model: that was exported.
        path: the file.
        tolerance: see :class:`Parity`.
        info: of the file; default: read from beside it.

    Raises:
        ParityError: too far.
    """
    info = info or read_info(path)
    parity = measure_parity(Graph.of(model, info), open_run(path, info), info, tolerance=tolerance)
    return require_parity(parity, path)


def require_parity(parity: Parity, path: Path) -> Parity:
    """``parity`` itself, when it holds.

    Raises:
        ParityError: it does not.
    """
    if not parity.holds:
        raise ParityError(
            f"{path} computes something else than the model it was made from: outputs differ by "
            f"{parity.max_difference:.3g} of {parity.largest:.3g}, scores by "
            f"{parity.max_score_difference:.3g} (tolerance {parity.tolerance:g}), the best class "
            f"agrees in {parity.top1_agreement:.0%} of {parity.clips} clips"
        )
    return parity
