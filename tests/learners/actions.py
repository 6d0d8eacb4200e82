"""Tiny data and a tiny X3D for the tests of learners."""

import json

import pytest
import torch

from slowfast.learners.backbones import BACKBONES, Backbone
from tests.videos import write_video

TINY = Backbone(frames=4, stride=2, image_size=32, short_sides=(36, 40), depth=0.1, width=0.5)
SMALL = {"backbone": "tiny", "device": "cpu", "num_classes": 2, "batch_size": 2, "iters": 1}


@pytest.fixture
def tiny(monkeypatch):
    """The arguments of a learner small enough for tests."""
    monkeypatch.setitem(BACKBONES, "tiny", TINY)
    return dict(SMALL)


class Pairs(torch.utils.data.Dataset):
    """Clips whose brightness gives the class away."""

    def __init__(self, count=6, shape=(3, 4, 32, 32), num_classes=2):
        generator = torch.Generator().manual_seed(0)
        self.labels = [i % num_classes for i in range(count)]
        self.clips = [torch.randn(shape, generator=generator) + label for label in self.labels]

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, index):
        return self.clips[index], self.labels[index]


def write_kinetics(root, counts=(4, 2, 2), names=("applauding", "zumba")):
    """Kinetics as it is downloaded; returns ``root``."""
    splits = zip(("train", "validate", "test"), counts, strict=True)
    for split, count in splits:
        entries = {}
        for i in range(count):
            label, key = names[i % len(names)], f"{split[:2]}{i}"
            write_video(root / "data" / split / label / f"{key}_{i:06d}_{i + 1:06d}.mp4", 16)
            annotations = {"label": label, "segment": [i, i + 1]}
            entries[key] = {"subset": split, "annotations": annotations}
        path = root / "splits" / f"{split}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(entries))
    return root


def scores(learner, clip):
    (category,) = learner.infer(clip)
    return category.confidence


def weights(learner):
    return {name: tensor.clone() for name, tensor in learner.model.state_dict().items()}


def assert_same(one, other):
    assert one.keys() == other.keys()
    different = [name for name in one if not torch.equal(one[name], other[name])]
    assert different == []
