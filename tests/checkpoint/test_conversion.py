"""Every pair of layouts that makes sense, and what must be refused."""

import json
import os
import pickle

import pytest
import torch
from torch import nn

from slowfast.checkpoint import load_strict, read_weights
from slowfast.checkpoint.conversion import convert_file, write_converted
from slowfast.checkpoint.io import CheckpointError, read_checkpoint
from slowfast.checkpoint.layouts import LAYOUTS, detect
from slowfast.config import get_cfg
from slowfast.models.imfe import IMFE
from slowfast.models.layers.non_local import NonLocalSpec
from slowfast.models.layers.stage import PathwaySpec
from slowfast.models.mobilenetv3 import MobileNetV3
from slowfast.models.resnet3d import ResNet3D
from slowfast.models.resnet_lstm import ResNetLSTM
from slowfast.models.slowfast import SlowFast
from slowfast.models.tiny import TinyNet
from slowfast.models.x3d import X3D

ATTENTION = PathwaySpec(non_local=(NonLocalSpec(), NonLocalSpec(after=(1,)), *[NonLocalSpec()] * 2))
TASKS = {"verb": 3, "noun": 4}
BUILD = {
    "slowfast": lambda **kw: SlowFast(width=16, alpha=4, num_frames=8, crop_size=32, **kw),
    "x3d": lambda **kw: X3D(depth_factor=1.0, num_frames=4, crop_size=32, **kw),
    "slow": lambda **kw: ResNet3D(arch="slow", width=8, num_frames=4, crop_size=32, **kw),
    "i3d": lambda **kw: ResNet3D(arch="i3d", width=8, num_frames=4, crop_size=32, **kw),
    "attention": lambda **kw: ResNet3D(arch="i3d", width=8, pathway=ATTENTION, **kw),
    "s3d": lambda **kw: MobileNetV3(width_mult=0.35, **kw),
    "x3d_lgd": lambda **kw: MobileNetV3(width_mult=0.35, arch="x3d_mobilenetv3_lgd_gc", **kw),
    "imfe": lambda num_classes=None: IMFE(
        correlation="all_pairs", widths=(8, 8, 12, 16), num_frames=3, input_size=(64, 72),
        num_classes=num_classes,
    ),
    "lstm": lambda num_classes=TASKS: ResNetLSTM(
        depth=18, hidden_size=8, num_classes=num_classes
    ),
    "tiny": lambda **kw: TinyNet(**kw),
}  # fmt: skip


def build(name, **options):
    """A small network of the family with batch norms unlike fresh ones."""
    torch.manual_seed(0)
    options = options or ({} if name in ("imfe", "lstm") else {"num_classes": 5})
    model = BUILD[name](**options)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d | nn.BatchNorm3d):
            nn.init.uniform_(module.weight, 0.5, 1.0)
            nn.init.uniform_(module.running_var, 0.5, 1.0)
            nn.init.normal_(module.bias, std=0.1)
            nn.init.normal_(module.running_mean, std=0.1)
            module.num_batches_tracked.fill_(7)
    return model.eval()


def clips_of(name):
    if name == "slowfast":
        clip = torch.randn(1, 3, 8, 32, 32)
        return [clip[:, :, ::4], clip]
    size = {"imfe": (3, 64, 72), "lstm": (4, 32, 32)}.get(name, (4, 32, 32))
    return [torch.randn(1, 3, *size)]


def save(model, path, **extra):
    torch.save({"model_state": model.state_dict(), **extra}, path)
    return path


def outputs(model, clips):
    with torch.no_grad():
        scores = model.predict(clips)
    return scores if isinstance(scores, dict) else {"action": scores}


PAIRS = [
    ("slowfast", "pytorchvideo"),
    ("x3d", "pytorchvideo"),
    ("slow", "pytorchvideo"),
    ("i3d", "pytorchvideo"),
    ("slowfast", "caffe2"),
    ("x3d", "caffe2"),
    ("attention", "caffe2"),
    ("s3d", "ote"),
    ("x3d_lgd", "ote"),
    ("imfe", "imfe"),
    ("lstm", "epic_lstm"),
]


@pytest.mark.parametrize(("name", "layout"), PAIRS)
def test_there_and_back(name, layout, tmp_path):
    model, other = build(name), build(name)
    for tensor in other.state_dict().values():
        tensor.zero_()
    ours = save(model, tmp_path / "ours.pyth", epoch=3, optimizer_state={"state": {}})
    theirs = tmp_path / ("theirs.pkl" if layout == "caffe2" else "theirs.pth")
    there = convert_file(ours, target=layout, model=model, arch=name if name == "i3d" else None)
    assert there.layouts == ("pyslowfast", layout)
    assert there.unread == ("epoch", "optimizer_state")
    assert there.problems == []
    write_converted(there, theirs)
    back = convert_file(theirs, model=other)  # tells the layout by itself
    assert back.layouts == (layout, "pyslowfast")
    write_converted(back, tmp_path / "back.pyth", cfg_yaml="A: 1")
    assert read_checkpoint(tmp_path / "back.pyth")["cfg"] == "A: 1"
    load_strict(other, read_weights(tmp_path / "back.pyth", "pytorch"))
    clips = clips_of(name)
    expected = outputs(model, clips)
    for task, scores in outputs(other, clips).items():
        torch.testing.assert_close(scores, expected[task], rtol=0, atol=1e-6)
    got = other.state_dict()
    changed = {n for n, value in model.state_dict().items() if not torch.equal(got[n], value)}
    counters = {n for n in changed if n.endswith("num_batches_tracked")}
    if layout == "caffe2":  # it has no counters
        assert changed == counters
    elif name == "x3d":  # a batch norm that PyTorchVideo does not have
        assert {n.rpartition(".branch")[0] for n in changed} == {"s2.pathway0_res0"}
    else:
        assert not changed


@pytest.mark.parametrize(("name", "layout"), PAIRS)
def test_files_of_the_project_load_without_conversion(name, layout, tmp_path):
    """What read_weights knows and what the tool knows is the same."""
    model = build(name)
    path = tmp_path / ("theirs.pkl" if layout == "caffe2" else "theirs.pth")
    ours = save(model, tmp_path / "ours.pyth")
    write_converted(convert_file(ours, target=layout, arch=name if name == "i3d" else None), path)
    load_strict(build(name), read_weights(path, model=model))


@pytest.mark.parametrize("name", ["slowfast", "x3d", "slow"])
def test_pytorchvideo_and_caffe2(name, tmp_path):
    model = build(name)
    ptv, blobs = tmp_path / "ptv.pyth", tmp_path / "c2.pkl"
    ours = save(model, tmp_path / "ours.pyth")
    write_converted(convert_file(ours, target="pytorchvideo"), ptv)
    write_converted(convert_file(ptv, target="caffe2"), blobs)
    write_converted(convert_file(blobs, target="pytorchvideo"), tmp_path / "again.pyth")
    again, first = (read_checkpoint(p)["model_state"] for p in (tmp_path / "again.pyth", ptv))
    bare = {k: v for k, v in first.items() if not k.endswith("num_batches_tracked")}
    assert set(again) == set(bare)
    for key, value in bare.items():
        torch.testing.assert_close(again[key], value, rtol=1e-6, atol=1e-7)


def test_the_account(tmp_path):
    found = convert_file(save(build("x3d"), tmp_path / "x3d.pyth"), target="pytorchvideo")
    sources = [row.source for row in found.rows if row.source]
    targets = [row.target for row in found.rows if row.target]
    assert sorted(sources) == sorted(build("x3d").state_dict())  # every tensor, once
    assert sorted(targets) == sorted(found.state)
    by_name = {row.source: row for row in found.rows}
    row = by_name["s1.pathway0_stem.conv.weight"]
    assert (row.target, row.status) == ("blocks.0.conv.conv_xy.weight", "renamed")
    folded = by_name["s2.pathway0_res0.branch1_bn.weight"]
    assert (folded.target, folded.status) == (None, "left out")
    assert "computed into its neighbours" in folded.note
    counts = {(status, note): tensors for status, note, tensors, _, _ in found.summary()}
    assert counts["renamed", ""] == len(found.state) - 2
    plain = json.loads(json.dumps(found.as_dict()))
    assert plain["tensors"] == {"renamed": 259, "left out": 7, "added": 2}
    assert len(plain["rows"]) == 268
    assert plain["problems"] == []


def test_rearranged_tensors_are_told(tmp_path):
    found = convert_file(save(build("s3d"), tmp_path / "m.pyth"), target="ote")
    row = next(row for row in found.rows if row.source == "head.projection.weight")
    assert (row.target, row.note) == ("cls_head.fc_angular.weight", "transposed")


def test_imfe_gets_what_its_code_expects(tmp_path):
    model = IMFE(correlation="all_pairs")
    found = convert_file(save(model, tmp_path / "m.pyth"), target="imfe")
    added = [row for row in found.rows if row.status == "added"]
    buffers = ("running_mean", "running_var", "num_batches_tracked")
    sizes = [found.state[r.target].numel() for r in added if not r.target.endswith(buffers)]
    assert sum(sizes) / 1e6 == pytest.approx(29.193 - 25.612, abs=1e-3)  # as published
    assert {row.note for row in added} == {"zeros: expected there, never used"}


def test_detect():
    assert detect(build("tiny").state_dict()) == "pyslowfast"
    assert set(LAYOUTS) == {"pyslowfast", "pytorchvideo", "caffe2", "ote", "imfe", "epic_lstm"}


def test_wrappers_and_split_batch_norms(tmp_path):
    mean = torch.randn(3)
    state = {
        "module.s1.pathway0_stem.bn.weight": torch.ones(3, 1, 1, 1),
        "module.s1.pathway0_stem.bn.bias": torch.zeros(3, 1, 1, 1),
        "module.s1.pathway0_stem.bn.bn.running_mean": mean,
        "module.s1.pathway0_stem.bn.bn.num_batches_tracked": torch.tensor(1),
        "module.s1.pathway0_stem.bn.split_bn.running_mean": torch.zeros(6),
        "module.s1.pathway0_stem.bn.split_bn.num_batches_tracked": torch.tensor(2),
    }
    torch.save({"model_state": state}, tmp_path / "sub.pyth")
    found = convert_file(tmp_path / "sub.pyth")
    assert found.problems == []
    assert torch.equal(found.state["s1.pathway0_stem.bn.running_mean"], mean)
    notes = {row.source: row.note for row in found.rows}
    assert notes["module.s1.pathway0_stem.bn.weight"] == "reshaped"
    assert "training batch" in notes["module.s1.pathway0_stem.bn.split_bn.running_mean"]


# PyTorchVideo's networks that are not ours


def ptv(name, **options):
    pytest.importorskip("pytorchvideo")
    from slowfast.models import MODELS

    return MODELS.get(name)(num_classes=5, num_frames=8, crop_size=32, **options).eval()


def test_networks_that_only_pytorchvideo_has(tmp_path):
    """PySlowFast's layout of them is PyTorchVideo's names behind a prefix."""
    model = ptv("PTVCSN", width=8)
    path = save(model, tmp_path / "ours.pyth")
    there = convert_file(path, target="pytorchvideo", model=model)
    write_converted(there, tmp_path / "zoo.pyth")
    assert all(name.startswith("blocks.") for name in there.state)
    back = convert_file(tmp_path / "zoo.pyth", model=model)
    assert back.problems == []
    assert set(back.state) == set(model.state_dict())
    with pytest.raises(CheckpointError, match=r"CSN: they load into MODEL.MODEL_NAME PTVCSN only"):
        convert_file(tmp_path / "zoo.pyth")


@pytest.mark.parametrize("layout", ["pytorchvideo", "caffe2"])
def test_ours_for_a_network_of_pytorchvideo(layout, tmp_path):
    """--cfg of a PTV model: whatever the file, the result has that model's names."""
    model = ptv("PTVX3D", depth_factor=1.0)
    ours = X3D(num_classes=5, num_frames=8, crop_size=32, depth_factor=1.0).eval()
    path = tmp_path / "file.pkl" if layout == "caffe2" else tmp_path / "file.pyth"
    write_converted(convert_file(save(ours, tmp_path / "m.pyth"), target=layout), path)
    found = convert_file(path, model=model)
    assert found.problems == []
    load_strict(model, found.state)
    load_strict(model, read_weights(path, model=model))
    clip = [torch.randn(1, 3, 8, 32, 32)]
    torch.testing.assert_close(model.predict(clip), ours.predict(clip), rtol=0, atol=1e-6)
    blobs = convert_file(save(model, tmp_path / "ptv.pyth"), target="caffe2", model=model)
    assert blobs.problems == []


# Refused


def test_c2d_and_i3d_need_the_architecture(tmp_path):
    path = save(build("i3d"), tmp_path / "i3d.pyth")
    with pytest.raises(CheckpointError, match=r"have the same weights but other names .* --cfg"):
        convert_file(path, target="pytorchvideo")
    cfg = get_cfg()
    cfg.MODEL.ARCH, cfg.MODEL.MODEL_NAME = "i3d", "ResNet"
    path = save(build("i3d"), tmp_path / "with_cfg.pyth", cfg=cfg.dump())
    names = convert_file(path, target="pytorchvideo").state
    assert "blocks.6.proj.weight" in names  # pooling after res2 is block 2


@pytest.mark.parametrize(
    ("name", "options", "layout", "message"),
    [
        ("attention", {}, "pytorchvideo", "no rule renames 's3.pathway0_nonlocal1"),
        ("x3d", {"num_classes": TASKS}, "caffe2", "no layer for 'head.projection_verb.weight'"),
        ("tiny", {}, "caffe2", "no layer for 'features.0.weight'"),
        ("tiny", {}, "pytorchvideo", "no rule renames 'features.0.weight'"),
        ("tiny", {}, "ote", r"no place for \['features.0.weight'"),
        ("tiny", {}, "imfe", r"no place for \['features.0.weight'"),
        ("tiny", {}, "epic_lstm", "no place for 'features.0.weight'"),
        ("s3d", {"num_classes": TASKS}, "ote", r"no place for \['head.projection_verb"),
        ("imfe", {"num_classes": 5}, "imfe", r"no place for \['head.projection.weight'"),
        ("lstm", {"num_classes": 5}, "epic_lstm", "no place for 'head.projection.weight'"),
    ],
)
def test_what_the_other_layout_cannot_hold(name, options, layout, message, tmp_path):
    path = save(build(name, **options), tmp_path / "m.pyth")
    with pytest.raises(CheckpointError, match=message):
        convert_file(path, target=layout)


def test_a_lost_tensor_is_refused_unless_named(tmp_path):
    """A second head of a network that was trained on several datasets."""
    state = convert_file(save(build("s3d"), tmp_path / "m.pyth"), target="ote").state
    state |= {"cls_head.1.fc_angular.weight": torch.ones(256, 9), "cls_head.head_loss.s": mean()}
    path = tmp_path / "snapshot.pth"
    torch.save({"state_dict": state}, path)
    found = convert_file(path)
    assert found.problems == [
        "1 tensor would be lost: cls_head.1.fc_angular.weight. Name those that may be with "
        "--drop 'PATTERN'"
    ]
    with pytest.raises(CheckpointError, match=r"snapshot.pth \(ote\) cannot become pyslowfast:\n"):
        write_converted(found, tmp_path / "out.pyth")
    assert not (tmp_path / "out.pyth").exists()
    found = convert_file(path, drop=["cls_head.1.*"])
    assert found.problems == []
    row = next(row for row in found.rows if row.source == "cls_head.1.fc_angular.weight")
    assert row.note == "asked for (--drop)"


def mean():
    return torch.ones(1)


def test_two_tensors_for_one_name_are_refused(tmp_path):
    """A deeper head of the LSTM project: our head is one layer."""
    state = convert_file(save(build("lstm"), tmp_path / "m.pyth"), target="epic_lstm").state
    state["verb_head.4.weight"] = torch.ones(3, 16)
    torch.save({"model_state_dict": state}, tmp_path / "deep.pth")
    (problem,) = convert_file(tmp_path / "deep.pth").problems
    assert "would be lost: verb_head.1.weight" in problem


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (
            {"num_classes": 6},
            r"of another shape in the model: head.projection.weight \(5, 2048\)",
        ),
        (
            {"num_classes": 5, "bn_lin5": True},
            "model that are not in the file: head.lin_5_bn",
        ),
    ],
)
def test_another_model(other, message, tmp_path):
    found = convert_file(save(build("x3d"), tmp_path / "m.pyth"), target="caffe2",
                         model=build("x3d", **other))  # fmt: skip
    with pytest.raises(CheckpointError, match=message):
        found.check()


def test_pruned_networks_keep_their_layout(tmp_path):
    path = save(build("x3d"), tmp_path / "m.pyth", widths="{}", cfg="MODEL: {ARCH: x3d}")
    with pytest.raises(CheckpointError, match="is of a pruned network"):
        convert_file(path, target="caffe2")
    write_converted(convert_file(path), tmp_path / "same.pyth")
    written = read_checkpoint(tmp_path / "same.pyth")
    assert set(written) == {"model_state", "widths", "cfg"}


class Malicious:
    def __reduce__(self):
        return os.system, ("touch pwned",)


@pytest.mark.parametrize("name", ["bad.pkl", "bad.pyth"])
def test_code_in_a_file_is_refused(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    content = {"blobs": {"pred_w": Malicious()}, "model_state": {"a": Malicious()}}
    if name.endswith(".pkl"):
        (tmp_path / name).write_bytes(pickle.dumps(content, protocol=2))
    else:
        torch.save(content, tmp_path / name)
    with pytest.raises(CheckpointError, match=f"{name}.*so it is refused"):
        convert_file(tmp_path / name)
    assert not (tmp_path / "pwned").exists()


def test_a_file_that_is_not_there(tmp_path):
    for name in ("no.pyth", "no.pkl"):
        with pytest.raises(FileNotFoundError, match=name):
            convert_file(tmp_path / name)
