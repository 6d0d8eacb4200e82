"""EPIC accuracies against a plain loop over segments that ranks every pair."""

import numpy as np
import pytest
import torch

from slowfast.metrics import combined_ranks, rank_accuracy
from slowfast.metrics.epic import (
    action_id,
    epic_accuracies,
    log_probabilities,
    looks_like_probabilities,
    rank_actions,
    rank_classes,
)


def loop_probabilities(scores):
    """Top-100 classes of each row and their softmax over the whole array."""
    classes = [np.argsort(row)[::-1][:100] for row in scores]
    best = np.stack([row[order] for row, order in zip(scores, classes, strict=True)])
    exponentials = np.exp(best - best.max())
    return classes, exponentials / exponentials.sum(keepdims=True)


def loop_actions(verb_scores, noun_scores):
    """Ranked action ids of every segment: 100 best of all pairs, then ranked once more."""
    verbs, verb_probs = loop_probabilities(verb_scores)
    nouns, noun_probs = loop_probabilities(noun_scores)
    ranked = []
    for row in range(len(verb_scores)):
        products = np.outer(verb_probs[row], noun_probs[row])
        flat = products.reshape(-1).argsort()[::-1][:100]
        entries = {}
        for pair in flat:
            i, j = np.unravel_index(pair, products.shape)
            entries[int(verbs[row][i]) * 1000 + int(nouns[row][j])] = products[i, j]
        ids, values = np.array(list(entries)), np.array(list(entries.values()))
        ranked.append(ids[np.argsort(values)[::-1]])
    return ranked


def loop_accuracies(verb_scores, noun_scores, truth, tails, unseen):
    ranks = {
        "verb": [np.argsort(row)[::-1] for row in verb_scores],
        "noun": [np.argsort(row)[::-1] for row in noun_scores],
        "action": loop_actions(verb_scores, noun_scores),
    }
    totals = {}
    for row, (verb, noun, person) in enumerate(zip(*truth, strict=True)):
        labels = {"verb": verb, "noun": noun, "action": verb * 1000 + noun}
        is_tail = {"verb": verb in tails[0], "noun": noun in tails[1]}
        is_tail["action"] = is_tail["verb"] or is_tail["noun"]
        for task, label in labels.items():
            for k in (1, 5):
                totals.setdefault(f"all_{task}_accuracy_at_{k}", []).append(
                    label in ranks[task][row][:k]
                )
            first = ranks[task][row][0] == label
            if is_tail[task]:
                totals.setdefault(f"tail_{task}_accuracy_at_1", []).append(first)
            if person in unseen:
                totals.setdefault(f"unseen_{task}_accuracy_at_1", []).append(first)
    return {key: 100 * sum(map(bool, hits)) / len(hits) for key, hits in totals.items()}


def make_scores(kind, rng, rows, classes):
    scores = rng.normal(size=(rows, classes)) * 3
    if kind == "one decimal":  # sums of logits collide: rounding of products decides
        return np.round(scores, 1)
    if kind == "integers":  # mostly ties
        return np.round(scores)
    if kind == "constant":
        return np.zeros_like(scores)
    if kind == "other scales":  # rows far below the largest underflow in float32
        return scores - rng.integers(0, 2, size=(rows, 1)) * 60.0
    if kind == "probabilities":
        return np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    return scores


KINDS = ["plain", "one decimal", "integers", "constant", "other scales", "probabilities"]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind", KINDS)
def test_equals_the_plain_loop_for_tied_scores_too(kind, dtype):
    rng = np.random.default_rng(KINDS.index(kind))
    rows = 150
    verb_scores = make_scores(kind, rng, rows, 97).astype(dtype)
    noun_scores = make_scores(kind, rng, rows, 300).astype(dtype)
    # ground truth among the likely, so that accuracies are neither 0 nor 100
    verbs = rank_classes(verb_scores, 7)[np.arange(rows), rng.integers(0, 7, rows)]
    nouns = rank_classes(noun_scores, 3)[np.arange(rows), rng.integers(0, 3, rows)]
    people = [f"P{number:02d}" for number in rng.integers(1, 9, rows)]
    tails, unseen = (range(20, 97), range(80, 300)), ("P03", "P08")
    expected = loop_accuracies(verb_scores, noun_scores, (verbs, nouns, people), tails, unseen)
    actual = epic_accuracies(
        verb_scores,
        noun_scores,
        verbs=verbs,
        nouns=nouns,
        participants=people,
        tail_verbs=tails[0],
        tail_nouns=tails[1],
        unseen_participants=unseen,
    )
    assert len(actual) == 12
    assert actual == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_all_hundred_actions_equal_the_plain_loop(kind):
    rng = np.random.default_rng(1)
    verb_scores = make_scores(kind, rng, 30, 97).astype(np.float32)
    noun_scores = make_scores(kind, rng, 30, 300).astype(np.float32)
    verbs, nouns, values = rank_actions(verb_scores, noun_scores, 100)
    np.testing.assert_array_equal(action_id(verbs, nouns), loop_actions(verb_scores, noun_scores))
    assert (np.diff(values, axis=1) <= 0).all()


def test_few_classes():
    verb_scores, noun_scores = np.array([[0.0, 2.0, 1.0]]), np.array([[3.0, 0.5]])
    verbs, nouns, values = rank_actions(verb_scores, noun_scores, 100)
    assert list(zip(verbs[0], nouns[0], strict=True)) == [
        (1, 0), (2, 0), (0, 0), (1, 1), (2, 1), (0, 1),
    ]  # fmt: skip
    assert values.sum() == pytest.approx(1)
    scores = epic_accuracies(verb_scores, noun_scores, verbs=[0], nouns=[1])
    assert scores["all_action_accuracy_at_5"] == 0
    assert scores["all_verb_accuracy_at_5"] == 100


def test_softmax_per_row_survives_other_scales():
    rng = np.random.default_rng(0)
    verb_scores = rng.normal(size=(2, 97)).astype(np.float32)
    noun_scores = rng.normal(size=(2, 300)).astype(np.float32)
    lowered = verb_scores - np.array([[0], [200]], dtype=np.float32)
    by_row = [
        action_id(*rank_actions(scores, noun_scores, 5, per_row=True)[:2])
        for scores in (verb_scores, lowered)
    ]
    np.testing.assert_array_equal(by_row[0], by_row[1])
    official = action_id(*rank_actions(lowered, noun_scores, 5)[:2])
    assert (official[1] != by_row[1]).any()  # the second segment underflowed, as it does there


def test_probabilities_as_scores_change_actions_and_their_logarithm_does_not():
    rng = np.random.default_rng(3)
    verb_logits, noun_logits = rng.normal(size=(50, 97)) * 3, rng.normal(size=(50, 300)) * 3
    probabilities = [
        np.exp(x) / np.exp(x).sum(1, keepdims=True) for x in (verb_logits, noun_logits)
    ]
    wanted = action_id(*rank_actions(verb_logits, noun_logits, 5, per_row=True)[:2])
    raw = action_id(*rank_actions(*probabilities, 5, per_row=True)[:2])
    logs = action_id(*rank_actions(*map(log_probabilities, probabilities), 5, per_row=True)[:2])
    assert (raw != wanted).any()
    np.testing.assert_array_equal(logs, wanted)


def test_log_probabilities():
    logits = np.array([[0.0, 1.0, -1.0], [5.0, 5.0, 5.0]])
    expected = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    np.testing.assert_allclose(log_probabilities(logits), expected)
    np.testing.assert_allclose(log_probabilities(expected), expected)
    assert not looks_like_probabilities(logits)
    assert not looks_like_probabilities(expected)
    views_summed = np.exp(expected) * 30  # the sum of 30 views
    assert looks_like_probabilities(views_summed)
    np.testing.assert_allclose(log_probabilities(views_summed), expected)
    assert np.isfinite(log_probabilities([[1.0, 0.0]])).all()


def test_empty_subsets_are_left_out_with_a_warning(caplog):
    scores = epic_accuracies(
        np.eye(3), np.eye(3), verbs=[0, 1, 2], nouns=[0, 1, 1], participants=["P01"] * 3,
        tail_verbs=[], tail_nouns=[1], unseen_participants=["P18"],
    )  # fmt: skip
    assert "no unseen segment" in caplog.text
    assert "no tail segment" in caplog.text
    assert "tail_verb_accuracy_at_1" not in scores
    assert scores["tail_noun_accuracy_at_1"] == 50
    assert scores["tail_action_accuracy_at_1"] == 50
    assert not [key for key in scores if key.startswith("unseen")]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"verb_scores": np.zeros((0, 3))}, "N > 0"),
        ({"verb_scores": np.full((2, 3), np.nan)}, "row 0 are not finite"),
        ({"noun_scores": np.zeros((3, 3)), "nouns": [0, 0, 0]}, "2 rows of verb scores but 3"),
        ({"verbs": [0, 1, 2]}, "for 2 rows"),
        ({"nouns": [0, 3]}, "scores have 3 classes"),
        ({"verbs": [-1, 0]}, "go from -1"),
        ({"unseen_participants": ["P18"]}, "participant of each of the 2 segments"),
    ],
)
def test_errors(change, message):
    arguments = {
        "verb_scores": np.eye(3)[:2], "noun_scores": np.eye(3)[:2], "verbs": [0, 1], "nouns": [0, 1]
    }  # fmt: skip
    with pytest.raises(ValueError, match=message):
        epic_accuracies(**(arguments | change))


def test_combined_ranks_are_the_challenges_without_ties():
    """What training and validation log as the action is what the challenge computes."""
    rng = np.random.default_rng(5)
    verb_scores, noun_scores = rng.normal(size=(300, 97)) * 3, rng.normal(size=(300, 300)) * 3
    verbs = rank_classes(verb_scores, 4)[np.arange(300), rng.integers(0, 4, 300)]
    nouns = rank_classes(noun_scores, 4)[np.arange(300), rng.integers(0, 4, 300)]
    theirs = epic_accuracies(verb_scores, noun_scores, verbs=verbs, nouns=nouns)
    logs = {
        task: torch.from_numpy(scores).log_softmax(1)
        for task, scores in (("verb", verb_scores), ("noun", noun_scores))
    }
    labels = {"verb": torch.from_numpy(verbs), "noun": torch.from_numpy(nouns)}
    ours = rank_accuracy(combined_ranks(logs, labels, 5), (1, 5))
    assert 1 < ours[1] < ours[5] < 99
    assert ours == {
        k: pytest.approx(theirs[f"all_action_accuracy_at_{k}"], abs=1e-9) for k in (1, 5)
    }


def test_number_of_actions_is_checked():
    with pytest.raises(ValueError, match="k=101"):
        rank_actions(np.eye(3), np.eye(3), 101)
