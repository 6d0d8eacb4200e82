"""From config keys to arguments."""

import pytest
import torch

from slowfast.config import load_cfg
from slowfast.models.build import build_model, build_num_classes, preferred_memory_format
from slowfast.models.layers.non_local import NonLocal


def opts(text):
    return text.split()


X3D = opts("MODEL.MODEL_NAME X3D MODEL.ARCH x3d RESNET.TRANS_FUNC x3d_transform")
RESNET = opts("MODEL.MODEL_NAME ResNet MODEL.ARCH i3d DATA.INPUT_CHANNEL_NUM [3]")


def build(*arguments):
    with torch.device("meta"):
        return build_model(load_cfg((), list(arguments)))


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], 400),
        (["MODEL.NUM_CLASSES", "[61]", "MODEL.TASKS", "['action']"], {"action": 61}),
        (
            ["MODEL.NUM_CLASSES", "[97,300]", "MODEL.TASKS", "['verb','noun']"],
            {"verb": 97, "noun": 300},
        ),
    ],
)
def test_classes_and_tasks(arguments, expected):
    assert build_num_classes(load_cfg((), arguments)) == expected


def test_x3d_needs_its_block():
    with pytest.raises(ValueError, match=r"set RESNET.TRANS_FUNC x3d_transform"):
        build(*opts("MODEL.MODEL_NAME X3D MODEL.ARCH x3d"))


def test_resnet_refuses_x3d_blocks():
    with pytest.raises(ValueError, match=r"RESNET.TRANS_FUNC is 'x3d_transform'"):
        build(*RESNET, "RESNET.TRANS_FUNC", "x3d_transform")


def test_resnet_keys_reach_the_network():
    model = build(*RESNET, *opts("RESNET.DEPTH 101 RESNET.STRIDE_1X1 True RESNET.NUM_GROUPS 2"))
    assert sum(1 for name, _ in model.named_modules() if name.endswith("branch2")) == 33
    first = model.s3.pathway0_res0.branch2
    assert first.a.stride == (1, 2, 2)
    assert first.b.stride == (1, 1, 1)
    assert first.b.groups == 2


def test_basic_blocks_and_dilation():
    model = build(
        *RESNET, "RESNET.TRANS_FUNC", "basic_transform", "RESNET.SPATIAL_STRIDES",
        "[[1],[2],[2],[1]]", "RESNET.SPATIAL_DILATIONS", "[[1],[1],[1],[2]]",
    )  # fmt: skip
    block = model.s5.pathway0_res0
    assert tuple(block.branch2.a.weight.shape[2:]) == (1, 3, 3)
    assert block.branch2.b.dilation == (1, 2, 2)
    assert block.branch1.stride == (1, 1, 1)


def test_temporal_kernels_stop_where_the_config_says():
    model = build(*opts("RESNET.DEPTH 101 RESNET.NUM_BLOCK_TEMP_KERNEL [[3,3],[4,4],[6,6],[3,3]]"))
    kernels = [
        [model.s4.get_submodule(f"pathway{p}_res{i}.branch2.a").kernel_size[0] for i in range(23)]
        for p in (0, 1)
    ]
    assert kernels == [[3] * 6 + [1] * 17] * 2


def test_attention_in_one_pathway_of_slowfast():
    model = build(
        "NONLOCAL.LOCATION", "[[[],[]],[[1,3],[]],[[1,3,5],[1]],[[],[]]]",
        "NONLOCAL.INSTANTIATION", "softmax", "NONLOCAL.GROUP", "[[1,1],[1,1],[2,1],[1,1]]",
    )  # fmt: skip
    found = {name: m for name, m in model.named_modules() if isinstance(m, NonLocal)}
    assert sorted(found) == [
        "s3.pathway0_nonlocal1", "s3.pathway0_nonlocal3", "s4.pathway0_nonlocal1",
        "s4.pathway0_nonlocal3", "s4.pathway0_nonlocal5", "s4.pathway1_nonlocal1",
    ]  # fmt: skip
    assert found["s4.pathway0_nonlocal1"].groups == 2
    assert {m.instantiation for m in found.values()} == {"softmax"}


def test_x3d_places_attention_of_res2_in_every_stage():
    """As PySlowFast does; its location key has one entry for X3D."""
    model = build(*X3D, "NONLOCAL.LOCATION", "[[[0]],[[]],[[]],[[]]]")
    found = [name for name, m in model.named_modules() if isinstance(m, NonLocal)]
    assert found == [f"s{i}.pathway0_nonlocal0" for i in range(2, 6)]


def test_x3d_keys_reach_the_network():
    factors = opts("X3D.WIDTH_FACTOR 2.0 X3D.DEPTH_FACTOR 2.2 X3D.BOTTLENECK_FACTOR 2.25")
    model = build(*X3D, *factors, *opts("X3D.SCALE_RES2 True X3D.BN_LIN5 True X3D.DIM_C5 512"))
    assert sum(p.numel() for p in build(*X3D, *factors).parameters()) == 3_794_322
    assert model.num_features == 512
    assert model.head.lin_5_bn.num_features == 512
    assert model.s2.pathway0_res0.branch2.c.out_channels == 48
    dense = build(*X3D, "X3D.CHANNELWISE_3x3x3", "False")
    assert dense.s2.pathway0_res0.branch2.b.groups == 1


def test_distilled_teachers_odd_x3d_has_the_size_its_authors_ran():
    """SCALE_RES2 and BN_LIN5 at once: 9.79 M parameters at 61 classes, not X3D-M's 3.10 M."""
    factors = opts("X3D.WIDTH_FACTOR 2.0 X3D.DEPTH_FACTOR 2.2 X3D.BOTTLENECK_FACTOR 2.25")
    extra = opts("X3D.SCALE_RES2 True X3D.BN_LIN5 True MODEL.NUM_CLASSES 61")
    model = build(*X3D, *factors, *extra)
    assert round(sum(p.numel() for p in model.parameters()) / 1e6, 2) == 9.79


@pytest.mark.parametrize("value", ["same", "none"])
def test_identity_activation_has_two_names(value):
    assert build("MODEL.HEAD_ACT", value).head_act == "none"


@pytest.mark.parametrize(
    ("model", "device", "expected"),
    [
        ("X3D", "cpu", torch.channels_last_3d),
        ("SlowFast", "cuda:1", torch.channels_last_3d),
        ("X3D", "cuda", torch.contiguous_format),
        ("ResNet", "mps", torch.contiguous_format),
    ],
)
def test_memory_format(model, device, expected):
    assert preferred_memory_format(model, device) == expected
