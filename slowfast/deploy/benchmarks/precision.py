"""Which precision to use: what is faster, among what answers the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from slowfast.deploy.latency import Timing, speedup
from slowfast.utils.errors import UserError

F32 = "f32"
MIN_AGREEMENT = 99.0  # percent
MIN_CLIPS = 100  # of fewer, one percent is less than a clip


@dataclass(frozen=True)
class Candidate:
    """One way of running a model.

    Attributes:
        name: of it.
        precision: ``f32``, ``bf16`` or ``int8``.
        turns: its time in every turn; those of all candidates are of the same turns.
        agreement: percent of the clips with the class that the model has in f32; ``None`` where
            that was not measured.
    """

    name: str
    precision: str
    turns: Timing
    agreement: float | None


@dataclass(frozen=True)
class Choice:
    """Attributes: the candidate's name, and a sentence about each candidate."""

    name: str
    why: tuple[str, ...]


def choose(
    candidates: Sequence[Candidate], *, clips: int, min_agreement: float = MIN_AGREEMENT
) -> Choice:
    """The fastest candidate that answers as f32 does; f32 unless another is clearly faster.

    A lower precision has to agree with f32 on real clips and to win at least three turns of four
    against the fastest f32.

    Args:
        candidates: at least one in f32.
        clips: that the agreements are of, real ones; of fewer than ``MIN_CLIPS`` no lower
            precision is chosen.
        min_agreement: percent.

    Raises:
        UserError: none is in f32 (and agrees with the model).
    """
    full = [c for c in candidates if c.precision == F32 and _agrees(c, min_agreement)]
    if not full:
        raise UserError("no candidate is in f32 and answers as the model: add --precisions f32")
    safe = min(full, key=lambda c: c.turns.median_s)
    best = safe
    why = [f"{safe.name}: {safe.turns.percentile_ms(50):.3g} ms, the fastest in f32."]
    for candidate in candidates:
        if candidate.precision == F32:
            continue
        reason = _objection(candidate, safe, clips, min_agreement)
        ratio = speedup(safe.turns, candidate.turns)["median"]
        said = f"{candidate.name}: {ratio:.2f} times as fast"
        if candidate.agreement is not None:
            said += f", agrees on {candidate.agreement:.1f} % of {clips} clips"
        why.append(f"{said}: {reason or 'may be used'}.")
        if not reason and candidate.turns.median_s < best.turns.median_s:
            best = candidate
    why.append(f"Chosen: {best.name}.")
    return Choice(best.name, tuple(why))


def _agrees(candidate: Candidate, least: float) -> bool:
    return candidate.agreement is None or candidate.agreement >= least


def _objection(candidate: Candidate, safe: Candidate, clips: int, least: float) -> str:
    """Why not; empty: nothing speaks against it."""
    if candidate.agreement is None:
        return "refused, its agreement was not measured"
    if clips < MIN_CLIPS:
        return f"refused, an agreement of less than {MIN_CLIPS} clips says too little"
    if not candidate.agreement >= least:
        return f"refused, less than {least:g} %"
    if not speedup(safe.turns, candidate.turns)["q25"] > 1:
        return "not chosen, it does not win three turns of four"
    return ""
