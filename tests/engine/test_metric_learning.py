"""The loss of cosine heads, against sums written out, and its schedule."""

import math

import pytest
import torch
from torch import nn

from slowfast.engine import Hook, Supervised, Trainer
from slowfast.engine.build import build_criterion, build_objective, build_placed_model
from slowfast.engine.build import build_placement as placement_of
from slowfast.engine.metric_learning import (
    CosineLoss,
    MetricLearning,
    am_softmax,
    centre_push,
    levelling_scale,
    local_push,
)
from slowfast.utils.errors import UserError
from tests.conftest import random_batches
from tests.engine import runs
from tests.engine.cosine import TinyCosine, unit

LABELS = torch.tensor([0, 2, 2, 1, 0])


def example(classes=3, dim=6):
    """Unit features ``(5, dim)``, unit centres ``(dim, classes)`` and their cosines."""
    features, centres = unit(5, dim), unit(classes, dim, seed=1).t()
    return features, centres, features @ centres


def by_hand(cosines, labels, scale, margin, entropy_weight):
    """Every clip's term, in plain Python."""
    terms = []
    for row, label in zip(cosines.tolist(), labels.tolist(), strict=True):
        inner = [scale * (c - margin * (i == label)) for i, c in enumerate(row)]
        loss = math.log(sum(math.exp(z) for z in inner)) - inner[label]
        total = sum(math.exp(scale * c) for c in row)
        shares = [math.exp(scale * c) / total for c in row]
        entropy = -sum(p * math.log(p) for p in shares)
        terms.append(loss - entropy_weight * entropy)
    return terms


@pytest.mark.parametrize("scale", [30.0, 5.0, 1.0])
def test_am_softmax_is_the_sum_by_hand(scale):
    *_, cosines = example()
    terms = by_hand(cosines, LABELS, scale, 0.35, 0.085)
    loss = am_softmax(cosines, LABELS, scale=scale, margin=0.35, entropy_weight=0.085)
    assert loss.item() == pytest.approx(sum(terms) / 5, rel=1e-5)


def test_without_margin_and_entropy_it_is_cross_entropy_of_scaled_cosines():
    *_, cosines = example()
    loss = am_softmax(cosines, LABELS, scale=7.0, margin=0.0)
    assert torch.equal(loss, nn.functional.cross_entropy(7.0 * cosines, LABELS))


def test_only_positive_terms_are_averaged():
    *_, cosines = example()
    cosines = cosines + nn.functional.one_hot(LABELS, 3) * torch.tensor([[1.0], [0], [1], [0], [0]])
    terms = by_hand(cosines, LABELS, 3.0, 0.0, 0.7)
    positive = [term for term in terms if term > 0]
    assert 0 < len(positive) < 5
    options = {"scale": 3.0, "margin": 0.0, "entropy_weight": 0.7, "positives_only": True}
    loss = am_softmax(cosines.requires_grad_(), LABELS, **options)
    assert loss.item() == pytest.approx(sum(positive) / len(positive), rel=1e-5)
    loss.backward()
    moved = cosines.grad.abs().sum(1) > 0
    assert moved.tolist() == [term > 0 for term in terms]


def test_no_positive_term_gives_zero_with_a_graph():
    cosines = torch.tensor([[1.0, -1.0]], requires_grad=True)
    loss = am_softmax(
        cosines, torch.tensor([0]), scale=30.0, entropy_weight=5e9, positives_only=True
    )
    loss.backward()
    assert loss.item() == 0
    assert torch.equal(cosines.grad, torch.zeros(1, 2))


def test_centre_push_is_the_mean_excess_over_pairs():
    _, centres, _ = example(classes=7, dim=3)
    pairs = [float(centres[:, i] @ centres[:, j]) for i in range(7) for j in range(i + 1, 7)]
    excess = [cosine - 0.1 for cosine in pairs if cosine > 0.1]
    assert 0 < len(excess) < 21
    assert centre_push(centres, 0.1).item() == pytest.approx(sum(excess) / len(excess), rel=1e-5)
    assert centre_push(torch.eye(4)).item() == 0
    assert centre_push(torch.ones(1, 1)).item() == 0  # one class


def test_local_push_is_the_mean_over_clips():
    features, _, cosines = example()
    expected = []
    for i in range(5):
        sims = [float(features[i] @ features[j]) for j in range(5) if LABELS[j] != LABELS[i]]
        own = float(cosines[i, LABELS[i]])
        expected.append(max(max(sims) - (max(own, 0.1) - 0.1), 0.0))
    assert any(expected)
    assert local_push(features, cosines, LABELS).item() == pytest.approx(sum(expected) / 5)
    one_class = torch.zeros(5, dtype=torch.long)
    assert local_push(features, cosines, one_class).item() == 0


def test_the_scale_is_the_published_curve():
    per_epoch = 7
    scale_at = levelling_scale(30, 5, 40)
    n, p = 40 * per_epoch, 1.2
    a, b = (5 - 30) / ((1 - p) * n**p), -(5 - 30) * p / ((1 - p) * n)
    for t in range(n):
        assert scale_at(t / per_epoch) == pytest.approx(a * t**p + b * t + 30)
    assert (scale_at(0), scale_at(40), scale_at(64.9)) == (30, 5, 5)
    assert abs(scale_at(39.99) - 5) < 1e-4  # it levels off
    assert levelling_scale(30, 5, 0)(0) == 5


def test_the_objective_adds_up_its_terms():
    model = TinyCosine(num_classes={"verb": 3, "noun": 5})
    (batch,) = random_batches(num_classes=3, num_batches=1, tasks=("verb", "noun"))
    loss = CosineLoss(local_weight=0.5, centre_weight=2.0)
    objective = MetricLearning(model, loss, levelling_scale(30, 5, 40))
    objective.epoch = 12.5
    output = objective(batch)
    features = model.eval().train().forward_features(batch.clips)
    cosines, scale = model.forward_cosines(features), levelling_scale(30, 5, 40)(12.5)
    total = 0
    for task in ("verb", "noun"):
        labels = batch.labels[task]
        terms = by_hand(cosines[task], labels, scale, 0.35, 0.085)
        positive = [term for term in terms if term > 0]
        total += sum(positive) / len(positive)
        total += 2.0 * centre_push(model.centres[task]).item()
        total += 0.5 * local_push(features, cosines[task], labels).item()
    assert output.loss.item() == pytest.approx(total, rel=1e-4)
    assert output.parts.keys() == {
        f"loss_{name}_{task}" for name in ("am", "centre", "local") for task in ("verb", "noun")
    }
    assert not output.preds["verb"].requires_grad
    assert output.preds["verb"].abs().max() <= 1
    output.loss.backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_one_task_has_plain_names():
    objective = MetricLearning(TinyCosine(), CosineLoss(), levelling_scale(30, 5, 40))
    output = objective(random_batches(num_batches=1)[0])
    assert output.parts.keys() == {"loss_am", "loss_centre"}
    assert output.preds.shape == (8, 4)


def test_the_trainer_tells_the_objective_where_it_is():
    seen = []

    class Look(Hook):
        def after_batch(self, trainer, batch, output):
            seen.append(trainer.objective.epoch)

    objective = MetricLearning(TinyCosine(), CosineLoss(), levelling_scale(30, 5, 2))
    optimizer = torch.optim.SGD(objective.trainable.parameters(), 0.01)
    Trainer(objective, optimizer, lambda _: 0.01, random_batches(), hooks=[Look()]).fit(3, 1)
    assert seen == [1, 1.25, 1.5, 1.75, 2, 2.25, 2.5, 2.75]


def test_it_learns():
    torch.manual_seed(0)
    model = TinyCosine()
    objective = MetricLearning(model, CosineLoss(local_weight=1.0), levelling_scale(30, 5, 4))
    optimizer = torch.optim.SGD(objective.trainable.parameters(), 0.1, momentum=0.9)
    batches = random_batches(num_batches=6)
    Trainer(objective, optimizer, lambda _: 0.1, batches).fit(10)
    with torch.no_grad():
        right = [(model(b.clips).argmax(1) == b.labels).float().mean() for b in batches]
    assert torch.stack(right).mean() > 0.8


def test_another_head_is_refused(tiny):
    with pytest.raises(
        UserError, match=r"MODEL\.LOSS_FUNC am_softmax trains a cosine head, TinyNet"
    ):
        MetricLearning(tiny, CosineLoss(), levelling_scale(30, 5, 40))


def test_soft_labels_are_refused():
    objective = MetricLearning(TinyCosine(), CosineLoss(), levelling_scale(30, 5, 40))
    (batch,) = random_batches(num_batches=1)
    soft = nn.functional.one_hot(batch.labels, 4).float()
    with pytest.raises(UserError, match=r"MIXUP\.ENABLE False"):
        objective(batch._replace(labels=soft))


def test_from_the_config(tmp_path):
    changes = {"MODEL__MODEL_NAME": "MobileNetV3", "MODEL__ARCH": "s3d_mobilenetv3"}
    cfg = runs.config(tmp_path, **changes, MODEL__WIDTH_MULT=0.1, MODEL__LOSS_FUNC="am_softmax",
                      AM_SOFTMAX__MARGIN=0.2, AM_SOFTMAX__LOCAL_PUSH=0.5)  # fmt: skip
    model = build_placed_model(cfg, placement_of(cfg))
    objective = build_objective(cfg, model)
    assert isinstance(objective, MetricLearning)
    assert objective.loss == CosineLoss(margin=0.2, local_weight=0.5)
    assert [objective.scale_at(epoch) for epoch in (0, 40)] == [30, 5]
    logits = model.scale * torch.tensor([[0.9, 0.1, 0.0, 0.0]])
    labels = torch.tensor([0])
    expected = nn.functional.cross_entropy(logits, labels)
    assert torch.equal(build_criterion(cfg, train=False)(logits, labels), expected)
    plain = runs.config(tmp_path, **changes, MODEL__WIDTH_MULT=0.1)
    assert isinstance(build_objective(plain, model), Supervised)
