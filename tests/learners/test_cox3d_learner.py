"""``CoX3DLearner``: frame by frame, and none of the defects of the one it is modelled on."""

import inspect
import json

import pytest
import torch

from slowfast.config import change_cfg
from slowfast.learners import Category, CoX3DLearner, Image, LearnerError, Video, X3DLearner
from slowfast.learners.backbones import BACKBONES, network_cfg
from slowfast.learners.inputs import build_inputs
from slowfast.models.build import build_model
from tests.learners.actions import Pairs, tiny

__all__ = ["tiny"]  # a fixture


def frames(count, batch=1, size=32, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, batch, 3, size, size, generator=generator)


def stacked(categories):
    return torch.stack([category.confidence for category in categories])


def follow(learner, video):
    """Scores after every frame, ``(T, B, classes)``."""
    return torch.stack([stacked(learner.infer(frame)) for frame in video])


def close(found, expected):
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=2e-5)


@pytest.fixture
def trained(tiny):
    """A learner whose predictions depend on what it sees."""
    learner = CoX3DLearner(**{**tiny, "iters": 4, "lr": 3e-3}, temporal_window_size=6)
    learner.fit(Pairs(8))
    return learner


def test_the_constructor_is_the_documented_one():
    kinds = [inspect.signature(kind).parameters for kind in (X3DLearner, CoX3DLearner)]
    plain, ours = (
        {name: p.default for name, p in found.items() if p.kind is not p.KEYWORD_ONLY}
        for found in kinds
    )
    assert list(ours.items()) == [*plain.items(), ("temporal_window_size", None)]
    with pytest.raises(LearnerError, match="temporal_window_size is 0"):
        CoX3DLearner(device="cpu", temporal_window_size=0)


def test_a_stream_gives_what_the_clip_network_gives_for_what_it_has_seen(trained):
    """Without padding: the clip is all that a prediction depends on, so the two must agree."""
    field = trained.receptive_field
    video = frames(field + 3)
    found = follow(trained, video)
    valid = ["MODEL.STREAMING.PADDING", "valid", "DATA.NUM_FRAMES", str(field)]
    config = change_cfg(network_cfg(BACKBONES["tiny"], num_classes=2, window=6), valid)
    model = build_model(config).eval()
    model.load_state_dict(trained.model.state_dict())
    assert found[field - 1 :].std(dim=0).max() > 1e-4
    for last in range(field - 1, field + 3):
        clip = video[last + 1 - field : last + 1].permute(1, 2, 0, 3, 4)
        with torch.no_grad():
            close(found[last], model.predict([clip]))


def test_there_is_a_prediction_from_the_first_frame_on(trained):
    """As if that frame had been there for ever: as long as nothing changes, nor do they."""
    frame = frames(1, batch=2)[0]
    found = follow(trained, [frame] * 4)
    close(found, found[:1].expand_as(found))
    close(found.sum(dim=2), torch.ones(4, 2))  # probabilities, of one softmax
    with torch.no_grad():
        state = trained.stream.init_state(2, frame=frame)
        close(found[0], trained.stream.step(frame, state)[0].softmax(1))


def test_the_window_counts_from_construction_on(tiny):
    fields = {
        window: CoX3DLearner(**tiny, temporal_window_size=window).receptive_field
        for window in (None, 4, 9, 64)
    }
    assert fields[None] == fields[4] == fields[9] - 5 == fields[64] - 60
    (short, long) = (CoX3DLearner(**tiny, temporal_window_size=w) for w in (4, 9))
    assert long.delay == short.delay + 5


def test_the_published_receptive_fields():
    """Window 64 of X3D-S, and 13: Hedegaard and Iosifidis 2022, as their library gives them."""
    learner = CoX3DLearner(backbone="s", device="cpu", num_classes=2)
    assert (learner.receptive_field, learner.delay) == (69, 40)
    longer = CoX3DLearner(backbone="s", device="cpu", num_classes=2, temporal_window_size=64)
    assert (longer.receptive_field, longer.delay) == (120, 91)


def test_infer_takes_images_lists_tensors_and_videos(trained):
    video = frames(5, batch=2)
    expected = follow(trained, video)[-1]
    clips = video.movedim(0, 2)

    def fresh(*batches):
        trained.reset()
        return [trained.infer(batch) for batch in batches][-1]

    close(stacked(fresh(*([Image(x) for x in frame] for frame in video))), expected)
    close(stacked(fresh(*(list(frame) for frame in video))), expected)
    close(stacked(fresh(clips)), expected)
    close(stacked(fresh([Video(clip) for clip in clips])), expected)
    close(stacked(fresh(Video(clips[0]))), expected[:1])
    close(stacked(fresh(*(Image(frame[0].numpy()) for frame in video))), expected[:1])
    close(stacked(fresh(*(frame[0] for frame in video))), expected[:1])
    assert all(isinstance(category, Category) for category in fresh(video[0]))
    camera = torch.randint(0, 256, (3, 48, 64), dtype=torch.uint8)
    assert len(fresh(Image(camera))) == 1
    at_30 = Video(camera[:, None].expand(-1, 9, -1, -1), fps=30.0)
    assert len(build_inputs(trained._config()).steps(at_30)) == 5  # every second frame


def test_streams_go_on_side_by_side_until_reset(trained):
    video = frames(4, batch=3)
    together = follow(trained, video)
    with pytest.raises(LearnerError, match=r"frames of 2 streams, and 3 are.*reset\(\)"):
        trained.infer(video[0, :2])
    for i in range(3):
        trained.reset()
        close(follow(trained, video[:, i : i + 1])[:, 0], together[:, i])


def test_new_weights_begin_new_streams(trained, tmp_path):
    video = frames(3, batch=2)
    before = follow(trained, video)
    trained.save(tmp_path / "name")
    trained.fit(Pairs(), epochs=1)
    after = follow(trained, video)
    assert not torch.allclose(before, after, atol=1e-3)
    close(follow(trained.load(tmp_path / "name"), video), before)


def test_window_and_classes_survive_save_and_load(trained, tmp_path, caplog):
    trained.save(tmp_path / "name")
    other = CoX3DLearner(device="cpu").load(tmp_path / "name")
    assert (other.temporal_window_size, other.num_classes, other.backbone) == (6, 2, "tiny")
    assert other.receptive_field == trained.receptive_field
    video = frames(3)
    close(follow(other, video), follow(trained, video))
    found = json.loads((tmp_path / "name/name.json").read_text())
    assert found["inference_params"]["temporal_window_size"] == 6
    asked = CoX3DLearner(device="cpu", temporal_window_size=9).load(tmp_path / "name")
    assert asked.temporal_window_size == 9
    assert asked.receptive_field == trained.receptive_field + 3
    assert "temporal_window_size is 9, as asked; 6 was saved" in caplog.text


def test_weights_are_those_of_an_x3d(tiny, tmp_path):
    clips = X3DLearner(**tiny)
    clips.save(tmp_path / "x3d")
    stream = CoX3DLearner(**{**tiny, "seed": 9}, temporal_window_size=9).load(tmp_path / "x3d")
    assert stream.temporal_window_size == 9
    for name, tensor in clips.model.state_dict().items():
        assert torch.equal(tensor, stream.model.state_dict()[name])
    stream.save(tmp_path / "cox3d")
    back = X3DLearner(device="cpu").load(tmp_path / "cox3d")
    clip = Pairs().clips[0]
    close(stacked(back.infer(clip)), stacked(clips.infer(clip)))


def test_fit_and_eval_take_clips(tiny):
    learner = CoX3DLearner(**{**tiny, "iters": 8, "lr": 3e-3}, optimizer="sgd")
    found = learner.fit(Pairs(8), Pairs(8))
    assert found["val_loss"] == pytest.approx(learner.eval(Pairs(8))["loss"], rel=1e-4)
    assert learner.eval(Pairs(8), steps=1)["loss"] > 0


@pytest.mark.slow
def test_the_optimised_stream_is_the_one_there_is(trained, tmp_path):
    """For any number of streams; its state is no pickle; trained again, it is made again."""
    video = frames(5, batch=3)
    expected = follow(trained, video)
    trained.optimize()
    assert trained._runtime is not None
    close(follow(trained, video), expected)
    trained.reset()
    close(follow(trained, video[:, :1]), expected[:, :1])
    with pytest.raises(LearnerError, match=r"takes frames of \(32, 32\), got \(48, 48\)"):
        trained.infer(torch.zeros(1, 3, 48, 48))
    trained.fit(Pairs(), epochs=1)
    changed = follow(trained, video)
    trained.optimize(do_constant_folding=True)
    close(follow(trained, video), changed)

    trained.save(tmp_path / "name")
    names = {path.name for path in (tmp_path / "name").iterdir()}
    assert names == {"name.json", "model_name.pth", "model_name.onnx", "model_name.onnx.json"}
    other = CoX3DLearner(device="cpu").load(tmp_path / "name")
    assert other._optimized is not None
    close(follow(other, video), changed)
    longer = CoX3DLearner(device="cpu", temporal_window_size=9).load(tmp_path / "name")
    assert longer._optimized is None  # the file is of another window
