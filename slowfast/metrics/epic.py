"""EPIC-KITCHENS-100 accuracies, as the action recognition challenge computes them.

The challenge (C1-Action-Recognition, Damen et al. 2022, section 4.1) scores a model by its verb and
noun outputs. They are **logits**: actions are ranked by the product of two softmaxes over them, so
probabilities handed in as they are give another action top-5. Three properties of the official
program decide tied and nearly tied scores, and are kept here on purpose:

* classes are ranked by NumPy's default ``argsort``, reversed. It is not stable beyond 16 classes,
  so among equal scores no simple rule (lowest, highest class) holds; only the same call agrees;
* the softmax is normalised over all segments at once and in the precision of the scores, so
  rounding, and underflow of segments whose scores are all far below the largest, are its own;
* the 100 best actions of a segment are ranked a second time, which reorders the tied ones.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Sequence

import numpy as np
import numpy.typing as npt

NUM_VERBS = 97
NUM_NOUNS = 300
TASKS = ("verb", "noun", "action")
ACTION_CLASSES = 100  # verbs, nouns and actions that take part in the ranking of actions
ACTION_VERB_FACTOR = 1000  # the challenge's action id: verb * 1000 + noun

Scores = npt.NDArray[np.floating]
Ids = npt.NDArray[np.int64]

_logger = logging.getLogger(__name__)
_ROWS_AT_ONCE = 64  # segments ranked over all their 97 x 100 pairs together: 10 MB in float64


def action_id(verb: npt.ArrayLike, noun: npt.ArrayLike) -> Ids:
    """The challenge's number of a (verb, noun) pair, elementwise.

    Example:
        >>> action_id([1, 2], [0, 299]).tolist()
        [1000, 2299]
    """
    return np.asarray(verb, dtype=np.int64) * ACTION_VERB_FACTOR + np.asarray(noun, dtype=np.int64)


def rank_classes(scores: Scores, k: int) -> Ids:
    """The ``k`` best classes of every row, best first.

    Args:
        scores: ``(N, C)``, higher is better.
        k: how many; all ``C`` when there are fewer.

    Returns:
        ``(N, min(k, C))`` class ids.
    """
    return np.argsort(scores, axis=-1)[:, ::-1][:, :k]


def rank_actions(
    verb_scores: Scores, noun_scores: Scores, k: int = 5, *, per_row: bool = False
) -> tuple[Ids, Ids, Scores]:
    """The ``k`` best (verb, noun) pairs of every segment, best first.

    Args:
        verb_scores: logits ``(N, V)``.
        noun_scores: logits ``(N, M)``, of the same precision.
        k: pairs per segment, 1 to 100.
        per_row: softmax over each segment alone, in float64, as the anticipation challenge does:
            no underflow between segments. The default is the recognition challenge's softmax over
            the whole array.

    Returns:
        Verbs, nouns and scores (products of probabilities), each ``(N, min(k, 100, V * M))``.
    """
    if not 1 <= k <= ACTION_CLASSES:
        raise ValueError(f"k={k} actions: the challenge ranks 1 to {ACTION_CLASSES} a segment")
    verbs, verb_probs = _top_probabilities(verb_scores, per_row)
    nouns, noun_probs = _top_probabilities(noun_scores, per_row)
    k = min(k, verbs.shape[1] * nouns.shape[1])
    rows = len(verb_scores)
    verb_at, noun_at, clear = _rank_clear_pairs(verb_probs, noun_probs, k)
    for chunk in _chunks(np.flatnonzero(~clear)):
        verb_at[chunk], noun_at[chunk] = _rank_all_pairs(verb_probs[chunk], noun_probs[chunk], k)
    segments = np.arange(rows)[:, None]
    best = verb_probs[segments, verb_at] * noun_probs[segments, noun_at]
    return verbs[segments, verb_at], nouns[segments, noun_at], best


def _top_probabilities(scores: Scores, per_row: bool) -> tuple[Ids, Scores]:
    """The up to 100 best classes of every row and their softmax, both best first."""
    classes = rank_classes(scores, ACTION_CLASSES)
    best = np.take_along_axis(scores, classes, axis=1)
    if per_row:
        best = best.astype(np.float64)
    axis = 1 if per_row else None
    exponentials = np.exp(best - np.max(best, axis=axis, keepdims=True))
    # the products of all pairs need the very bits of the official quotient: one division, no logs
    return classes, exponentials / np.sum(exponentials, axis=axis, keepdims=True)


def _rank_clear_pairs(
    verb_probs: Scores, noun_probs: Scores, k: int
) -> tuple[Ids, Ids, npt.NDArray[np.bool_]]:
    """Ranks pairs among the few that can be in the top ``k``; says for which rows that is certain.

    Pair (i, j) of the i-th best verb and j-th best noun has at least (i+1)(j+1)-1 pairs that score
    no less. So the k+1 largest values stand where (i+1)(j+1) <= k+1, and where they are
    all different no way of breaking ties can change the first k.

    Returns:
        Positions of verbs and nouns ``(N, k)`` and the mask of certain rows ``(N,)``.
    """
    (rows, num_verbs), num_nouns = verb_probs.shape, noun_probs.shape[1]
    cells = [
        (i, j)
        for i in range(min(k + 1, num_verbs))
        for j in range(min((k + 1) // (i + 1), num_nouns))
    ]
    verb_cells, noun_cells = np.array(cells, dtype=np.int64).T
    products = verb_probs[:, verb_cells] * noun_probs[:, noun_cells]  # (N, cells)
    order = np.argsort(-products, axis=1)[:, : k + 1]
    values = np.take_along_axis(products, order, axis=1)
    clear = np.all(values[:, :-1] > values[:, 1:], axis=1)
    return verb_cells[order[:, :k]], noun_cells[order[:, :k]], clear.reshape(rows)


def _rank_all_pairs(verb_probs: Scores, noun_probs: Scores, k: int) -> tuple[Ids, Ids]:
    """Ranks every pair of a few rows the official way: the 100 best first, then those again."""
    rows, num_nouns = len(verb_probs), noun_probs.shape[1]
    products = (verb_probs[:, :, None] * noun_probs[:, None, :]).reshape(rows, -1)
    pairs = rank_classes(products, ACTION_CLASSES)
    again = rank_classes(np.take_along_axis(products, pairs, axis=1), k)
    pairs = np.take_along_axis(pairs, again, axis=1)
    return pairs // num_nouns, pairs % num_nouns


def _chunks(rows: Ids) -> Iterator[Ids]:
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        yield rows[start : start + _ROWS_AT_ONCE]


def epic_accuracies(
    verb_scores: npt.ArrayLike,
    noun_scores: npt.ArrayLike,
    *,
    verbs: npt.ArrayLike,
    nouns: npt.ArrayLike,
    participants: Sequence[str] = (),
    tail_verbs: Collection[int] = (),
    tail_nouns: Collection[int] = (),
    unseen_participants: Collection[str] = (),
) -> dict[str, float]:
    """Verb, noun and action accuracies on all, tail-class and unseen-participant segments.

    A segment is *tail* for the verb or the noun when its class is in that list, for the action
    when either is. A subset without segments is left out of the answer, with a warning.

    Args:
        verb_scores: logits ``(N, V)``; keep the precision of the file, it decides near ties.
        noun_scores: logits ``(N, M)``.
        verbs: ground truth ``(N,)``.
        nouns: ground truth ``(N,)``.
        participants: ``(N,)`` participant of each segment (``P01``); needed for *unseen*.
        tail_verbs: verb classes of ``EPIC_100_tail_verbs.csv``.
        tail_nouns: noun classes of ``EPIC_100_tail_nouns.csv``.
        unseen_participants: ``EPIC_100_unseen_participant_ids_validation.csv`` for validation.

    Returns:
        Percent, by the challenge's names: ``all_{verb,noun,action}_accuracy_at_{1,5}``,
        ``tail_{task}_accuracy_at_1``, ``unseen_{task}_accuracy_at_1``.

    Raises:
        ValueError: no segments, other lengths, a score that is not finite, a class out of range.
    """
    scores = {"verb": np.asarray(verb_scores), "noun": np.asarray(noun_scores)}
    truth = {"verb": np.asarray(verbs), "noun": np.asarray(nouns)}
    for task in ("verb", "noun"):
        _check_task(task, scores[task], truth[task])
    if len(scores["verb"]) != len(scores["noun"]):
        raise ValueError(
            f"{len(scores['verb'])} rows of verb scores but {len(scores['noun'])} of noun scores"
        )
    truth["action"] = action_id(truth["verb"], truth["noun"])
    best_verbs, best_nouns, _ = rank_actions(scores["verb"], scores["noun"], 5)
    best = {task: rank_classes(scores[task], 5) for task in scores}
    best["action"] = action_id(best_verbs, best_nouns)
    hits = {task: best[task] == truth[task][:, None] for task in TASKS}  # (N, up to 5)
    return _subset_accuracies(
        hits, _subsets(truth, participants, tail_verbs, tail_nouns, unseen_participants)
    )


def _subsets(
    truth: dict[str, npt.NDArray[np.integer]],
    participants: Sequence[str],
    tail_verbs: Collection[int],
    tail_nouns: Collection[int],
    unseen_participants: Collection[str],
) -> dict[str, dict[str, npt.NDArray[np.bool_]]]:
    """Subset -> task -> ``(N,)`` mask; subsets nobody asked for are absent."""
    rows = len(truth["verb"])
    subsets = {"all": dict.fromkeys(TASKS, np.ones(rows, dtype=bool))}
    if len(tail_verbs) or len(tail_nouns):
        verb = np.isin(truth["verb"], sorted(tail_verbs))
        noun = np.isin(truth["noun"], sorted(tail_nouns))
        subsets["tail"] = {"verb": verb, "noun": noun, "action": verb | noun}
    if len(unseen_participants):
        if len(participants) != rows:
            raise ValueError(
                f"unseen participants need the participant of each of the {rows} segments; "
                f"got {len(participants)}"
            )
        unseen = np.isin(np.asarray(participants, dtype=str), sorted(unseen_participants))
        subsets["unseen"] = dict.fromkeys(TASKS, unseen)
    return subsets


def _subset_accuracies(
    hits: dict[str, npt.NDArray[np.bool_]],
    subsets: dict[str, dict[str, npt.NDArray[np.bool_]]],
) -> dict[str, float]:
    accuracies = {}
    for subset, masks in subsets.items():
        for task, mask in masks.items():
            if not mask.any():
                _logger.warning("no %s segment to evaluate the %s on: left out", subset, task)
                continue
            for k in (1, 5) if subset == "all" else (1,):
                found = hits[task][mask, :k].any(axis=1)
                accuracies[f"{subset}_{task}_accuracy_at_{k}"] = float(found.mean() * 100)
    return accuracies


def _check_task(task: str, scores: Scores, truth: npt.NDArray[np.integer]) -> None:
    if scores.ndim != 2 or not len(scores):
        raise ValueError(f"{task} scores must be (N, classes), N > 0; got shape {scores.shape}")
    if truth.shape != (len(scores),):
        raise ValueError(f"{task}: labels of shape {truth.shape} for {len(scores)} rows of scores")
    if not np.isfinite(scores).all():
        row = int(np.flatnonzero(~np.isfinite(scores).all(axis=1))[0])
        raise ValueError(f"{task} scores of row {row} are not finite (NaN or infinity)")
    if truth.min() < 0 or truth.max() >= scores.shape[1]:
        raise ValueError(
            f"{task} labels go from {truth.min()} to {truth.max()} but the scores have "
            f"{scores.shape[1]} classes"
        )


def looks_like_probabilities(scores: npt.ArrayLike) -> bool:
    """Whether rows are non-negative with one common sum: probabilities, or views of them summed.

    The challenge wants logits or log-probabilities; see the head of this module.

    Args:
        scores: ``(N, C)``.
    """
    values = np.asarray(scores, dtype=np.float64)
    if not values.size or values.min() < 0:
        return False
    sums = values.sum(axis=1)
    return bool(sums[0] > 0 and np.allclose(sums, sums[0], rtol=1e-3, atol=0))


def log_probabilities(
    scores: npt.ArrayLike, *, are_probabilities: bool | None = None
) -> npt.NDArray[np.float64]:
    """Row-wise log-probabilities ``(N, C)`` from logits, log-probabilities or probabilities.

    Probabilities are normalised and their logarithm taken, with the smallest normal float32 in
    place of zeros; anything else goes through a log-softmax.

    Args:
        scores: ``(N, C)``.
        are_probabilities: ``None`` goes by :func:`looks_like_probabilities`.
    """
    values = np.asarray(scores, dtype=np.float64)
    if are_probabilities is None:
        are_probabilities = looks_like_probabilities(values)
    if are_probabilities:
        values = np.log(np.maximum(values, float(np.finfo(np.float32).tiny)))
    values = values - values.max(axis=1, keepdims=True)
    return values - np.log(np.exp(values).sum(axis=1, keepdims=True))
