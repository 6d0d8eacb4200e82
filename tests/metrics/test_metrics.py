import itertools
import math
import warnings

import numpy as np
import pytest
import torch

from slowfast.metrics import (
    average_precision,
    combined_ranks,
    confusion_matrix,
    label_ranks,
    mean_average_precision,
    mean_class,
    mean_class_accuracy,
    per_class_table,
    rank_accuracy,
    topk_accuracy,
)


def random_scores(n=200, classes=7, decimals=1):
    """Rounded, so that there are many ties."""
    generator = torch.Generator().manual_seed(3)
    scores = torch.rand(n, classes, generator=generator).mul(10**decimals).round() / 10**decimals
    return scores, torch.randint(classes, (n,), generator=generator)


def plain_topk(scores, labels, k):
    hits = 0
    for row, label in zip(scores.tolist(), labels.tolist(), strict=True):
        order = sorted(range(len(row)), key=lambda c: (-row[c], c))
        hits += label in order[:k]
    return 100 * hits / len(labels)


@pytest.mark.parametrize("k", [1, 2, 5, 7, 10])
def test_topk_against_a_plain_loop(k):
    scores, labels = random_scores()
    assert topk_accuracy(scores, labels, (k,))[k] == pytest.approx(plain_topk(scores, labels, k))


def test_topk_without_ties_is_sklearns():
    sklearn = pytest.importorskip("sklearn.metrics")
    scores, labels = random_scores(decimals=7)
    for k in (1, 3):
        theirs = sklearn.top_k_accuracy_score(labels, scores.numpy(), k=k, labels=range(7))
        assert topk_accuracy(scores, labels, (k,))[k] == pytest.approx(100 * theirs)


def test_fewer_classes_than_k():
    scores, labels = random_scores(classes=3)
    assert topk_accuracy(scores, labels)[5] == 100.0


def test_ties_and_numbers_that_are_none_never_flatter():
    constant = torch.zeros(4, 4)
    assert topk_accuracy(constant, torch.arange(4), (1, 2)) == {1: 25.0, 2: 50.0}
    broken = torch.full((4, 4), float("nan"))
    assert label_ranks(broken, torch.arange(4)).tolist() == [3, 3, 3, 3]


def test_labels_outside_the_scores():
    with pytest.raises(ValueError, match=r"labels lie in 0\.\.4 .* 4 classes"):
        topk_accuracy(torch.zeros(2, 4), torch.tensor([0, 4]))
    with pytest.raises(ValueError, match="no samples"):
        topk_accuracy(torch.zeros(0, 4), torch.zeros(0, dtype=torch.long))


def plain_combined_rank(rows, labels, k):
    """All combinations of classes of one sample, listed and sorted by their product."""
    combinations = itertools.product(*(range(len(row)) for row in rows))
    products = {
        ids: math.prod(row[i] for row, i in zip(rows, ids, strict=True)) for ids in combinations
    }
    return min(sorted(products, key=products.get, reverse=True).index(tuple(labels)), k)


@pytest.mark.parametrize("sizes", [(9, 11), (3, 8), (4, 5, 6)])
@pytest.mark.parametrize("k", [1, 5, 20])
def test_combinations_are_ranked_by_the_product_of_probabilities(sizes, k):
    generator = torch.Generator().manual_seed(0)
    logits = [torch.randn(60, size, generator=generator, dtype=torch.double) for size in sizes]
    # labels among the likely, so that not all of them are out of reach
    labels = [
        scores.topk(3).indices.gather(1, torch.randint(3, (60, 1), generator=generator))[:, 0]
        for scores in logits
    ]
    tasks = ["verb", "noun", "hand"][: len(sizes)]
    ranks = combined_ranks(
        {task: x.log_softmax(1) for task, x in zip(tasks, logits, strict=True)},
        dict(zip(tasks, labels, strict=True)),
        k,
    )
    probabilities = [x.softmax(1).tolist() for x in logits]
    expected = [
        plain_combined_rank([task[i] for task in probabilities], [ids[i] for ids in labels], k)
        for i in range(60)
    ]
    assert ranks.tolist() == expected
    assert rank_accuracy(ranks, (1,))[1] == pytest.approx(100 * expected.count(0) / 60)


def test_action_of_two_right_tasks_may_not_be_among_the_five_best():
    """Both labels fifth best: 16 pairs come first, though each is in its task's top 5."""
    scores = torch.tensor([[0.3, 0.25, 0.2, 0.15, 0.1]]).log()
    labels = {"verb": torch.tensor([4]), "noun": torch.tensor([4])}
    logs = {"verb": scores, "noun": scores}
    assert topk_accuracy(scores, labels["verb"], (5,)) == {5: 100.0}
    assert combined_ranks(logs, labels, 5).tolist() == [5]
    assert combined_ranks(logs, labels, 25).tolist() == [24]


def test_combinations_with_numbers_that_are_none_never_flatter():
    logs = {"verb": torch.full((2, 3), float("nan")), "noun": torch.zeros(2, 3)}
    labels = {"verb": torch.tensor([0, 1]), "noun": torch.tensor([0, 0])}
    assert combined_ranks(logs, labels, 5).tolist() == [5, 5]


def random_confusion():
    generator = np.random.default_rng(0)
    labels = generator.choice([0, 1, 2, 4], 60)  # 3 is only predicted, 5 occurs nowhere
    predicted = generator.choice([0, 2, 3, 4], 60)
    matrix = confusion_matrix(torch.from_numpy(predicted), torch.from_numpy(labels), 6)
    return labels, predicted, matrix


def test_confusion_matrix_by_counting():
    labels, predicted, matrix = random_confusion()
    for row in range(6):
        for column in range(6):
            pairs = zip(labels, predicted, strict=True)
            assert matrix[row, column] == sum((a, b) == (row, column) for a, b in pairs)
    with pytest.raises(ValueError, match="prediction lies outside"):
        confusion_matrix(torch.tensor([6]), torch.tensor([0]), 6)


def test_mean_class_is_sklearns_macro_average():
    sklearn = pytest.importorskip("sklearn.metrics")
    labels, predicted, matrix = random_confusion()
    theirs = sklearn.precision_recall_fscore_support(
        labels, predicted, average="macro", zero_division=0
    )[:3]
    assert mean_class(matrix) == pytest.approx([100 * value for value in theirs])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a class without labels is predicted: on purpose
        balanced = sklearn.balanced_accuracy_score(labels, predicted)
    assert mean_class_accuracy(matrix) == pytest.approx(100 * balanced)


def test_per_class_table():
    matrix = torch.tensor([[3, 1, 0], [0, 2, 0], [0, 0, 0]])
    first, second, third = per_class_table(matrix, ["a", "b", "c"])
    assert first == ("a", 4, 3, 100.0, 75.0, pytest.approx(600 / 7))
    assert second == ("b", 2, 3, pytest.approx(200 / 3), 100.0, pytest.approx(80))
    assert third == ("c", 0, 0, 0.0, 0.0, 0.0)
    assert per_class_table(matrix)[2].name == "2"
    with pytest.raises(ValueError, match="2 class names for 3 classes"):
        per_class_table(matrix, ["a", "b"])


def test_mean_average_precision_is_sklearns():
    sklearn = pytest.importorskip("sklearn.metrics")
    scores, _ = random_scores()
    targets = (torch.rand(200, 7, generator=torch.Generator().manual_seed(4)) < 0.2).long()
    targets[:, 3] = 0  # left out
    kept = [0, 1, 2, 4, 5, 6]
    theirs = [sklearn.average_precision_score(targets[:, c], scores[:, c]) for c in kept]
    assert mean_average_precision(scores, targets) == pytest.approx(100 * np.mean(theirs))


def test_average_precision_by_hand():
    scores, targets = torch.tensor([0.9, 0.8, 0.7, 0.6]), torch.tensor([1, 0, 1, 0])
    assert average_precision(scores, targets) == pytest.approx(100 * (1 + 2 / 3) / 2)
    with pytest.raises(ValueError, match="at least one positive"):
        mean_average_precision(torch.zeros(2, 2), torch.zeros(2, 2))
