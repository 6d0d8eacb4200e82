"""PyTorchVideo's networks behind our interface: against themselves, and against ours."""

import sys
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from slowfast.checkpoint import load_strict, read_weights
from slowfast.checkpoint.pytorchvideo import from_pytorchvideo, to_pytorchvideo
from slowfast.config import load_cfg
from slowfast.deploy.profile import build_cost, build_model_inputs
from slowfast.models import MODELS, build_model

CONFIGS = Path(__file__).parents[2] / "configs" / "Kinetics"
FAMILIES = ["PTVCSN", "PTVMViT", "PTVR2plus1D", "PTVResNet", "PTVSlowFast", "PTVX3D"]
CONVOLUTIONAL = [name for name in FAMILIES if name != "PTVMViT"]

pytest.importorskip("fvcore", reason="comes with pytorchvideo")


def family(name):
    pytest.importorskip("pytorchvideo")
    return MODELS.get(name)


def small(name, **options):
    from slowfast.models.ptv.mvit import MViTSpec

    own = {
        "PTVResNet": {"width": 8, "arch": "i3d"},
        "PTVSlowFast": {"width": 16, "alpha": 4},
        "PTVX3D": {"depth_factor": 1.0},
        "PTVCSN": {"width": 8},
        "PTVR2plus1D": {"width": 8},
        "PTVMViT": {"spec": MViTSpec(depth=4, embed_dim=16, dim_mul=[[1, 2.0]], head_mul=[[1, 2.0]],
                                     pool_q_stride=[[1, 1, 2, 2]], droppath_rate=0.0)},
    }[name]  # fmt: skip
    return family(name)(**{"num_classes": 5, "num_frames": 8, "crop_size": 64, **own, **options})


def clips_for(name, *, frames=8, crop=64, batch=2):
    clip = torch.randn(batch, 3, frames, crop, crop, generator=torch.Generator().manual_seed(1))
    return [clip[:, :, ::4].contiguous(), clip] if name == "PTVSlowFast" else [clip]


def randomised(model):
    """Batch norms that are not the identity, a classifier that is not almost zero."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm3d):
            for tensor in (module.weight, module.running_var):
                nn.init.uniform_(tensor, 0.5, 1.0)
            for tensor in (module.bias, module.running_mean):
                nn.init.normal_(tensor, std=0.1)
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=0.05)
    return model.eval()


def test_the_names_of_pyslowfast():
    assert [name for name in MODELS if name.startswith("PTV")] == FAMILIES


@pytest.mark.parametrize("name", FAMILIES)
def test_trains_a_step_and_every_parameter_gets_a_gradient(name):
    torch.manual_seed(0)
    model = small(name, dropout=0.0, zero_final_bn=False)
    clips, labels = clips_for(name), torch.tensor([1, 3])
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    before = F.cross_entropy(model(clips), labels)
    before.backward()
    assert [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()] == []
    optimizer.step()
    assert F.cross_entropy(model(clips), labels) < before


@pytest.mark.parametrize("name", FAMILIES)
def test_interface(name):
    model = randomised(small(name))
    clips = clips_for(name)
    with torch.no_grad():
        features, logits = model.forward_features(clips), model(clips)
        assert features.shape == (2, model.num_features)
        torch.testing.assert_close(model.forward_head(features), logits)
        torch.testing.assert_close(model.predict(clips), logits.softmax(1))
    assert all(clip.shape[2] in (2, 8) for clip in clips)  # the network got a list of its own
    assert {task: layer.out_features for task, layer in model.classifiers.items()} == {"action": 5}
    assert all(name.startswith("model.") for name in model.state_dict())


@pytest.mark.parametrize("name", FAMILIES)
def test_several_tasks(name):
    model = small(name, num_classes={"verb": 7, "noun": 11}).eval()
    scores = model.predict(clips_for(name))
    assert {task: tuple(x.shape) for task, x in scores.items()} == {"verb": (2, 7), "noun": (2, 11)}
    named = {n.rpartition(".proj_")[2] for n in model.state_dict() if ".proj_" in n}
    assert named == {"verb.weight", "verb.bias", "noun.weight", "noun.bias"}


@pytest.mark.parametrize(("frames", "crop"), [(8, 32), (4, 64), (16, 96)])
@pytest.mark.parametrize("name", CONVOLUTIONAL)
def test_other_clips(name, frames, crop):
    scores = small(name).eval().predict(clips_for(name, frames=frames, crop=crop))
    torch.testing.assert_close(scores.sum(1), torch.ones(2))


def test_mvit_takes_one_size():
    with pytest.raises(ValueError, match=r"clips of \(8, 64, 64\).* got \(8, 96, 96\)"):
        small("PTVMViT")(clips_for("PTVMViT", crop=96))


def test_first_and_last_norms():
    model = small("PTVResNet", zero_final_bn=True)
    zeros = sum(1 for m in model.modules() if getattr(m, "block_final_bn", False))
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm3d)]
    assert zeros == 16 == sum(1 for m in norms if not m.weight.any())
    fresh = small("PTVResNet", zero_final_bn=False).modules()
    assert all(m.weight.all() for m in fresh if isinstance(m, nn.BatchNorm3d))


# Against PyTorchVideo's own models, as its hub builds them


def hub(name, **options):
    """A network of PyTorchVideo's hub."""
    from slowfast.utils import vision

    vision.functional()
    return getattr(pytest.importorskip("pytorchvideo.models.hub"), name)(**options)


HUB = {
    "X3D_S": ("PTVX3D", "x3d_s", {"head_activation": None}),
    "SLOWFAST_8x8_R50": ("PTVSlowFast", "slowfast_r50", {}),
    "SLOWFAST_16x8_R101_50_50": ("PTVSlowFast", "slowfast_16x8_r101_50_50", {}),
    "SLOWFAST_8x8_R101": ("PTVSlowFast", "slowfast_r101", {}),
    "SLOW_8x8_R50": ("PTVResNet", "slow_r50", {}),
    "I3D_8x8_R50": ("PTVResNet", "i3d_r50", {}),
    "C2D_8x8_R50": ("PTVResNet", "c2d_r50", {}),
    "pytorchvideo/CSN_32x2_R101": ("PTVCSN", "csn_r101", {}),
    "pytorchvideo/R2PLUS1D_16x4_R50": ("PTVR2plus1D", "r2plus1d_r50", {"head_activation": None}),
}
OURS = [name for name in HUB if "/" not in name]


def cfg_of(config, name=None, *words):
    chosen = ["MODEL.MODEL_NAME", name] if name else []
    return load_cfg(CONFIGS / f"{config}.yaml", [*chosen, *words])


def shapes(state):
    return {name: tuple(value.shape) for name, value in state.items()}


@pytest.mark.parametrize("config", HUB)
def test_the_configs_describe_the_zoo(config):
    """Names and shapes of the hub's networks, so that its files load with strict=True."""
    name, builder, options = HUB[config]
    with torch.device("meta"):
        theirs = hub(builder, **options).state_dict()
        model = build_model(cfg_of(config, name))
    assert shapes(model.state_dict()) == {f"model.{k}": v for k, v in shapes(theirs).items()}


@pytest.mark.parametrize("config", ["MVIT_B_16x4_CONV", "MVIT_B_32x3_CONV"])
def test_mvit_of_the_zoo(config):
    theirs = hub({"6x4": "mvit_base_16x4", "2x3": "mvit_base_32x3"}[config[8:11]]).state_dict()
    with torch.device("meta"):
        model = build_model(cfg_of(f"pytorchvideo/{config}"))
    assert shapes(model.state_dict()) == {f"model.{k}": v for k, v in shapes(theirs).items()}
    assert {value.device.type for value in model.state_dict().values()} == {"meta"}


@pytest.mark.slow
@pytest.mark.parametrize("config", OURS)
def test_ours_is_the_same_network(config):
    name = HUB[config][0]
    with torch.device("meta"):
        theirs, ours = build_model(cfg_of(config, name)), build_model(cfg_of(config))
    assert shapes(from_pytorchvideo(theirs.state_dict())) == shapes(ours.state_dict())
    wanted, built = (build_cost(cfg_of(config, model)) for model in (None, name))
    assert built.macs_test_crop == wanted.macs_test_crop
    unlike = 48 if name == "PTVX3D" else 0  # theirs has no norm on res2's first shortcut
    assert wanted.parameters - built.parameters == unlike


@pytest.mark.parametrize(
    ("config", "parameters", "gmacs"),
    [
        ("CSN_32x2_R101", 22_213_776, 73.757),  # published 22.21, 75.62 (batch norms included)
        ("R2PLUS1D_16x4_R50", 28_107_600, 75.148),  # 28.11, 76.45
        ("MVIT_B_16x4_CONV", 36_610_672, 70.599),  # 36.61, 70.80
        ("MVIT_B_32x3_CONV", 36_611_440, 169.958),  # 36.61, 170.37
    ],
)
def test_counts(config, parameters, gmacs):
    cost = build_cost(cfg_of(f"pytorchvideo/{config}"))
    assert cost.parameters == parameters
    assert cost.macs_test_crop / 1e9 == pytest.approx(gmacs, abs=5e-4)


def inputs_of(cfg, *, crop=None):
    generator = torch.Generator().manual_seed(0)
    fast = build_model_inputs(cfg, crop)[-1]
    clip = torch.randn(fast, generator=generator)
    alpha = cfg.SLOWFAST.ALPHA
    return [clip[:, :, ::alpha].contiguous(), clip] if cfg.MODEL.ARCH == "slowfast" else [clip]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("config", "kind", "prefix"),
    [
        ("X3D_S", "pytorchvideo", ""),
        ("X3D_S", "auto", "model."),
        ("pytorchvideo/R2PLUS1D_16x4_R50", "pytorchvideo", "model."),
    ],
)
def test_a_file_of_the_zoo(config, kind, prefix, tmp_path):
    """Our windows pool a training clip as theirs do; the file needs no conversion."""
    name, builder, options = HUB[config]
    theirs = randomised(hub(builder, **options))
    weights = {f"{prefix}{key}": value for key, value in theirs.state_dict().items()}
    torch.save({"model_state": weights}, tmp_path / "zoo.pyth")
    cfg = cfg_of(config, name)
    model = build_model(cfg).eval()
    load_strict(model, read_weights(tmp_path / "zoo.pyth", kind, model=model))
    clips = inputs_of(cfg)
    with torch.no_grad():
        torch.testing.assert_close(model(clips), theirs(clips[0]), rtol=0, atol=1e-5)


def test_a_file_of_the_zoo_through_the_config(tmp_path):
    from slowfast.engine.weights import build_initial_weights, build_test_weights

    words = ["RESNET.WIDTH_PER_GROUP", "8", "DATA.NUM_FRAMES", "8", "DATA.TRAIN_CROP_SIZE", "32"]
    words += ["DATA.TRAIN_JITTER_SCALES", "[256,320]"]
    path = tmp_path / "zoo.pyth"
    for kind in ("TRAIN", "TEST"):
        words += [f"{kind}.CHECKPOINT_TYPE", "pytorchvideo", f"{kind}.CHECKPOINT_FILE_PATH", path]
    cfg = cfg_of("pytorchvideo/R2PLUS1D_16x4_R50", None, *map(str, words))
    model, tested, trained = (build_model(cfg) for _ in range(3))
    bare = {key.removeprefix("model."): value for key, value in model.state_dict().items()}
    torch.save({"model_state": bare}, path)
    build_test_weights(cfg, tested, tmp_path)
    build_initial_weights(cfg, trained)
    for other in (tested, trained):
        for key, value in model.state_dict().items():
            assert torch.equal(other.state_dict()[key], value), key


@pytest.mark.slow
@pytest.mark.parametrize("config", ["X3D_S", "SLOWFAST_8x8_R50"])
def test_ours_equals_theirs_both_ways(config):
    """At the published clip: our outputs with their weights, and theirs with ours."""
    _, builder, options = HUB[config]
    theirs, ours = randomised(hub(builder, **options)), build_model(cfg_of(config)).eval()
    clips = inputs_of(cfg_of(config))
    ours.load_state_dict(from_pytorchvideo(theirs.state_dict()))
    assert_equal_outputs(theirs, ours, clips)
    theirs.load_state_dict(to_pytorchvideo(randomised(ours).state_dict()))
    assert_equal_outputs(theirs, ours, clips)


def assert_equal_outputs(theirs, ours, clips):
    with torch.no_grad():
        expected = theirs(list(clips) if len(clips) > 1 else clips[0])
        assert expected.std() > 1e-3
        torch.testing.assert_close(ours(clips), expected, rtol=0, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("config", ["X3D_S", "SLOW_8x8_R50", "I3D_8x8_R50", "C2D_8x8_R50"])
@pytest.mark.parametrize("direction", ["ours to theirs", "theirs to ours"])
def test_checkpoints_cross_over_by_themselves(config, direction, tmp_path):
    """Every file loads into either code of a network, and predicts the same at a larger crop."""
    words = ["DATA.NUM_FRAMES", "4", "DATA.TRAIN_CROP_SIZE", "64", "MODEL.NUM_CLASSES", "7"]
    cfgs = [cfg_of(config, None, *words), cfg_of(config, HUB[config][0], *words)]
    saved, loaded = (build_model(cfg) for cfg in cfgs[:: 1 if direction[0] == "o" else -1])
    torch.save({"model_state": randomised(saved).state_dict()}, tmp_path / "w.pyth")
    load_strict(loaded.eval(), read_weights(tmp_path / "w.pyth", model=loaded))
    clips = inputs_of(cfgs[0], crop=96)
    with torch.no_grad():
        expected = saved.predict(clips)
        torch.testing.assert_close(loaded.predict(clips), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("several", [False, True])
def test_tasks_cross_over(several):
    classes = {"verb": 3, "noun": 4} if several else 5
    theirs = small("PTVX3D", num_classes=classes)
    ours = MODELS.get("X3D")(
        num_classes=classes, depth_factor=1.0, num_frames=8, crop_size=64
    )  # fmt: skip
    ours.load_state_dict(from_pytorchvideo(theirs.state_dict()))
    back = to_pytorchvideo(ours.state_dict())
    assert {f"model.{name}" for name in back} == set(theirs.state_dict())


# Errors


@pytest.mark.parametrize(
    ("config", "words", "message"),
    [
        ("X3D_S", "MODEL.MODEL_NAME PTVResNet", "ARCH x3d does not go with .* PTVResNet: set one"),
        ("I3D_NLN_8x8_R50", "MODEL.MODEL_NAME PTVResNet", "PTVResNet has no non-local blocks"),
        ("SLOW_8x8_R50", "MODEL.MODEL_NAME PTVResNet RESNET.DEPTH 18", r"has \[50, 101, 152\]"),
        ("X3D_S", "MODEL.MODEL_NAME PTVX3D X3D.SCALE_RES2 True", "SCALE_RES2 is True, and .*False"),
        (
            "SLOWFAST_8x8_R50",
            "MODEL.MODEL_NAME PTVSlowFast MODEL.DROPCONNECT_RATE 0.1",
            "DROPCONNECT_RATE is 0.1, and MODEL.MODEL_NAME PTVSlowFast has 0.0 only",
        ),
        (
            "SLOWFAST_8x8_R50",
            "MODEL.MODEL_NAME PTVSlowFast RESNET.TRANS_FUNC basic_transform",
            "TRANS_FUNC is basic_transform",
        ),
    ],
)
def test_what_they_do_not_have_is_refused(config, words, message):
    with pytest.raises(ValueError, match=message):
        build_model(cfg_of(config, None, *words.split()))


def test_without_the_package_one_clear_error(monkeypatch):
    for name in [m for m in sys.modules if m.split(".")[0] == "pytorchvideo"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "pytorchvideo", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install -e '\.\[pytorchvideo\]'"):
        build_model(cfg_of("X3D_S", "PTVX3D"))
