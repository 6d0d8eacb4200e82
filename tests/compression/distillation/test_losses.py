"""Distillation losses against closed forms, and their defining properties."""

import math

import numpy as np
import pytest
import torch

from slowfast.compression.distillation.losses import (
    LOGIT_LOSSES,
    attention,
    dist,
    dkd,
    feature,
    kd,
    kd_zscore,
)

LABELS = torch.tensor([0, 2, 1, 1])
T = 3.0


def logits(seed, rows=4, classes=5):
    return torch.randn(rows, classes, generator=torch.Generator().manual_seed(seed)) * 2


def softmax(x):
    e = np.exp(x - x.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def run(name, student, teacher):
    options = {"labels": LABELS[: len(student)]} if name == "dkd" else {}
    return LOGIT_LOSSES[name](student, teacher, temperature=T, **options)


@pytest.mark.parametrize("name", LOGIT_LOSSES)
def test_nothing_is_lost_against_oneself(name):
    x = logits(0)
    assert run(name, x, x).item() == pytest.approx(0, abs=1e-5)
    assert run(name, logits(1), x).item() > 0.01


@pytest.mark.parametrize("name", LOGIT_LOSSES)
def test_half_precision_logits_are_compared_in_full(name):
    student, teacher = logits(0).bfloat16(), logits(1).bfloat16()
    found = run(name, student, teacher)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, run(name, student.float(), teacher.float()))


@pytest.mark.parametrize("name", LOGIT_LOSSES)
def test_one_clip_has_a_finite_gradient(name):
    student = logits(0, rows=1).requires_grad_()
    run(name, student, logits(1, rows=1)).backward()
    assert torch.isfinite(student.grad).all()
    assert student.grad.abs().sum() > 0


def test_kd_closed_form():
    student, teacher = logits(0).numpy(), logits(1).numpy()
    p, q = softmax(teacher / T), softmax(student / T)
    expected = (p * np.log(p / q)).sum(1).mean() * T**2
    assert kd(logits(0), logits(1), temperature=T).item() == pytest.approx(expected, rel=1e-5)


def test_kd_gradient_is_that_of_matching_logits_when_hot():
    """Hinton et al., section 2.1: hot and centred, the gradient is (z - v) / C per class."""
    student, teacher = (x - x.mean(1, keepdim=True) for x in (logits(0), logits(1)))
    student.requires_grad_()
    kd(student, teacher, temperature=1e3).backward()
    expected = (student.detach() - teacher) / 5 / 4  # classes; batch mean
    torch.testing.assert_close(student.grad, expected, rtol=0.02, atol=1e-3)


def test_zscore_does_not_see_scale_and_shift():
    x = logits(0)
    assert kd_zscore(3 * x + 5, x, temperature=T).item() == pytest.approx(0, abs=1e-5)


def test_dkd_closed_form():
    student, teacher = logits(0).numpy(), logits(1).numpy()
    p, q = softmax(teacher / T), softmax(student / T)
    expected = 0.0
    for row, label in enumerate(LABELS.tolist()):
        a, b = p[row, label], q[row, label]
        target = a * math.log(a / b) + (1 - a) * math.log((1 - a) / (1 - b))
        rest = [c for c in range(5) if c != label]
        u, v = p[row, rest] / (1 - a), q[row, rest] / (1 - b)
        expected += (0.7 * target + 2.0 * (u * np.log(u / v)).sum()) * T**2 / 4
    found = dkd(
        logits(0), logits(1), LABELS, temperature=T, target_weight=0.7, other_weight=2.0
    )  # fmt: skip
    assert found.item() == pytest.approx(expected, rel=1e-4)


def test_dkd_with_the_teachers_weight_is_kd():
    """KD = TCKD + (1 - p_true) NCKD, equation 6 of the paper; one clip, so that p_true is one."""
    student, teacher = logits(0, rows=1), logits(1, rows=1)
    p_true = (teacher / T).softmax(1)[0, 0].item()
    found = dkd(student, teacher, LABELS[:1], temperature=T, other_weight=1 - p_true)
    torch.testing.assert_close(found, kd(student, teacher, temperature=T))


def test_dkd_takes_mixed_labels():
    mixed = torch.nn.functional.one_hot(LABELS, 5) * 0.6 + 0.08
    torch.testing.assert_close(dkd(logits(0), logits(1), mixed), dkd(logits(0), logits(1), LABELS))


def test_dist_closed_form():
    p, q = softmax(logits(1).numpy() / T), softmax(logits(0).numpy() / T)
    inter = np.mean([1 - np.corrcoef(a, b)[0, 1] for a, b in zip(p, q, strict=True)])
    intra = np.mean([1 - np.corrcoef(a, b)[0, 1] for a, b in zip(p.T, q.T, strict=True)])
    found = dist(logits(0), logits(1), temperature=T, inter_weight=2.0, intra_weight=0.5)
    assert found.item() == pytest.approx((2 * inter + 0.5 * intra) * T**2, rel=1e-4)


def test_features():
    a, b = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 5.0]])
    assert feature(a, 3 * a).item() == 0
    assert feature(a, b).item() == pytest.approx(2)
    assert feature(a, -b).item() == pytest.approx(2)
    assert feature(a, -a).item() == pytest.approx(4)


def test_attention_sees_places_not_channels():
    generator = torch.Generator().manual_seed(0)
    maps = torch.rand(2, 8, 4, 6, 6, generator=generator)
    assert attention([maps], [maps.flip(1) * 7]).item() == pytest.approx(0, abs=1e-6)
    assert attention([maps], [maps.flip(4)]).item() > 0.01
    left, right = torch.zeros(1, 3, 1, 1, 2), torch.zeros(1, 5, 1, 1, 2)
    left[..., 0], right[..., 1] = 1, 2
    assert attention([left], [right]).item() == pytest.approx(2)
    twice = left.repeat_interleave(2, 4).repeat_interleave(2, 3)
    assert attention([twice], [left]).item() == pytest.approx(0, abs=1e-6)
