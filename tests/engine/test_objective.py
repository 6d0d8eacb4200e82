import pytest
import torch
import torch.nn.functional as F

from slowfast.engine.losses import LOSSES, find_loss
from slowfast.engine.objective import Supervised, task_loss
from slowfast.models.tiny import TinyNet
from tests.conftest import random_batches


def test_two_tasks_weigh_one_half_each():
    model = TinyNet(num_classes={"verb": 4, "noun": 7})
    (batch,) = random_batches(num_batches=1, tasks=("verb", "noun"))
    output = Supervised(model, find_loss("cross_entropy"))(batch)
    each = {t: F.cross_entropy(output.preds[t], batch.labels[t]) for t in ("verb", "noun")}
    torch.testing.assert_close(output.loss.detach(), (each["verb"] + each["noun"]) / 2)
    assert output.parts["loss_noun"] == each["noun"]
    assert not output.preds["verb"].requires_grad
    output.loss.backward()
    assert all(p.grad is not None for p in model.parameters())


def test_labels_and_heads_must_fit(tiny):
    logits, labels = torch.zeros(2, 4), torch.zeros(2, dtype=torch.long)
    criterion = find_loss("cross_entropy")
    assert torch.equal(
        task_loss(criterion, logits, {"verb": labels})[0], task_loss(criterion, logits, labels)[0]
    )
    with pytest.raises(ValueError, match=r"noun.*MODEL\.TASKS"):
        task_loss(criterion, logits, {"verb": labels, "noun": labels})
    with pytest.raises(ValueError, match=r"one unnamed label.*MODEL\.TASKS"):
        task_loss(criterion, {"verb": logits}, labels)


LOGITS = torch.tensor([[2.0, -1.0, 0.5], [0.0, 3.0, -2.0]])
IDS = torch.tensor([0, 2])
SOFT = torch.tensor([[0.7, 0.3, 0.0], [0.0, 0.5, 0.5]])
MULTI = torch.tensor([[1, 0, 1], [0, 1, 0]])


def softmax_ce(targets):
    log_p = torch.log(LOGITS.exp() / LOGITS.exp().sum(1, keepdim=True))
    return -(targets * log_p).sum(1).mean()


def binary_ce(targets):
    p = 1 / (1 + torch.exp(-LOGITS))
    return -(targets * p.log() + (1 - targets) * (1 - p).log()).mean()


@pytest.mark.parametrize(
    ("name", "labels", "expected"),
    [
        ("cross_entropy", IDS, softmax_ce(F.one_hot(IDS, 3))),
        ("cross_entropy", SOFT, softmax_ce(SOFT)),
        ("soft_cross_entropy", SOFT, softmax_ce(SOFT)),
        ("bce", MULTI, binary_ce(MULTI)),
        ("bce_logit", MULTI, binary_ce(MULTI)),
        ("mse", SOFT, ((LOGITS - SOFT) ** 2).mean()),
    ],
)
def test_losses_by_their_formulas(name, labels, expected):
    torch.testing.assert_close(find_loss(name)(LOGITS, labels), expected)


def test_label_smoothing_is_of_class_ids_only():
    smooth = F.one_hot(IDS, 3) * 0.9 + 0.1 / 3
    for name in ("cross_entropy", "soft_cross_entropy"):
        loss = find_loss(name, label_smoothing=0.1)
        torch.testing.assert_close(loss(LOGITS, IDS), softmax_ce(smooth))
        torch.testing.assert_close(loss(LOGITS, SOFT), softmax_ce(SOFT))


def test_unknown_loss():
    assert len(LOSSES) == 7
    with pytest.raises(ValueError, match=r"MODEL\.LOSS_FUNC is 'hinge'; known: am_softmax, bce"):
        find_loss("hinge")
