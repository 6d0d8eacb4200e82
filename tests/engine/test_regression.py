"""Feature regression: its numbers against numpy, and what it says when widths do not agree."""

import numpy as np
import pytest
import torch
from torch import nn

from slowfast.datasets.batch import Batch
from slowfast.engine.batches import BatchPreparation
from slowfast.engine.losses import find_loss
from slowfast.engine.regression import (
    FeatureRegression,
    FeatureSizeError,
    RegressionEvaluation,
    RegressionSums,
)
from slowfast.models.tiny import TinyNet


def batch_of(targets, seed=0):
    generator = torch.Generator().manual_seed(seed)
    clips = torch.randn(len(targets), 3, 2, 8, 8, generator=generator)
    ids = torch.arange(len(targets))
    return Batch([clips], targets, ids, torch.zeros(len(targets), 2), {})


@pytest.fixture
def model():
    torch.manual_seed(0)
    return TinyNet(num_classes=6, width=2)


@pytest.fixture
def batches():
    torch.manual_seed(1)
    return [batch_of(3 + torch.randn(size, 6), seed) for seed, size in enumerate((4, 4, 3))]


def evaluate(model, batches, loss):
    return RegressionEvaluation(model, batches, BatchPreparation(), find_loss(loss))()[1]


@pytest.mark.parametrize("loss", ["mse", "cosine"])
def test_metrics_are_those_of_all_clips_at_once(model, batches, loss):
    metrics = evaluate(model, batches, loss)
    with torch.no_grad():
        outputs = torch.cat([model.eval()(batch.clips) for batch in batches]).double().numpy()
    targets = torch.cat([batch.labels for batch in batches]).double().numpy()
    error = ((outputs - targets) ** 2).sum()
    norms = np.linalg.norm(outputs, axis=1) * np.linalg.norm(targets, axis=1)
    expected = {
        "mse": error / targets.size,
        "cosine": ((outputs * targets).sum(axis=1) / norms).mean(),
        "r2": 1 - error / ((targets - targets.mean(axis=0)) ** 2).sum(),
    }
    expected["loss"] = expected["mse"] if loss == "mse" else 1 - expected["cosine"]
    assert metrics == pytest.approx(expected, rel=1e-5)


def test_r2_of_the_mean_is_zero_and_of_the_targets_one():
    targets = torch.randn(20, 5) * 2 + 100
    for outputs, r2 in ((targets.mean(0).expand(20, 5), 0.0), (targets, 1.0)):
        parts = [RegressionSums(), RegressionSums()]
        for part, rows in zip(parts, (slice(0, 7), slice(7, None)), strict=True):
            part.update(outputs[rows], targets[rows], torch.zeros(()))
        parts[0].add(parts[1])  # as processes do
        assert parts[0].metrics()["r2"] == pytest.approx(r2, abs=1e-5)


def test_modes_of_all_modules_are_put_back(model, batches):
    model.train()
    model.features[1].eval()
    evaluate(model, batches, "mse")
    assert model.training
    assert not model.features[1].training


@pytest.mark.parametrize(("name", "loss"), [("mse", nn.MSELoss()), ("cosine", None)])
def test_objective(model, batches, name, loss):
    model.eval()
    output = FeatureRegression(model, find_loss(name))(batches[0])
    outputs, targets = model(batches[0].clips), batches[0].labels
    cosine = torch.cosine_similarity(outputs, targets).mean()
    expected = loss(outputs, targets) if loss else 1 - cosine
    torch.testing.assert_close(output.loss, expected)
    torch.testing.assert_close(output.parts["cosine"], cosine.detach())
    assert not output.preds.requires_grad
    output.loss.backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_unlike_widths_are_named(model):
    objective = FeatureRegression(model, find_loss("mse"))
    with pytest.raises(FeatureSizeError, match=r"features of width 9, the model 6 .*NUM_CLASSES"):
        objective(batch_of(torch.randn(2, 9)))
    with pytest.raises(FeatureSizeError, match=r"class labels, the model 6 .*DATASET features"):
        objective(batch_of(torch.tensor([1, 2])))
    several = FeatureRegression(TinyNet(num_classes={"verb": 2, "noun": 3}), find_loss("mse"))
    with pytest.raises(FeatureSizeError, match=r"tasks \['noun', 'verb'\]"):
        several(batch_of(torch.randn(2, 9)))
