import numpy as np
import pytest
import torch

from slowfast.datasets.batch import Batch
from slowfast.engine.predictions import Predictions
from slowfast.reports.board.classes import ConfusionDrawer
from slowfast.reports.board.clips import ClipDrawer

MEAN, STD = [0.45, 0.4, 0.5], [0.225, 0.2, 0.3]


class Writer:
    def __init__(self):
        self.added = {}

    def add_figure(self, tag, figure, step):
        self.added[tag] = figure

    def add_image(self, tag, image, step, dataformats):
        assert dataformats == "HWC"
        self.added[tag] = image


@pytest.mark.parametrize("reverse", [False, True])
def test_clips_are_shown_as_they_were_before_normalising(reverse):
    raw = torch.randint(0, 256, (2, 3, 4, 8, 8), dtype=torch.uint8)
    shape = (1, 3, 1, 1, 1)
    normal = (raw / 255 - torch.tensor(MEAN).view(shape)) / torch.tensor(STD).view(shape)
    fast = normal.flip(1) if reverse else normal
    batch = Batch([fast[:, :, ::4], fast], torch.zeros(2), torch.zeros(2), torch.zeros(2, 2), {})
    writer = Writer()
    ClipDrawer(MEAN, STD, reverse)(writer, batch, 1)
    shown = writer.added["Train/clips"]
    assert shown.shape == (16, 32, 3)
    np.testing.assert_array_equal(shown[8:, :8], raw[1, :, 0].permute(1, 2, 0).numpy())


def test_a_confusion_matrix_per_single_label_task():
    scores = {"verb": np.eye(3, dtype=np.float32), "tags": np.eye(3, dtype=np.float32)}
    labels = {"verb": np.arange(3), "tags": np.eye(3)}
    predictions = Predictions(
        scores, labels, ["a", "b", "c"], class_names={"verb": ["x", "y", "z"]}
    )
    writer = Writer()
    ConfusionDrawer()(writer, predictions, 1)
    assert list(writer.added) == ["Confusion/verb"]
