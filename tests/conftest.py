"""Small things most tests need: a fixed seed, a tiny model, random batches."""

import pytest
import torch

from slowfast.datasets.batch import Batch
from slowfast.models.tiny import TinyNet


def random_batches(
    batch_size=8, num_frames=4, num_classes=4, num_batches=4, size=8, *, tasks=None, seed=0
):
    """Float clips ``(B, 3, T, S, S)`` whose mean brightness gives the class away."""
    generator = torch.Generator().manual_seed(seed)
    batches = []
    for i in range(num_batches):
        labels = torch.randint(num_classes, (batch_size,), generator=generator)
        clips = torch.randn(batch_size, 3, num_frames, size, size, generator=generator)
        clips += labels.view(-1, 1, 1, 1, 1) - (num_classes - 1) / 2
        clip_ids = torch.arange(batch_size) + i * batch_size
        names = {"names": [f"video{j}.mp4" for j in clip_ids.tolist()]}
        if tasks:
            labels = dict.fromkeys(tasks, labels)
        batches.append(Batch([clips], labels, clip_ids, torch.zeros(batch_size, 2), names))
    return batches


@pytest.fixture(autouse=True)
def fixed_seed():
    torch.manual_seed(0)
    torch.set_num_threads(1)


@pytest.fixture
def batches():
    return random_batches()


@pytest.fixture
def tiny():
    return TinyNet(num_classes=4)
