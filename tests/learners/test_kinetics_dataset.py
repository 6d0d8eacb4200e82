"""``KineticsDataset``, by itself and in learners."""

import logging
from pathlib import Path

import pytest
import torch

from slowfast.datasets.base import DataError
from slowfast.datasets.decode import VideoError
from slowfast.datasets.missing import MissingVideosError
from slowfast.learners import (
    KineticsDataset,
    X3DLearner,
)
from tests.learners.actions import Pairs, assert_same, tiny, weights, write_kinetics

__all__ = ["tiny"]  # a fixture


def test_clips_have_the_size_of_the_backbone(tiny, tmp_path):
    write_kinetics(tmp_path)
    for backbone, shape in (("xs", (3, 4, 160, 160)), ("m", (3, 16, 224, 224))):
        clip, label = KineticsDataset(tmp_path, backbone=backbone)[0]
        assert clip.shape == shape
        assert label in (0, 1)
    small = KineticsDataset(tmp_path, frames_per_clip=3, image_size=48, split="val")
    assert small[0][0].shape == (3, 3, 48, 48)
    learner = X3DLearner(**tiny)
    batch = next(iter(learner._loader(KineticsDataset(tmp_path), "train")))
    assert batch.clips[0].shape == (2, 3, 4, 32, 32)
    batch = next(iter(learner._loader(small, "val")))
    assert batch.clips[0].shape == (2, 3, 3, 48, 48)
    assert 0 <= learner.eval(small)["accuracy"] <= 1


def test_layouts_give_the_same_videos_and_ids(tmp_path):
    downloaded = KineticsDataset(write_kinetics(tmp_path / "a"), split="validate")
    for i, record in enumerate(downloaded.records):
        name = downloaded.class_names[record.labels]
        for split in ("train", "val", "test"):
            target = tmp_path / "b" / split / name / f"{i}.mp4"
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(Path(record.path).read_bytes())
    lists = tmp_path / "c"
    lists.mkdir()
    rows = [f"{record.path} {record.labels}" for record in downloaded.records]
    (lists / "val.csv").write_text("\n".join(rows))
    for path in (tmp_path / "b", lists):
        other = KineticsDataset(path, 4, "val", image_size=32)
        assert len(other) == 2
        for (clip, label), (expected, wanted) in zip(
            other, KineticsDataset(tmp_path / "a", 4, "val", image_size=32), strict=True
        ):
            assert label == wanted
            assert torch.equal(clip, expected)


def test_training_clips_are_drawn_by_torch_s_random_numbers(tmp_path):
    data = KineticsDataset(write_kinetics(tmp_path), image_size=32, frames_per_clip=4)
    torch.manual_seed(0)
    one, two = data[0][0], data[0][0]
    torch.manual_seed(0)
    assert torch.equal(one, data[0][0])
    assert not torch.equal(one, two)


def test_workers_do_not_change_what_is_learned(tiny, tmp_path):
    write_kinetics(tmp_path)
    learners = [X3DLearner(**tiny, num_workers=workers) for workers in (0, 1)]
    for learner in learners:
        learner.fit(KineticsDataset(tmp_path), epochs=2)
        assert learner.eval(Pairs()) == learners[0].eval(Pairs())
    assert_same(*map(weights, learners))


def test_broken_videos_are_named_and_counted(tiny, tmp_path, caplog):
    write_kinetics(tmp_path)
    data = {split: KineticsDataset(tmp_path, split=split) for split in ("train", "val")}
    for dataset in data.values():
        Path(dataset.records[0].path).write_bytes(b"no video")
    learner = X3DLearner(**tiny)
    with pytest.raises(VideoError, match=r"va0_000000_000001.mp4.*validate.json: va0"):
        learner.eval(data["val"])
    with caplog.at_level(logging.WARNING):
        learner.fit(data["train"])
        data["train"][0]
    assert caplog.text.count("tr0_000000_000001.mp4") >= 2
    Path(data["val"].records[0].path).unlink()
    with pytest.raises(MissingVideosError, match="va0"):
        KineticsDataset(tmp_path, split="val")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[]", "no JSON object of videos"),
        ('{"a": {"subset": "train"}}', "'a' needs annotations with label and segment"),
    ],
)
def test_lists_that_cannot_be_used_are_named(tmp_path, content, message):
    (tmp_path / "splits").mkdir()
    (tmp_path / "splits/train.json").write_text(content)
    with pytest.raises(DataError, match=message):
        KineticsDataset(tmp_path)
    with pytest.raises(DataError, match="split is 'dev'"):
        KineticsDataset(tmp_path, split="dev")
