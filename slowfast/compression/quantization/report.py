"""What a quantisation cost and what it brought, in numbers and in plain words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from slowfast.compression.quantization.fallback import Fallback

LISTED = 8
Row = dict[str, Any]
Seconds = Sequence[float]


def timing_row(seconds: Seconds) -> Row:
    """``p50_ms``, ``p90_ms``, ``iqr_ms``, ``runs`` and ``clips_per_s`` of runs of one clip."""
    low, half, high, slow = np.percentile(seconds, [25, 50, 75, 90])
    return {
        "p50_ms": float(half) * 1e3,
        "p90_ms": float(slow) * 1e3,
        "iqr_ms": float(high - low) * 1e3,
        "runs": len(seconds),
        "clips_per_s": float(1 / half),
    }


def speedup(reference: Seconds, other: Seconds) -> dict[str, float]:
    """How many times faster ``other`` is, turn by turn: median and quartiles."""
    ratios = np.asarray(reference) / np.asarray(other)
    low, half, high = np.percentile(ratios, [25, 50, 75])
    return {"median": float(half), "q25": float(low), "q75": float(high)}


def verdict(seconds: Mapping[str, Seconds], name: str) -> Row:
    """Whether one model is faster than each of the others it took turns with.

    Faster is what wins at least three turns of four. One that does so only against some is not
    called faster.

    Args:
        seconds: model -> its runs, of the same turns.
        name: the model in question.

    Returns:
        ``faster``, ``speedup`` over each other model, and ``sentences`` that say it.
    """
    ours = timing_row(seconds[name])["p50_ms"]
    faster, speedups, sentences = True, {}, []
    for other, runs in seconds.items():
        if other == name:
            continue
        found = speedups[other] = speedup(runs, seconds[name])
        theirs = timing_row(runs)["p50_ms"]
        times = f"{ours:.3g} ms a clip, {other} {theirs:.3g} ms"
        if found["q25"] > 1:
            sentences.append(f"{name} is {found['median']:.2f} times as fast as {other}: {times}.")
        else:
            faster = False
            wins = float(np.mean(np.asarray(runs) > np.asarray(seconds[name])))
            sentences.append(
                f"{name} is NOT faster than {other} on this machine: {times}; it won {wins:.0%} "
                "of the turns."
            )
    return {"faster": faster and bool(speedups), "speedup": speedups, "sentences": sentences}


def accuracy_sentences(
    before: Row,
    after: Row,
    name: str,
    *,
    split: str,
    max_drop: float,
    fallback: Fallback,
    layers: int,
) -> list[str]:
    """What was lost, whether that was allowed, and what stayed in float.

    Args:
        before: row of the float file.
        after: row of the file made.
        name: of its precision.
        split: that their accuracies are of.
        max_drop: points that may be lost.
        fallback: which layers stayed in float.
        layers: of how many.
    """
    lost = before["accuracy"] - after["accuracy"]
    text = f"{name} loses {f'{lost:.2f} points' if lost > 0 else 'nothing'} on the {split} split"
    if lost > max_drop and fallback.tried:
        text += (
            f", MORE than the {max_drop:g} allowed; on the val split, by which layers were "
            f"chosen, it lost {fallback.drop:.2f}"
        )
    sentences = [f"{text}."]
    if kept := fallback.float_layers:
        names = ", ".join(kept[:LISTED]) + (
            f" and {len(kept) - LISTED} more" if len(kept) > LISTED else ""
        )
        sentences.append(f"{len(kept)} of {layers} layers stayed in float: {names}.")
    return sentences
