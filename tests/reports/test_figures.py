import json

import numpy as np
import pytest
import torch

from slowfast.reports.clips import contact_sheet, denormalize, save_gif
from slowfast.reports.figures import confusion_figure, curves_figure, save_figure
from slowfast.reports.stats import read_stats, series


def log_line(record):
    return f"[11/21 10:00:00][INFO] logging.py:  99: json_stats: {json.dumps(record)}\n"


@pytest.fixture
def stats_log(tmp_path):
    path = tmp_path / "stdout.log"
    records = [
        {"_type": "train_epoch", "epoch": "1/3", "loss": 2.0, "top1_err": 80.0, "lr": 0.1},
        {"_type": "val_epoch", "epoch": "1/3", "top1_err": 70.0},
        {"_type": "train_epoch", "epoch": "2/3", "loss": 9.0, "top1_err": 60.0, "lr": 0.05},
        {"_type": "train_epoch", "epoch": "2/3", "loss": 1.0, "top1_err": 60.0, "lr": 0.05},
    ]
    text = "[11/21][INFO] x.py: 1: some other line {\n" + "".join(log_line(r) for r in records)
    path.write_text(text + json.dumps(records[1]) + "\n" + log_line(records[0])[:-20])
    return path


def test_read_stats_finds_marked_and_bare_lines_and_survives_a_cut(stats_log):
    stats = read_stats(stats_log)
    assert {kind: len(rows) for kind, rows in stats.items()} == {"train_epoch": 3, "val_epoch": 2}


def test_an_epoch_repeated_after_resuming_counts_once(stats_log):
    assert series(read_stats(stats_log)["train_epoch"], "loss") == ([1.0, 2.0], [2.0, 1.0])


def test_curves_have_a_panel_per_quantity_seen(stats_log, tmp_path):
    figure = curves_figure(read_stats(stats_log))
    assert [a.get_ylabel() for a in figure.axes] == ["loss", "top-1 error (%)", "learning rate"]
    assert [line.get_label() for line in figure.axes[1].lines] == ["train", "val"]
    assert save_figure(figure, tmp_path / "plots" / "curves.png").stat().st_size > 1000


def test_curves_of_nothing_is_an_error():
    with pytest.raises(ValueError, match="has an epoch finished"):
        curves_figure({})


@pytest.mark.parametrize(("classes", "labels"), [(3, 3), (61, 61), (400, 100)])
def test_confusion_labels_stay_readable(classes, labels, tmp_path):
    figure = confusion_figure(
        np.eye(classes, dtype=int) * 5, [f"class {i}" for i in range(classes)]
    )
    axes = figure.axes[0]
    assert len(axes.get_yticklabels()) == labels
    assert len(axes.texts) == (3 if classes == 3 else 0)
    save_figure(figure, tmp_path / "matrix.png")


def test_confusion_colour_is_the_share_of_the_true_class():
    figure = confusion_figure([[3, 1], [0, 0]])
    shown = figure.axes[0].images[0].get_array()
    np.testing.assert_allclose(shown, [[0.75, 0.25], [0, 0]])


@pytest.mark.parametrize(
    ("matrix", "names", "message"),
    [([[1, 2]], None, "expected a square"), ([[1]], ["a", "b"], "2 class names.*1 classes")],
)
def test_confusion_errors(matrix, names, message):
    with pytest.raises(ValueError, match=message):
        confusion_figure(matrix, names)


def test_contact_sheet_is_rows_of_frames():
    clips = torch.arange(2 * 3 * 4 * 5 * 6, dtype=torch.int32).to(torch.uint8).view(2, 3, 4, 5, 6)
    sheet = contact_sheet(clips, frames_per_clip=2)
    assert sheet.shape == (10, 12, 3)
    np.testing.assert_array_equal(sheet[5:, 6:], clips[1, :, 3].permute(1, 2, 0).numpy())


def test_denormalize_is_the_inverse():
    clips = torch.randint(0, 256, (1, 3, 2, 4, 4), dtype=torch.uint8)
    mean, std = [0.45, 0.4, 0.5], [0.225, 0.2, 0.3]
    shape = (1, 3, 1, 1, 1)
    normal = (clips / 255 - torch.tensor(mean).view(shape)) / torch.tensor(std).view(shape)
    assert torch.equal(denormalize(normal, mean, std), clips)


def test_contact_sheet_refuses_normalised_clips():
    with pytest.raises(ValueError, match="denormalize"):
        contact_sheet(torch.zeros(1, 3, 2, 4, 4))


def test_gif_holds_every_frame(tmp_path):
    from PIL import Image

    clip = torch.randint(0, 256, (3, 5, 16, 16), dtype=torch.uint8)
    with Image.open(save_gif(clip, tmp_path / "clip.gif")) as gif:
        assert (gif.n_frames, gif.size) == (5, (16, 16))
