"""Training the head alone: nothing else moves by a bit, in one process or two, resumed or not."""

from copy import deepcopy

import pytest
import torch
from torch import nn

from slowfast.checkpoint.io import last_checkpoint, read_checkpoint
from slowfast.engine import Hook, Supervised, Trainer
from slowfast.engine.hooks import EMA
from slowfast.engine.hooks.clipping import AdaptiveClipping, clip_grad_adaptive_
from slowfast.engine.hooks.head_warmup import HeadWarmup
from slowfast.engine.optimizer import complete_momentum, make_optimizer, param_groups
from slowfast.engine.parallel import wrap
from slowfast.engine.run import build_training
from slowfast.utils import distributed
from slowfast.utils.distributed import LaunchPlan, launch
from slowfast.utils.errors import UserError
from tests.conftest import random_batches
from tests.engine import runs
from tests.engine.cosine import TinyCosine
from tests.engine.test_resume import Kill, KilledError, differences, final_state


class Snapshots(Hook):
    """The model's state at the end of every epoch."""

    def __init__(self):
        self.states, self.modes, self.frozen = [], [], []

    def after_epoch(self, trainer):
        model = trainer.objective.model
        self.states.append(deepcopy(model.state_dict()))
        self.modes.append({name: module.training for name, module in model.named_modules()})
        self.frozen.append([n for n, p in model.named_parameters() if not p.requires_grad])


def train(epochs, *hooks, method="sgd", lr=0.05, **options):
    torch.manual_seed(0)
    model = TinyCosine(dropout=0.2)
    optimizer = make_optimizer(param_groups(model, weight_decay=0.1), method=method, lr=lr)
    objective = Supervised(model, nn.CrossEntropyLoss())
    snapshots = Snapshots()
    first = deepcopy(model.state_dict())
    Trainer(objective, optimizer, lambda _: lr, random_batches(), hooks=[*hooks, snapshots],
            **options).fit(epochs)  # fmt: skip
    return first, snapshots


@pytest.mark.parametrize("method", ["sgd", "adamw"])
@pytest.mark.parametrize("clip", [None, 0.5])
def test_nothing_but_the_head_moves(method, clip):
    first, seen = train(4, HeadWarmup(2), method=method, clip_grad_norm=clip)
    for epoch in (0, 1):
        state = seen.states[epoch]
        same = {name for name in first if torch.equal(state[name], first[name])}
        assert same == {name for name in first if name.startswith("backbone.")}
        assert seen.frozen[epoch] == [n for n in first if n.startswith("backbone.")
                                      and n.endswith(("weight", "bias"))]  # fmt: skip
    same = {name for name in first if torch.equal(seen.states[2][name], first[name])}
    assert not same
    assert seen.frozen[2:] == [[], []]


def test_modes_of_the_parts():
    _, seen = train(2, HeadWarmup(1))
    during, after = seen.modes
    assert {name for name, training in during.items() if training} == {
        name for name in during if not name.startswith("backbone")
    }
    assert all(after.values())


def test_names_choose_the_head():
    first, seen = train(1, HeadWarmup(1, ["backbone.4", "projection"]))
    moved = {name for name in first if not torch.equal(seen.states[0][name], first[name])}
    assert moved == {"backbone.4.weight", "head.projection.weight"}
    with pytest.raises(UserError, match=r"HEAD_WARMUP_NAMES \['tail'\].*backbone, head"):
        train(1, HeadWarmup(1, ["tail"]))


def test_the_moving_average_of_what_is_frozen_is_frozen():
    torch.manual_seed(0)
    model = TinyCosine()
    first = deepcopy(model.state_dict())
    optimizer = torch.optim.SGD(model.parameters(), 0.05)
    objective, average = Supervised(model, nn.CrossEntropyLoss()), EMA(model, 0.5)
    Trainer(objective, optimizer, lambda _: 0.05, random_batches(),
            hooks=[HeadWarmup(2), average]).fit(2)  # fmt: skip
    for name, value in model.state_dict().items():
        assert torch.equal(value, first[name]) == name.startswith("backbone."), name


def test_late_parameters_begin_without_momentum():
    """As torch's plain SGD, where a momentum begins with the first gradient."""
    early, late = nn.Parameter(torch.ones(3)), nn.Parameter(torch.ones(3))
    plain = [nn.Parameter(p.detach().clone()) for p in (early, late)]
    ours = torch.optim.SGD([early, late], 0.1, momentum=0.9, nesterov=True, fused=True)
    theirs = torch.optim.SGD(plain, 0.1, momentum=0.9, nesterov=True, foreach=False, fused=False)
    for step in range(4):
        complete_momentum(ours)
        gradient = torch.full((3,), 1.0 + step)
        early.grad, plain[0].grad = gradient.clone(), gradient.clone()
        if step > 1:
            late.grad, plain[1].grad = gradient.clone(), gradient.clone()
        ours.step()
        theirs.step()
    assert torch.allclose(early, plain[0])
    assert torch.allclose(late, plain[1])


# --- adaptive clipping


def test_adaptive_clipping_unit_by_unit():
    torch.manual_seed(0)
    conv, norm = nn.Conv3d(3, 5, 2), nn.BatchNorm3d(5)
    for p in (*conv.parameters(), *norm.parameters()):
        p.grad = torch.randn_like(p)
    conv.weight.grad[0] *= 1e-3  # within the limit
    norm.bias.data.zero_()  # the norm of its weights counts as 1e-3
    before = [p.grad.clone() for p in (conv.weight, conv.bias, norm.weight, norm.bias)]
    clip_grad_adaptive_([conv.weight, conv.bias, norm.weight, norm.bias, nn.Parameter()], 0.2)
    for unit in range(5):
        weight, gradient = conv.weight[unit].norm().item(), before[0][unit]
        factor = min(1.0, 0.2 * max(weight, 1e-3) / gradient.norm().item())
        torch.testing.assert_close(conv.weight.grad[unit], gradient * factor)
    assert torch.equal(conv.weight.grad[0], before[0][0])
    for p, gradient in zip((conv.bias, norm.weight, norm.bias), before[1:], strict=True):
        factor = min(1.0, 0.2 * max(p.norm().item(), 1e-3) / gradient.norm().item())
        torch.testing.assert_close(p.grad, gradient * factor)
    assert norm.bias.grad.norm().item() == pytest.approx(0.2e-3)


def test_adaptive_clipping_spares_classifiers_and_comes_before_the_norm():
    norms = {}

    class Look(Hook):
        def after_step(self, trainer, batch, output):
            model = trainer.objective.model
            norms.setdefault("classifier", model.head.projection.weight.grad.norm().item())
            norms.setdefault("conv", model.backbone[0].weight.grad.norm().item())
            norms.setdefault("whole", trainer.grad_norm.item())

    train(1, AdaptiveClipping(1e-6), Look(), clip_grad_norm=1e9)
    assert norms["conv"] < 1e-4 < norms["classifier"]
    assert norms["whole"] == pytest.approx(norms["classifier"], rel=1e-3)


# --- whole runs from a config


@pytest.fixture
def little_data(monkeypatch):
    kwargs = runs.dummy.DummyVideos.__init__.__kwdefaults__
    monkeypatch.setitem(kwargs, "num_videos", 18)


RECIPE = {
    "MODEL__MODEL_NAME": "MobileNetV3",
    "MODEL__ARCH": "x3d_mobilenetv3_lgd_gc",
    "MODEL__WIDTH_MULT": 0.1,
    "MODEL__LOSS_FUNC": "am_softmax",
    "MODEL__DROPOUT_RATE": 0.2,
    "AM_SOFTMAX__LOCAL_PUSH": 1.0,
    "AM_SOFTMAX__SCALE_EPOCHS": 2.5,
    "DATA__TRAIN_CROP_SIZE": 32,
    "DATA__TEST_CROP_SIZE": 32,
    "DATA__TRAIN_JITTER_SCALES": "[32, 40]",
    "SOLVER__HEAD_WARMUP_EPOCHS": 1,
    "SOLVER__HEAD_WARMUP_LR_MULT": 10.0,
    "SOLVER__WARMUP_EPOCHS": 1.0,
    "SOLVER__WARMUP_CURVE": "cosine",
    "SOLVER__WARMUP_START_LR": 0.0005,
    "SOLVER__COSINE_AFTER_WARMUP": True,
    "SOLVER__COSINE_POWER": 1.5,
    "SOLVER__COSINE_END_LR": 0.0005,
    "SOLVER__CLIP_GRAD_ADAPTIVE": 0.2,
    "SOLVER__CLIP_GRAD_L2NORM": 40.0,
    "TRAIN__SAMPLE_FILTER__ENABLE": True,
    "TRAIN__SAMPLE_FILTER__COVERAGE": 0.01,
    "AUG__ROTATE_PROB": 0.5,
    "AUG__PHOTOMETRIC__PROB": 0.9,
    "DATA__MULTI_SCALE_CROP": "[1, 0.875, 0.75, 0.66]",
    "DATA__FRAME_JITTER": True,
    "DATA__SHORT_VIDEO": "loop",
    "DATA__TARGET_FPS": 0,
}


@pytest.mark.slow
@pytest.mark.parametrize("kill_at", [5, 9])  # in the epochs after the head's and after warm-up
def test_the_whole_recipe_resumes_exactly(tmp_path, little_data, kill_at):
    metrics = build_training(runs.config(tmp_path / "whole", **RECIPE)).run()
    training = build_training(runs.config(tmp_path / "parts", **RECIPE))
    training.trainer.hooks.append(Kill(kill_at))
    with pytest.raises(KilledError):
        training.run()
    resumed = build_training(runs.config(tmp_path / "parts", **RECIPE))
    assert resumed.start_epoch == kill_at // 4
    assert resumed.run() == metrics
    whole, parts = final_state(tmp_path / "whole"), final_state(tmp_path / "parts")
    assert differences(whole, parts) == []
    judged = whole["trainer_state"]["hooks"]["SampleFilter"]["weights"]
    assert len(judged["videos"]) > 5


def two_processes(folder):
    torch.set_num_threads(1)
    runs.few_videos()
    recipe = RECIPE | {"MODEL__ARCH": "s3d_mobilenetv3", "DATA__NUM_FRAMES": 4}
    for name in ("whole", "parts", "parts"):
        training = build_training(runs.config(folder / name, **recipe))
        seen = Snapshots()
        training.trainer.hooks.append(seen)
        first = deepcopy(training.trainer.objective.model.state_dict())
        if name == "parts" and training.start_epoch == 0:
            training.trainer.hooks.append(Kill(9 // 2))  # 2 batches per process and epoch
            with pytest.raises(KilledError):
                training.run()
            distributed.barrier()
            continue
        training.run()
        if name == "whole":
            fixed = {n for n in first if torch.equal(seen.states[0][n], first[n])}
            assert fixed == {n for n in first if n.startswith("backbone.")}
            moved = [n for n in first if not torch.equal(seen.states[2][n], first[n])]
            assert len(moved) > 0.9 * len(first)
        state = distributed.gather_objects(training.trainer.objective.model.state_dict())
        if distributed.is_main():
            weights = [n for n in state[0] if "running" not in n]
            assert all(torch.equal(state[0][n], state[1][n]) for n in weights)


@pytest.mark.slow
def test_two_processes_warm_up_alike_and_resume_exactly(tmp_path):
    launch(two_processes, (tmp_path,), LaunchPlan(processes=2, device="cpu"))
    whole, parts = (read_checkpoint(last_checkpoint(tmp_path / n)) for n in ("whole", "parts"))
    for state in (whole, parts):
        state.pop("cfg")
    assert differences(whole, parts) == []


def reduce_once(folder):
    """After a change of what trains, every gradient is averaged exactly once."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = TinyCosine()
    objective = Supervised(model, nn.CrossEntropyLoss())
    objective.trainable = wrap(model, torch.device("cpu"))
    optimizer = torch.optim.SGD(model.parameters(), 0.05)
    gradients = {}

    class Look(Hook):
        def after_backward(self, trainer):
            mine = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
            gradients[trainer.epoch] = mine

    batches = random_batches(num_batches=1)
    Trainer(objective, optimizer, lambda _: 0.0, batches, hooks=[HeadWarmup(1), Look()]).fit(2)
    assert set(gradients[0]) == {n for n in gradients[1] if n.startswith("head.")}
    if distributed.is_main():
        torch.save(gradients[1], folder / f"{distributed.world_size()}.pt")


@pytest.mark.slow
def test_rewrapped_gradients_are_those_of_one_process(tmp_path):
    launch(reduce_once, (tmp_path,), LaunchPlan(processes=2, device="cpu"))
    reduce_once(tmp_path)
    one, two = (torch.load(tmp_path / f"{n}.pt") for n in (1, 2))
    assert one.keys() == two.keys()
    for name, value in one.items():  # both processes had the same batch
        torch.testing.assert_close(two[name], value, rtol=1e-4, atol=1e-6)
