import collections
import json
import os
import pickle
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from slowfast.checkpoint import CheckpointMismatch, load_strict, read_weights
from slowfast.checkpoint.caffe2 import caffe2_name
from slowfast.checkpoint.convert import merge_sub_batchnorm, state_of, strip_wrappers
from slowfast.checkpoint.io import CheckpointError
from slowfast.checkpoint.pytorchvideo import from_pytorchvideo, to_pytorchvideo
from slowfast.models.resnet3d import ResNet3D
from slowfast.models.slowfast import SlowFast
from slowfast.models.tiny import TinyNet
from slowfast.models.x3d import X3D

SHAPES = Path(__file__).parents[2].parent / "shared" / "reference" / "state_dict_shapes.json"


def randomised(model):
    """Fresh weights whose batch norms are not the identity."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm3d):
            for tensor in (module.weight, module.running_var):
                nn.init.uniform_(tensor, 0.5, 1.0)
            for tensor in (module.bias, module.running_mean):
                nn.init.normal_(tensor, std=0.1)
    return model.eval()


# ---- caffe2


def blob_name(name):
    """Our name -> caffe2's, written from the zoo's naming rules, not from the code under test."""
    if name.endswith("num_batches_tracked"):
        return None
    module, leaf = name.rsplit(".", 1)
    suffix = {"weight": "w", "bias": "b"}.get(leaf)
    is_norm = re.search(r"(bn|_fuse\.bn)$", module) is not None
    if is_norm:
        suffix = {"weight": "s", "bias": "b", "running_mean": "rm", "running_var": "riv"}[leaf]
    pathway = "t_" if "pathway1" in module else ""
    if module == "head.projection":
        return f"pred_{suffix}"
    if module.startswith("head."):
        return f"{module.removeprefix('head.')}_{suffix}"
    if "_stem." in module:
        layer = module.rsplit(".", 1)[1]
        layer = {"conv": "conv1", "conv_xy": "conv1_xy", "bn": "res_conv1_bn"}[layer]
        return f"{pathway}{layer}_{suffix}"
    if "_fuse" in module:
        stage = int(module[1])
        last = {2: 2, 3: 3, 4: 5}.get(stage)
        base = "t_pool1_subsample" if stage == 1 else f"t_res{stage}_{last}_branch2c_bn_subsample"
        return f"{base}_bn_{suffix}" if is_norm else f"{base}_{suffix}"
    stage = module[1]
    index = re.search(r"(?:res|nonlocal)(\d+)", module)[1]
    layer = module.split(".", 2)[2]
    if "nonlocal" in module:
        return f"nonlocal_conv{stage}_{index}_{layer.removeprefix('conv_')}_{suffix}"
    layer = re.sub(r"branch2\.se\.fc", "branch2b_bn_fc", layer)
    layer = re.sub(r"branch2\.([abc])", r"branch2\1", layer)
    return f"{pathway}res{stage}_{index}_{layer}_{suffix}"


@pytest.mark.parametrize(
    ("blob", "name"),
    [
        ("conv1_w", "s1.pathway0_stem.conv.weight"),
        ("conv1_xy_w", "s1.pathway0_stem.conv_xy.weight"),
        ("t_conv1_w", "s1.pathway1_stem.conv.weight"),
        ("res_conv1_bn_riv", "s1.pathway0_stem.bn.running_var"),
        ("t_res_conv1_bn_s", "s1.pathway1_stem.bn.weight"),
        ("res2_0_branch1_w", "s2.pathway0_res0.branch1.weight"),
        ("res2_0_branch1_bn_b", "s2.pathway0_res0.branch1_bn.bias"),
        ("t_res4_5_branch2b_bn_rm", "s4.pathway1_res5.branch2.b_bn.running_mean"),
        ("res3_2_branch2b_bn_fc1_b", "s3.pathway0_res2.branch2.se.fc1.bias"),
        ("t_pool1_subsample_w", "s1_fuse.conv_f2s.weight"),
        ("t_pool1_subsample_bn_s", "s1_fuse.bn.weight"),
        ("t_res3_3_branch2c_bn_subsample_w", "s3_fuse.conv_f2s.weight"),
        ("t_res3_3_branch2c_bn_subsample_bn_riv", "s3_fuse.bn.running_var"),
        ("nonlocal_conv4_5_theta_w", "s4.pathway0_nonlocal5.conv_theta.weight"),
        ("nonlocal_conv4_5_bn_s", "s4.pathway0_nonlocal5.bn.weight"),
        ("conv_5_bn_b", "head.conv_5_bn.bias"),
        ("lin_5_w", "head.lin_5.weight"),
        ("pred_b", "head.projection.bias"),
    ],
)
def test_caffe2_names(blob, name):
    assert caffe2_name(blob) == name


def test_every_name_of_the_zoo_has_a_blob():
    if not SHAPES.is_file():
        pytest.skip(f"no {SHAPES}")
    checked = 0
    for entries in json.loads(SHAPES.read_text()).values():
        for name in (*entries["params"], *entries["buffers"]):
            blob = blob_name(name)
            if blob:
                assert caffe2_name(blob) == name, blob
                checked += 1
    assert checked > 3000


def write_caffe2(model, path, **extra):
    blobs = {blob_name(n): v.numpy() for n, v in model.state_dict().items() if blob_name(n)}
    blobs["pred_w"] = blobs["pred_w"].reshape(*blobs["pred_w"].shape, 1, 1, 1)
    blobs |= {"conv1_w_momentum": np.zeros(3), "lr": np.float32(0.1), "model_iter": 7}
    path.write_bytes(pickle.dumps({"blobs": blobs, **extra}, protocol=2))


@pytest.mark.parametrize("family", ["slowfast", "x3d", "i3d with attention"])
def test_caffe2_round_trip(family, tmp_path):
    def build():
        if family == "slowfast":
            return SlowFast(num_classes=5, width=16, alpha=4, num_frames=8, crop_size=32)
        if family == "x3d":
            return X3D(num_classes=5, num_frames=4, crop_size=32)
        from slowfast.models.layers.non_local import NonLocalSpec
        from slowfast.models.layers.stage import PathwaySpec

        attention = (NonLocalSpec(), NonLocalSpec(after=(1, 3)), NonLocalSpec(), NonLocalSpec())
        return ResNet3D(
            num_classes=5, arch="i3d", width=8, pathway=PathwaySpec(non_local=attention)
        )

    model, other = randomised(build()), build()
    write_caffe2(model, tmp_path / "model.pkl")
    load_strict(other, read_weights(tmp_path / "model.pkl", model=other))
    for name, value in other.state_dict().items():
        if not name.endswith("num_batches_tracked"):
            assert torch.equal(value, model.state_dict()[name]), name


def test_python_2_pickle(tmp_path):
    """Protocol 2 as Python 2 and NumPy 1 wrote it: text is latin1, the module was renamed."""
    data = pickle.dumps({"blobs": {"pred_b": np.arange(3, dtype=np.float32)}}, protocol=2)
    old = data.replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    (tmp_path / "old.pkl").write_bytes(old)
    assert old != data
    state = read_weights(tmp_path / "old.pkl")
    assert state["head.projection.bias"].tolist() == [0, 1, 2]


class Malicious:
    def __reduce__(self):
        return os.system, ("touch pwned",)


class Sneaky:
    def __reduce__(self):
        return getattr, (np.ndarray, "tofile")


@pytest.mark.parametrize(
    "payload",
    [Malicious(), Sneaky(), {"blobs": {"pred_w": Malicious()}}, collections.Counter(), print],
    ids=["system", "getattr", "inside", "counter", "function"],
)
def test_code_in_a_pickle_is_refused(payload, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "bad.pkl"
    path.write_bytes(pickle.dumps(payload, protocol=2))
    with pytest.raises(CheckpointError, match=r"bad.pkl.*could run any code, so it is refused"):
        read_weights(path)
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"not a pickle", "not a readable caffe2 .pkl"),
        (pickle.dumps([1, 2]), "a dictionary with `blobs` expected"),
        (pickle.dumps({"blobs": {"pred_w": "text"}}), r"blobs \['pred_w'\] are not arrays"),
        (
            pickle.dumps({"blobs": {"pred_w": np.array([None], dtype=object)}}),
            r"blobs \['pred_w'\] are not arrays",
        ),
        (pickle.dumps({"blobs": {"fancy_w": np.zeros(1)}}), "no rule turns .* 'fancy_w'"),
    ],
)
def test_other_pickles(content, message, tmp_path):
    path = tmp_path / "odd.pkl"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=message):
        read_weights(path)


# ---- PyTorchVideo


def import_pytorchvideo(module):
    from slowfast.utils import vision  # declares what torchvision misses beside a CPU-only torch

    vision.functional()
    return pytest.importorskip(f"pytorchvideo.models.{module}")


def clips(frames, crop=64):
    clip = torch.randn(2, 3, frames, crop, crop)
    return clip


def assert_same_outputs(theirs, ours, inputs):
    with torch.no_grad():
        expected = theirs.eval()(list(inputs) if len(inputs) > 1 else inputs[0])
        torch.testing.assert_close(ours.eval()(inputs), expected, rtol=0, atol=1e-5)


def x3d_pair():
    ptv = import_pytorchvideo("x3d").create_x3d(
        input_clip_length=4, input_crop_size=64, model_num_class=7, depth_factor=2.2,
        head_activation=None,
    )  # fmt: skip
    return ptv, X3D(num_classes=7, num_frames=4, crop_size=64), [clips(4)]


def slowfast_pair():
    ptv = import_pytorchvideo("slowfast").create_slowfast(
        model_num_class=7, slowfast_channel_reduction_ratio=(8,),
        slowfast_conv_channel_fusion_ratio=2, slowfast_fusion_conv_kernel_size=(7, 1, 1),
        slowfast_fusion_conv_stride=(4, 1, 1), head_pool_kernel_sizes=((2, 2, 2), (8, 2, 2)),
    )  # fmt: skip
    clip = clips(8)
    ours = SlowFast(num_classes=7, alpha=4, fusion_kernel=7, num_frames=8, crop_size=64)
    return ptv, ours, [clip[:, :, ::4], clip]


def slow_pair():
    ptv = import_pytorchvideo("resnet").create_resnet(
        model_num_class=7, stem_conv_kernel_size=(1, 7, 7), head_pool_kernel_size=(4, 2, 2),
        stage_conv_a_kernel_size=((1, 1, 1), (1, 1, 1), (3, 1, 1), (3, 1, 1)),
        head_activation=None,
    )  # fmt: skip
    return ptv, ResNet3D(num_classes=7, arch="slow", num_frames=4, crop_size=64), [clips(4)]


def c2d_pair():
    ptv = import_pytorchvideo("resnet").create_resnet(
        model_num_class=7, stem_conv_kernel_size=(1, 7, 7), head_pool_kernel_size=(2, 2, 2),
        stage1_pool=nn.MaxPool3d, stage1_pool_kernel_size=(2, 1, 1),
        stage_conv_a_kernel_size=((1, 1, 1),) * 4, head_activation=None,
    )  # fmt: skip
    return ptv, ResNet3D(num_classes=7, arch="c2d", num_frames=4, crop_size=64), [clips(4)]


PAIRS = {"x3d": x3d_pair, "slowfast": slowfast_pair, "resnet": slow_pair, "resnet_pool": c2d_pair}


@pytest.mark.slow
@pytest.mark.parametrize("prefix", ["", "model."])
@pytest.mark.parametrize("family", PAIRS)
def test_pytorchvideo_weights_give_pytorchvideos_outputs(family, prefix, tmp_path):
    ptv, ours, inputs = PAIRS[family]()
    randomised(ptv)
    weights = {f"{prefix}{name}": value for name, value in ptv.state_dict().items()}
    torch.save({"model_state": weights}, tmp_path / "ptv.pyth")
    load_strict(ours, read_weights(tmp_path / "ptv.pyth"))
    assert_same_outputs(ptv, ours, inputs)


@pytest.mark.slow
@pytest.mark.parametrize("family", PAIRS)
def test_our_weights_in_pytorchvideo(family):
    ptv, ours, inputs = PAIRS[family]()
    state = to_pytorchvideo(randomised(ours).state_dict(), family=family)
    ptv.load_state_dict(state)  # strict
    assert_same_outputs(ptv, ours, inputs)


@pytest.mark.parametrize("family", ["x3d", "slowfast"])
def test_pytorchvideo_names_there_and_back(family):
    model = {
        "x3d": lambda: X3D(num_classes=7, num_frames=4, crop_size=64, bn_lin5=True),
        "slowfast": lambda: SlowFast(num_classes=7, width=16),
    }[family]()
    state = model.state_dict()
    back = from_pytorchvideo(to_pytorchvideo(state))
    assert set(back) == set(state)
    changed = [n for n in state if not torch.equal(back[n], state[n])]
    assert all(n.startswith("s2.pathway0_res0.") for n in changed)  # X3D's folded norm
    if family == "slowfast":
        assert changed == []


def test_a_name_no_rule_knows():
    with pytest.raises(CheckpointError, match=r"no rule renames 'blocks.9.odd.weight'"):
        from_pytorchvideo({"blocks.9.odd.weight": torch.zeros(1)})


# ---- other sources


def test_wrappers_are_stripped(tiny, tmp_path):
    assert strip_wrappers("module._orig_mod.module.s1.w") == "s1.w"
    wrapped = {f"module.{name}": value for name, value in tiny.state_dict().items()}
    for key in ("model_state", "state_dict", None):
        torch.save({key: wrapped} if key else wrapped, tmp_path / "w.pyth")
        assert set(read_weights(tmp_path / "w.pyth")) == set(tiny.state_dict())


def test_no_weights_in_the_file():
    with pytest.raises(CheckpointError, match=r"odd.pyth holds no weights .* it has \['epoch'\]"):
        state_of({"epoch": 3}, source="odd.pyth")


def test_sub_batch_norms_become_plain():
    mean, var = torch.randn(3), torch.rand(3)
    merged = merge_sub_batchnorm(
        {
            "s1.stem.bn.weight": torch.ones(3, 1, 1, 1),
            "s1.stem.bn.bias": torch.zeros(3, 1, 1, 1),
            "s1.stem.bn.bn.running_mean": mean,
            "s1.stem.bn.bn.running_var": var,
            "s1.stem.bn.bn.num_batches_tracked": torch.tensor(0),
            "s1.stem.bn.split_bn.running_mean": torch.zeros(6),
            "s1.stem.bn.split_bn.running_var": torch.zeros(6),
            "s1.stem.bn.split_bn.num_batches_tracked": torch.tensor(9),
            "s1_fuse.bn.running_mean": mean,
        }
    )
    assert {name: tuple(value.shape) for name, value in merged.items()} == {
        "s1.stem.bn.weight": (3,),
        "s1.stem.bn.bias": (3,),
        "s1.stem.bn.running_mean": (3,),
        "s1.stem.bn.running_var": (3,),
        "s1.stem.bn.num_batches_tracked": (),
        "s1_fuse.bn.running_mean": (3,),
    }
    assert merged["s1.stem.bn.running_mean"] is mean
    assert merged["s1.stem.bn.num_batches_tracked"] == 9


def test_inflated_filters_see_a_still_clip_as_the_image(tmp_path):
    """On a clip of one repeated frame every position gets the 2-D answer, borders aside."""
    model = TinyNet(num_classes=4).eval()
    flat = {n: (v[:, :, 0] if v.ndim == 5 else v).clone() for n, v in model.state_dict().items()}
    torch.save(flat, tmp_path / "2d.pyth")
    load_strict(model, read_weights(tmp_path / "2d.pyth", model=model, inflate=True))
    image = torch.randn(1, 3, 8, 8)
    expected = torch.conv2d(image, flat["features.0.weight"], padding=1)
    got = model.features[0](image[:, :, None].expand(-1, -1, 5, -1, -1))[:, :, 2]
    torch.testing.assert_close(got, expected)
    with pytest.raises(CheckpointMismatch, match=r"does not fit"):
        load_strict(model, read_weights(tmp_path / "2d.pyth", model=model))


def test_bad_arguments(tmp_path):
    with pytest.raises(ValueError, match="give one of"):
        read_weights(tmp_path / "x.pyth", "onnx")
    with pytest.raises(ValueError, match="inflate needs the model"):
        read_weights(tmp_path / "x.pyth", inflate=True)
    for name in ("x.pyth", "x.pkl"):
        with pytest.raises(FileNotFoundError, match=name):
            read_weights(tmp_path / name)
