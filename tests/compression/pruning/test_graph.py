"""What goes together, what stays, and what the trace must not be fooled by."""

import pytest
import torch
from torch import nn

from slowfast.compression.pruning.channels import Pruner, PruningError, prune_channels
from slowfast.compression.pruning.graph import IN, OUT, find_groups
from slowfast.compression.pruning.trace import skeleton
from slowfast.models.base import ClipModel
from tests.compression.pruning import families


def groups_of(name):
    model = families.build(name)
    return {g.name: g for g in find_groups(model, families.shapes(name)).prunable}


def names(group, role):
    return {member.name for member in group.of(role)}


def test_squeeze_and_excite_goes_along():
    group = groups_of("X3D")["s2.pathway0_res0.branch2.a"]
    branch = "s2.pathway0_res0.branch2"
    assert names(group, OUT) == {f"{branch}.{n}" for n in ("a", "a_bn", "b", "b_bn", "se.fc2")}
    assert names(group, IN) == {f"{branch}.se.fc1", f"{branch}.c"}


def test_fast_channels_are_read_by_the_fusion_and_behind_it():
    """The lateral connection appends twice Fast's channels to Slow's."""
    groups = groups_of("SlowFast")
    fused = groups["s1_fuse.conv_f2s"]
    (reader, *_) = fused.of(IN)
    assert names(fused, IN) == {f"s2.pathway0_res0.branch{i}" for i in ("1", "2.a")}
    slow = families.build("SlowFast").s1.pathway0_stem.conv.out_channels
    assert reader.channels.tolist() == list(range(slow, slow + fused.width))
    assert "s2_fuse.conv_f2s" in names(groups["s2.pathway1_res0.branch1"], IN)


@pytest.mark.parametrize(
    ("name", "stems", "first_temporal"),
    [
        ("X3D", ["s1.pathway0_stem.conv_xy"], "s1.pathway0_stem.conv"),
        ("SlowFast", [f"s1.pathway{p}_stem.conv" for p in (0, 1)], "s1.pathway1_stem.conv"),
        ("ResNetLSTM", ["backbone.conv1"], ""),
        ("IMFE", ["feature_encoder.convnormrelu.0"], ""),
        ("MobileNetV3", ["backbone.stem.conv"], "backbone.blocks.0.project"),
    ],
)
def test_protected_by_default(name, stems, first_temporal):
    model = families.build(name)
    found = find_groups(model, families.shapes(name))
    assert (found.stems, found.first_temporal) == (stems, first_temporal)
    pruner = Pruner(model, families.shapes(name))
    kept = {*stems, first_temporal, *(f"head.{n}" for n in model.head.names.values())}
    assert not kept & {m.name for g in pruner.groups for m in g.of(OUT)}
    assert set(pruner.left_out.values()) & {"a stem", "the first temporal convolution"}


def test_stems_can_be_given_free():
    model = families.build("X3D")
    pruner = Pruner(model, families.shapes("X3D"), protect_stems=False)
    assert "s1.pathway0_stem.conv_xy" in {group.name for group in pruner.groups}
    pruner.step(0.5)
    assert model.s1.pathway0_stem.conv_xy.out_channels == 12
    model(families.clips("X3D"))


def test_protected_by_name():
    model = families.build("X3D")
    pruner = Pruner(model, families.shapes("X3D"), protect=["s4", "*.se.fc1", "head.lin_5"])
    outs = {m.name for g in pruner.groups for m in g.of(OUT)}
    assert outs
    assert not [n for n in outs if n.startswith("s4.") or n.endswith("fc1") or n == "head.lin_5"]
    assert pruner.left_out["head.lin_5"] == "protected by name (head.lin_5)"
    with pytest.raises(PruningError, match=r"--protect stage4: no layer has that name\. They look"):
        Pruner(model, families.shapes("X3D"), protect=["stage4"])


def test_skeleton_has_no_numbers():
    model = families.build("X3D")
    bare = skeleton(model)
    assert {p.device.type for p in bare.parameters()} == {"meta"}
    assert {p.device.type for p in model.parameters()} == {"cpu"}
    assert bare.state_dict().keys() == model.state_dict().keys()


class Odd(ClipModel):
    """Two convolutions with something unusual between them."""

    def __init__(self, between):
        super().__init__()
        self.between, self.num_features = between, 8
        self.stem, self.a, self.b = nn.Conv3d(3, 8, 1), nn.Conv3d(8, 8, 1), nn.Conv3d(8, 8, 1)
        self.norm, self.scale = nn.LayerNorm(8), nn.Parameter(torch.ones(8, 1, 1, 1))
        self.fc = nn.Linear(8, 4)

    @property
    def classifiers(self):
        return {"action": self.fc}

    def forward_features(self, clips):
        return self.b(self.between(self, self.a(self.stem(clips[0])))).mean(dim=(2, 3, 4))

    def forward_head(self, features):
        return self.fc(features)


def shuffled(model, x):
    """Channel i and channel i + 4 meet: which of a's channel is which of b's, a trace can't say."""
    return x.view(len(x), 2, 4, *x.shape[2:]).transpose(1, 2).reshape(x.shape)


def fixed_view(model, x):
    return x.view(-1, 8, *x.shape[2:])


def normed(model, x):
    return model.norm(x.movedim(1, -1)).movedim(-1, 1)


def scaled(model, x):
    return x * model.scale


@pytest.mark.parametrize(
    ("between", "reason"),
    [(normed, "norm is a LayerNorm"), (scaled, "a parameter outside any layer has")],
)
def test_what_cannot_be_followed_stays(between, reason):
    pruner = Pruner(Odd(between).eval(), [(1, 3, 2, 4, 4)])
    assert reason in pruner.left_out["a"]
    assert [g.name for g in pruner.groups] == ["b"]
    pruner.step(0.5)
    assert pruner.model.num_features == 4
    assert pruner.model.a.out_channels == 8


@pytest.mark.parametrize("between", [fixed_view, shuffled])
def test_code_that_counts_channels_is_an_error_and_changes_nothing(between):
    model = Odd(between).eval()
    before = {name: value.shape for name, value in model.state_dict().items()}
    with pytest.raises(PruningError, match="Odd does not run with fewer channels"):
        prune_channels(model, [(1, 3, 2, 4, 4)], ratio=0.4)
    assert {name: value.shape for name, value in model.state_dict().items()} == before
    assert not model.is_pruned


def test_a_model_can_say_so_itself():
    class Known(Odd):
        fixed_widths = ("a",)

    model = prune_channels(Known(fixed_view).eval(), [(1, 3, 2, 4, 4)], ratio=0.5)
    assert (model.a.out_channels, model.b.out_channels) == (8, 4)
    model([torch.rand(1, 3, 2, 4, 4)])
