import random

import numpy as np
import pytest
import torch

from slowfast.datasets.mixup import MixUp, draw_cutmix_box, soft_labels


def gen(seed=0):
    return torch.Generator().manual_seed(seed)


def clips(batch=4, size=16):
    """Clip i is filled with i."""
    return torch.arange(batch).float()[:, None, None, None, None].expand(-1, 3, 2, size, size)


LABELS = torch.tensor([2, 0, 1, 2])


def test_mixup_is_the_weighted_sum():
    mixup = MixUp(3, cutmix_alpha=0.0, label_smoothing=0.0)
    lam, box = mixup.draw(16, 16, gen(5))
    assert box is None
    assert 0 < lam < 1
    mixed, labels = mixup(clips().clone(), LABELS, gen(5))
    for i in range(4):
        assert torch.allclose(mixed[i], torch.tensor(lam * i + (1 - lam) * (3 - i)))
    expected = lam * torch.eye(3)[LABELS] + (1 - lam) * torch.eye(3)[LABELS.flip(0)]
    assert torch.allclose(labels, expected)
    assert torch.allclose(labels.sum(1), torch.ones(4))


def test_cutmix_pastes_the_box_and_counts_its_area():
    mixup = MixUp(3, alpha=0.0, label_smoothing=0.0)
    seen = set()
    for seed in range(30):
        lam, box = mixup.draw(16, 16, gen(seed))
        mixed, labels = mixup(clips().clone(), LABELS, gen(seed))
        rows, columns = box.slices()
        expected = clips().clone()
        expected[..., rows, columns] = clips().flip(0)[..., rows, columns]
        assert torch.equal(mixed, expected)
        own = (mixed[0] == 0).float().mean().item()
        assert own == pytest.approx(lam)
        # clip 0 is of class 2, its partner too; clip 1 of class 0, its partner of class 1
        assert labels[0].tolist() == pytest.approx([0, 0, 1])
        assert labels[1].tolist() == pytest.approx([lam, 1 - lam, 0])
        seen.add(box)
    assert len(seen) > 20


def test_cutmix_box_is_within_and_of_the_asked_share():
    generator = gen()
    for _ in range(300):
        box = draw_cutmix_box(40, 60, 0.75, generator)
        assert box.height * box.width <= 0.25 * 2400
        assert 0 <= box.top <= 40 - box.height
        assert 0 <= box.left <= 60 - box.width
    areas = [draw_cutmix_box(40, 60, 0.75, generator)[2:] for _ in range(300)]
    assert (20, 30) in areas
    assert draw_cutmix_box(40, 60, 1.0, generator)[2:] == (0, 0)


def test_probabilities_of_mixing_and_switching():
    generator = gen()
    draws = [MixUp(3, probability=0.6, switch_probability=0.25).draw(8, 8, generator)
             for _ in range(2000)]  # fmt: skip
    mixed = [box for lam, box in draws if lam < 1.0 or box is not None]
    assert len(mixed) == pytest.approx(1200, abs=90)
    assert sum(box is not None for box in mixed) == pytest.approx(300, abs=60)


@pytest.mark.parametrize("alpha", [0.2, 0.8, 4.0])
def test_share_is_beta_distributed(alpha):
    generator = gen()
    mixup = MixUp(3, alpha=alpha, cutmix_alpha=0.0)
    shares = np.array([mixup.draw(8, 8, generator)[0] for _ in range(3000)])
    assert shares.mean() == pytest.approx(0.5, abs=0.03)
    assert shares.var() == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.08)


def test_unmixed_batches_get_smoothed_labels():
    mixup = MixUp(3, probability=0.0, label_smoothing=0.3)
    same, labels = mixup(clips().clone(), LABELS, gen())
    assert torch.equal(same, clips())
    assert torch.allclose(labels, soft_labels(LABELS, 3, 0.3))
    assert labels[0].tolist() == pytest.approx([0.1, 0.1, 0.8])


def test_several_tasks_and_several_labels():
    mixup = MixUp({"verb": 3, "noun": 5}, cutmix_alpha=0.0)
    verb, noun = LABELS, torch.tensor([4, 4, 0, 3])
    _, labels = mixup(clips().clone(), {"verb": verb, "noun": noun}, gen(1))
    for task, hard, width in (("verb", verb, 3), ("noun", noun, 5)):
        _, alone = MixUp(width, cutmix_alpha=0.0)(clips().clone(), hard, gen(1))
        assert torch.equal(labels[task], alone)
    targets = torch.tensor([[1, 1, 0], [0, 0, 0], [0, 1, 0], [0, 0, 1]])
    lam, _ = MixUp(3, cutmix_alpha=0.0).draw(16, 16, gen(1))
    _, soft = MixUp(3, cutmix_alpha=0.0)(clips().clone(), targets, gen(1))
    assert torch.allclose(soft, targets * lam + targets.flip(0) * (1 - lam))


def test_labels_of_other_tasks_are_refused():
    with pytest.raises(ValueError, match=r"mixup knows classes .*'verb'.*the batch has"):
        MixUp({"verb": 3})(clips().clone(), {"noun": LABELS}, gen())
    with pytest.raises(ValueError, match="mixup knows classes 3"):
        MixUp(3)(clips().clone(), {"noun": LABELS}, gen())
    with pytest.raises(ValueError, match=r"expects labels of \['verb'\], got one task"):
        MixUp({"verb": 3})(clips().clone(), LABELS, gen())


@pytest.mark.parametrize("batch", [1, 3])
def test_odd_batches(batch):
    mixed, labels = MixUp(3)(clips(batch).clone(), LABELS[:batch], gen())
    assert mixed.shape[0] == len(labels) == batch
    assert torch.equal(mixed[batch // 2], clips(batch)[batch // 2])  # mixed with itself


def test_layout_is_kept_and_global_state_untouched():
    states = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()
    for seed in range(6):
        x = clips().contiguous(memory_format=torch.channels_last_3d).clone()
        mixed, labels = MixUp(3)(x, LABELS, gen(seed))
        assert mixed.is_contiguous(memory_format=torch.channels_last_3d)
        again, same = MixUp(3)(clips().clone(), LABELS, gen(seed))
        assert torch.equal(mixed, again)
        assert torch.equal(labels, same)
    assert torch.equal(states[0], torch.get_rng_state())
    assert np.array_equal(states[1], np.random.get_state()[1])
    assert states[2] == random.getstate()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"alpha": 0.0, "cutmix_alpha": 0.0}, "MIXUP.ALPHA is 0.0 and MIXUP.CUTMIX_ALPHA 0.0"),
        ({"alpha": -1.0}, "neither may be negative"),
        ({"probability": 2}, "MIXUP.PROB is 2"),
        ({"label_smoothing": -0.1}, "MIXUP.LABEL_SMOOTH_VALUE is -0.1"),
    ],
)
def test_limits(values, message):
    with pytest.raises(ValueError, match=message):
        MixUp(3, **values)
