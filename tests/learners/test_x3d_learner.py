"""``X3DLearner``: what is documented, and none of the defects of the one it is modelled on."""

import inspect
import math
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image as Files

from slowfast.config import diff_cfg, load_cfg
from slowfast.learners import (
    Category,
    Image,
    KineticsDataset,
    Learner,
    LearnerError,
    Video,
    X3DLearner,
)
from slowfast.learners.backbones import BACKBONES, network_cfg
from slowfast.learners.loading import PairLoader
from slowfast.learners.optimizing import fold_constants
from slowfast.learners.types import MediaError
from slowfast.utils.seed import seed_everything
from tests.learners.actions import Pairs, assert_same, scores, tiny, weights, write_kinetics
from tests.videos import write_video

__all__ = ["tiny"]  # a fixture

REPO = Path(__file__).parents[2]
DOCUMENTED = {
    "lr": 1e-3, "iters": 10, "batch_size": 64, "optimizer": "adam", "lr_schedule": "",
    "backbone": "s", "network_head": "classification", "checkpoint_after_iter": 0,
    "checkpoint_load_iter": 0, "temp_path": "", "device": "cuda", "loss": "cross_entropy",
    "weight_decay": 1e-5, "momentum": 0.9, "drop_last": True, "pin_memory": False,
    "num_workers": 0, "seed": 123, "num_classes": 400,
}  # fmt: skip


# The constructor.


def test_the_constructor_is_the_documented_one():
    parameters = inspect.signature(X3DLearner).parameters
    ours = {name: p.default for name, p in parameters.items() if p.kind is not p.KEYWORD_ONLY}
    assert list(ours.items()) == list(DOCUMENTED.items())
    assert issubclass(X3DLearner, Learner)


@pytest.mark.parametrize(("name", "sizes"), BACKBONES.items())
def test_backbones_are_those_of_the_configs(name, sizes):
    published = load_cfg(REPO / f"configs/Kinetics/X3D_{name.upper()}.yaml")
    ours = network_cfg(sizes, num_classes=400)
    sections = ("MODEL", "X3D", "RESNET", "NONLOCAL", "DATA")
    differing = diff_cfg(published, ours, sections)
    assert set(differing) <= {"DATA.TEST_CROP_SIZE"}  # of 3 crops there, of the centre here


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"optimizer": "rmsprop"}, "optimizer is 'rmsprop': give one of 'adam', 'sgd'"),
        ({"lr_schedule": "often"}, "lr_schedule is 'often'"),
        ({"backbone": "xxl"}, "backbone is 'xxl'.*'xs'"),
        ({"network_head": "detection"}, "network_head is 'detection'"),
        ({"loss": "focal"}, "loss is 'focal'"),
        ({"device": "tpu"}, "device is 'tpu'"),
        ({"lr": "0.1"}, "lr is '0.1', a str: give a float"),
        ({"iters": 2.0}, "iters is 2.0, a float: give a int"),
        ({"iters": True}, "iters is True, a bool"),
        ({"drop_last": 1}, "drop_last is 1, a int"),
        ({"batch_size": 0}, "batch_size is 0: it must be 1 or more"),
        ({"lr": float("nan")}, "lr is nan"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(arguments, message):
    with pytest.raises(LearnerError, match=message):
        X3DLearner(**{"device": "cpu", **arguments})


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_the_default_device_is_the_cpu_where_there_is_no_gpu(tiny, caplog):
    X3DLearner(**{**tiny, "device": "cuda"})
    assert "using the CPU" in caplog.text


def test_first_weights_are_those_of_the_seed_and_leave_torch_alone(tiny):
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    first, again = X3DLearner(**tiny), X3DLearner(**tiny)
    assert torch.rand(1) == expected
    assert_same(weights(first), weights(again))
    other = X3DLearner(**tiny, seed=1)
    assert not torch.equal(other.model.head.lin_5.weight, first.model.head.lin_5.weight)


# fit: the optimiser, the schedule, the loss are what they are called.

PLAIN = {
    "sgd": lambda params: torch.optim.SGD(params, lr=0.02, momentum=0.8, weight_decay=1e-2),
    "adam": lambda params: torch.optim.Adam(params, lr=0.02, betas=(0.8, 0.999), weight_decay=1e-2),
}
RATES = {
    "": lambda done: 1.0,
    "cosine": lambda done: (1 + math.cos(math.pi * done)) / 2,
    "step": lambda done: 1.0 if done < 0.5 else 0.1 if done < 0.75 else 0.01,
}


@pytest.mark.parametrize(
    ("optimizer", "schedule"), [("sgd", ""), ("adam", "cosine"), ("sgd", "step")]
)
def test_training_is_a_plain_loop_of_torch(tiny, optimizer, schedule):
    arguments = {**tiny, "lr": 0.02, "momentum": 0.8, "weight_decay": 1e-2, "iters": 2}
    learner = X3DLearner(**arguments, optimizer=optimizer, lr_schedule=schedule)
    plain = X3DLearner(**arguments).model
    learner.fit(Pairs())

    seed_everything(123)
    step, number = PLAIN[optimizer](plain.parameters()), 0
    loader = PairLoader(Pairs(), batch_size=2, num_classes=2, shuffle=True, seed=123)
    plain.train()
    for epoch in range(2):
        loader.set_epoch(epoch)
        for batch in loader:
            for group in step.param_groups:
                group["lr"] = 0.02 * RATES[schedule](number / 6)
            step.zero_grad()
            F.cross_entropy(plain(batch.clips), batch.labels).backward()
            step.step()
            number += 1
    for name, tensor in learner.model.state_dict().items():
        torch.testing.assert_close(tensor, plain.state_dict()[name], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("loss", ["cross_entropy", "bce"])
def test_the_loss_is_what_it_is_called_and_scores_are_activated_once(tiny, loss):
    learner = X3DLearner(**tiny, loss=loss)
    data = Pairs(4)
    with torch.no_grad():
        logits = learner.model.eval()([torch.stack(data.clips)])
    labels = torch.tensor(data.labels)
    if loss == "bce":
        expected = F.binary_cross_entropy_with_logits(logits, F.one_hot(labels, 2).float())
        probabilities = logits.sigmoid()
    else:
        probabilities = logits.softmax(1)
        expected = -probabilities[range(4), labels].log().mean()
    found = learner.eval(data)
    assert set(found) == {"accuracy", "loss"}
    assert found["loss"] == pytest.approx(float(expected), rel=1e-4)
    assert found["accuracy"] == pytest.approx(float((logits.argmax(1) == labels).float().mean()))
    categories = learner.infer(torch.stack(data.clips))
    torch.testing.assert_close(
        torch.stack([c.confidence for c in categories]), probabilities, rtol=1e-4, atol=1e-5
    )


def test_fit_learns_and_says_what_came_of_it(tiny):
    learner = X3DLearner(**{**tiny, "iters": 8, "lr": 3e-3})
    found = learner.fit(Pairs(8), Pairs(8))
    assert set(found) == {"loss", "val_accuracy", "val_loss"}
    assert found["val_accuracy"] == 1.0
    assert learner.eval(Pairs(8))["loss"] == pytest.approx(found["val_loss"], rel=1e-4)
    assert set(learner.fit(Pairs(), epochs=1)) == {"loss"}  # validation is skipped


@pytest.mark.parametrize(
    ("options", "batches"),
    [({"epochs": 2}, 6), ({"steps": 4}, 4), ({"steps": 3}, 3), ({"epochs": 1, "steps": 9}, 3)],
)
def test_epochs_and_steps_are_counted(tiny, options, batches):
    learner = X3DLearner(**tiny)
    learner.fit(Pairs(), **options)
    assert int(learner.model.head.conv_5_bn.num_batches_tracked) == batches


def test_steps_of_an_evaluation_are_batches(tiny):
    learner = X3DLearner(**tiny)
    assert learner.eval(Pairs(6), steps=2) == learner.eval(Pairs(4))


@pytest.mark.parametrize(("drop_last", "batches"), [(True, 2), (False, 3)])
def test_drop_last_drops_the_last_batch_of_training_only(tiny, tmp_path, drop_last, batches):
    learner = X3DLearner(**tiny, drop_last=drop_last)
    for data in (Pairs(5), KineticsDataset(write_kinetics(tmp_path, (5, 1, 1)))):
        before = int(learner.model.head.conv_5_bn.num_batches_tracked)
        learner.fit(data)
        assert int(learner.model.head.conv_5_bn.num_batches_tracked) - before == batches
    assert learner.eval(Pairs(1))["accuracy"] in (0.0, 1.0)


def test_too_few_videos_for_a_batch_is_an_error(tiny):
    with pytest.raises(LearnerError, match="3 videos do not fill a batch of 4: lower batch_size"):
        X3DLearner(**{**tiny, "batch_size": 4}).fit(Pairs(3))


def test_a_class_the_learner_does_not_have_is_an_error(tiny, tmp_path):
    learner = X3DLearner(**tiny)
    for data in (
        Pairs(num_classes=3),
        KineticsDataset(write_kinetics(tmp_path, (3, 1, 1), ("a", "b", "c"))),
    ):
        with pytest.raises(LearnerError, match=r"class 2, the learner 2 classes.*num_classes=3"):
            learner.fit(data)


# Checkpoints.


def test_a_training_resumed_from_a_checkpoint_is_the_uninterrupted_one(tiny, tmp_path):
    arguments = {**tiny, "iters": 3, "lr_schedule": "cosine", "temp_path": str(tmp_path)}
    whole = X3DLearner(**arguments, checkpoint_after_iter=2)
    whole.fit(Pairs())
    written = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert written == ["checkpoint_epoch_00002.pyth", "checkpoint_epoch_00003.pyth"]
    resumed = X3DLearner(**arguments, checkpoint_load_iter=2)
    resumed.fit(Pairs())
    assert_same(weights(whole), weights(resumed))


def test_checkpoints_that_cannot_be_gone_on_with(tiny, tmp_path):
    learner = X3DLearner(**tiny, checkpoint_load_iter=2, temp_path=str(tmp_path))
    with pytest.raises(LearnerError, match="ends after 1 epochs: nothing is left"):
        learner.fit(Pairs())
    with pytest.raises(LearnerError, match=r"checkpoint_load_iter is 2.*has no checkpoint"):
        learner.fit(Pairs(), epochs=3)


def test_no_files_unless_asked_for(tiny, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    learner = X3DLearner(**tiny)
    learner.fit(Pairs(), Pairs())
    learner.eval(Pairs())
    learner.infer(Pairs().clips[0])
    assert list(tmp_path.iterdir()) == []


# infer.


def test_infer_takes_videos_lists_and_tensors(tiny):
    learner = X3DLearner(**tiny)
    clips = torch.stack(Pairs(3).clips)
    expected = torch.stack([c.confidence for c in learner.infer(clips)])
    ways = [
        [learner.infer(clip)[0] for clip in clips],
        [learner.infer(Video(clip))[0] for clip in clips],
        learner.infer([Video(clip) for clip in clips]),
        learner.infer([Video(clip.numpy()) for clip in clips]),
        learner.infer(tuple(clips)),
        learner.infer(clips.numpy()),
    ]
    for found in ways:
        assert all(isinstance(category, Category) for category in found)
        assert [c.data for c in found] == expected.argmax(1).tolist()
        confidences = torch.stack([c.confidence for c in found])
        torch.testing.assert_close(confidences, expected, rtol=1e-4, atol=1e-5)


def test_a_video_file_is_seen_as_in_evaluation(tiny, tmp_path):
    data = KineticsDataset(write_kinetics(tmp_path), split="val")
    learner = X3DLearner(**tiny)
    learner.fit(KineticsDataset(tmp_path), epochs=1)
    clip = learner._loader(data, "val").dataset[0, 0].clips[0]
    (found,) = learner.infer(Video.open(data.records[0].path))
    (expected,) = learner.infer(clip)
    assert (found.confidence - expected.confidence).abs().max() < 0.02  # another scaler
    assert found.description == ["applauding", "zumba"][found.data]


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        ([], "nothing to infer"),
        ("video.mp4", "cannot infer on a str: give Video"),
        (torch.zeros(3, 32, 32), r"a Tensor of shape \(3, 32, 32\)"),
        ([torch.zeros(3, 4, 32, 32), torch.zeros(3, 5, 32, 32)], "elements of one shape"),
    ],
)
def test_what_cannot_be_inferred_on_is_named(tiny, batch, message):
    with pytest.raises(LearnerError, match=message):
        X3DLearner(**tiny).infer(batch)


def test_media_say_what_is_wrong_with_them(tmp_path):
    Files.fromarray(np.full((6, 8, 3), 7, np.uint8)).save(tmp_path / "a.png")
    assert Image.open(tmp_path / "a.png").data.shape == (3, 6, 8)
    video = write_video(tmp_path / "a.mp4", 30)
    assert len(Video.open(video, start_s=0.5)) == 15
    for make, message in [
        (lambda: Image(torch.zeros(4, 8, 8)), r"pixels \(3, H, W\), got \(4, 8, 8\)"),
        (lambda: Video(torch.zeros(3, 2, 8, 8, dtype=torch.int64)), "uint8 or floating"),
        (lambda: Image.open(tmp_path / "b.png"), "b.png cannot be read"),
        (lambda: Video.open(video, start_s=9), "no frame from 9 s"),
    ]:
        with pytest.raises(MediaError, match=message):
            make()


# optimize.


@pytest.mark.slow
def test_the_optimised_network_is_the_one_there_is(tiny, tmp_path):
    learner = X3DLearner(**tiny, temp_path=str(tmp_path))
    clips = torch.stack(Pairs(3).clips)
    learner.optimize()
    assert (tmp_path / "weights/x3d_tiny.onnx").is_file()
    for batch in (clips, clips[:1]):
        by_file = [c.confidence for c in learner.infer(batch)]
        by_torch = [c.confidence for c in X3DLearner(**tiny).infer(batch)]
        torch.testing.assert_close(by_file, by_torch, rtol=1e-3, atol=1e-4)
    learner.fit(Pairs(), epochs=2)
    trained = scores(learner, clips[0])
    assert not torch.allclose(trained, by_file[0], atol=1e-3)  # the file is left behind
    learner.optimize(do_constant_folding=True)  # and not taken for the new one
    torch.testing.assert_close(scores(learner, clips[0]), trained, rtol=1e-3, atol=1e-4)
    with pytest.raises(LearnerError, match=r"takes clips \(3, 4, 32, 32\), got \(3, 5, 32, 32\)"):
        learner.infer(torch.zeros(3, 5, 32, 32))

    learner.save(tmp_path / "name")
    names = {path.name for path in (tmp_path / "name").iterdir()}
    assert names == {"name.json", "model_name.pth", "model_name.onnx", "model_name.onnx.json"}
    other = X3DLearner(device="cpu").load(tmp_path / "name")
    assert other._runtime is not None
    torch.testing.assert_close(scores(other, clips[0]), trained, rtol=1e-3, atol=1e-4)


def test_constant_folding_computes_beforehand(tmp_path):
    onnx = pytest.importorskip("onnx")
    helper, number = onnx.helper, onnx.TensorProto.FLOAT
    pair = [helper.make_tensor(name, number, [2], [1.0, 2.0]) for name in ("a", "b")]
    nodes = [
        helper.make_node("Add", ["a", "b"], ["c"]),
        helper.make_node("Mul", ["x", "c"], ["y"]),
    ]
    ends = [[helper.make_tensor_value_info(name, number, [2])] for name in ("x", "y")]
    graph = helper.make_graph(nodes, "net", *ends, initializer=pair)
    opset = [helper.make_opsetid("", 18)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), tmp_path / "net.onnx")
    fold_constants(tmp_path / "net.onnx")
    assert [node.op_type for node in onnx.load(tmp_path / "net.onnx").graph.node] == ["Mul"]
    assert [path.name for path in tmp_path.iterdir()] == ["net.onnx"]
