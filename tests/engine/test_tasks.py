"""Verb and noun together, of every model family: losses, errors, actions."""

from pathlib import Path

import pytest
import torch

from slowfast.config import load_cfg
from slowfast.datasets.batch import Batch
from slowfast.engine import evaluate
from slowfast.engine.losses import find_loss
from slowfast.engine.meters import TrainMeter
from slowfast.engine.objective import Supervised
from slowfast.models.build import build_model
from tests.models.conftest import SMALL, clips_for

CONFIGS = Path(__file__).parents[2] / "configs"
CLASSES = {"verb": 7, "noun": 11}


def batches_for(name, count=3, size=4):
    generator = torch.Generator().manual_seed(1)
    for i in range(count):
        labels = {
            task: torch.randint(n, (size,), generator=generator) for task, n in CLASSES.items()
        }
        ids = torch.arange(size) + i * size
        yield Batch(clips_for(name, batch=size, seed=i), labels, ids, torch.zeros(size, 2), {})


@pytest.mark.parametrize("name", sorted(SMALL))
def test_training_counts_what_validation_counts(name):
    """The meter sees logits batch by batch, validation probabilities of all videos."""
    model = SMALL[name](num_classes=CLASSES).eval()
    objective, meter = Supervised(model, find_loss("cross_entropy")), TrainMeter((1, 5))
    with torch.no_grad():
        for head in model.classifiers.values():
            head.weight.mul_(30)  # fresh heads score all classes nearly alike
        for batch in batches_for(name):
            meter.update(objective(batch), batch.labels)
        trained = meter.epoch()
    names = {f"{task}top{k}_err" for task in ("", "verb_", "noun_", "action_") for k in (1, 5)}
    assert set(trained) == names | {"loss", "loss_verb", "loss_noun"}
    predictions = evaluate(model, batches_for(name), criterion=find_loss("cross_entropy"))
    validated = predictions.metrics((1, 5))
    assert trained == {name: pytest.approx(validated[name], rel=1e-5) for name in trained}
    assert trained["action_top1_err"] >= max(trained["verb_top1_err"], trained["noun_top1_err"])


def test_labels_mixed_by_mixup_count_by_the_larger_part():
    model = SMALL["TinyNet"](num_classes=CLASSES).eval()
    objective = Supervised(model, find_loss("soft_cross_entropy"))
    found = []
    for soft in (False, True):
        meter = TrainMeter((1, 5))
        for batch in batches_for("TinyNet"):
            output = Supervised(model, find_loss("cross_entropy"))(batch)
            labels = batch.labels
            if soft:
                labels = {
                    task: 0.7 * torch.nn.functional.one_hot(ids, CLASSES[task]) + 0.01
                    for task, ids in labels.items()
                }
                output = objective(batch._replace(labels=labels))
            meter.update(output, labels)
        found.append({k: v for k, v in meter.epoch().items() if "top" in k})
    assert found[0] == found[1]


def first_configs():
    """One shipped YAML of every family."""
    families = {}
    for path in sorted(CONFIGS.rglob("*.yaml")):
        families.setdefault(load_cfg(path).MODEL.MODEL_NAME, path)
    return families


def test_every_shipped_family_takes_verbs_and_nouns():
    families = first_configs()
    assert {"SlowFast", "ResNet", "X3D", "MobileNet", "ResNetLSTM"} <= set(families)
    for name, path in families.items():
        words = ["MODEL.TASKS", "[verb,noun]", "MODEL.NUM_CLASSES", "[97,300]"]
        if name == "IMFE":
            words += ["IMFE.CLASSIFIER", "True", "MODEL.LOSS_FUNC", "cross_entropy"]
        with torch.device("meta"):
            model = build_model(load_cfg(path, words))
        widths = {task: head.out_features for task, head in model.classifiers.items()}
        assert widths == {"verb": 97, "noun": 300}, path
