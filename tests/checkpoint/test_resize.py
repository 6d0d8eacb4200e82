import json

import pytest
import torch
from torch import nn

from slowfast.checkpoint import (
    CheckpointMismatch,
    fit_to_checkpoint,
    fit_to_state_dict,
    fit_to_widths,
    read_checkpoint,
    write_checkpoint,
)
from slowfast.models.slowfast import SlowFast
from slowfast.models.tiny import TinyNet
from slowfast.models.x3d import X3D
from slowfast.utils.widths import read_widths


def test_an_unpruned_checkpoint_is_left_alone(tiny):
    assert fit_to_state_dict(tiny, tiny.state_dict()) == []


def test_depthwise_convolution():
    wide, narrow = (nn.Sequential(nn.Conv3d(c, c, 3, groups=c)) for c in (8, 6))
    assert fit_to_state_dict(wide, narrow.state_dict()) == ["0"]
    wide.load_state_dict(narrow.state_dict())
    clips = torch.randn(1, 6, 3, 4, 4)
    assert torch.equal(wide(clips), narrow(clips))
    assert wide[0].groups == wide[0].in_channels == 6


def test_grouped_convolution_is_refused():
    wide, narrow = (nn.Sequential(nn.Conv3d(c, c, 3, groups=2)) for c in (8, 4))
    with pytest.raises(CheckpointMismatch, match="0: cannot infer the groups"):
        fit_to_state_dict(wide, narrow.state_dict())


def test_another_kernel_is_another_network():
    ours, theirs = (nn.Sequential(nn.Conv3d(4, 4, k)) for k in (1, 3))
    with pytest.raises(CheckpointMismatch, match=r"0: kernel \(3, 3, 3\) in the file"):
        fit_to_state_dict(ours, theirs.state_dict())


@pytest.mark.parametrize(
    ("wide", "narrow", "frames"),
    [
        (X3D(num_classes=4, depth_factor=1.0), X3D(num_classes=4, depth_factor=1.0,
         bottleneck_factor=1.5, num_features=512), 4),
        (TinyNet(num_classes=4), TinyNet(num_classes=4, width=6), 4),
        (SlowFast(num_classes=4, depth=18, width=32, alpha=4),
         SlowFast(num_classes=4, depth=18, width=16, alpha=4), 8),
    ],
    ids=["x3d", "tiny", "slowfast"],
)  # fmt: skip
def test_widths_are_taken_over(wide, narrow, frames):
    """SE layers, depthwise convolutions, heads and ``num_features`` included."""
    assert fit_to_state_dict(wide, narrow.state_dict())
    wide.load_state_dict(narrow.state_dict())  # strict
    clip = torch.randn(1, 3, frames, 32, 32)
    clips = [clip[:, :, ::4], clip] if isinstance(wide, SlowFast) else [clip]
    assert torch.equal(wide.eval()(clips), narrow.eval()(clips))
    assert wide.forward_features(clips).shape[1] == wide.num_features == narrow.num_features


def test_structured_pruning_of_a_real_network_round_trips(tmp_path):
    """Prune X3D with Torch-Pruning, save the state dict, rebuild from it."""
    tp = pytest.importorskip("torch_pruning")
    model = X3D(num_classes=4, depth_factor=1.0, num_frames=4, crop_size=32).eval()
    clips = [torch.randn(1, 3, 4, 32, 32)]
    pruner = tp.pruner.MagnitudePruner(
        model, example_inputs={"clips": clips}, importance=tp.importance.MagnitudeImportance(p=2),
        pruning_ratio=0.5, ignored_layers=[model.head.projection], in_channel_groups={},
        out_channel_groups={}, num_heads={},
    )  # fmt: skip
    pruner.step()
    rebuilt = X3D(num_classes=4, depth_factor=1.0, num_frames=4, crop_size=32).eval()
    assert len(fit_to_state_dict(rebuilt, model.state_dict())) > 50
    rebuilt.load_state_dict(model.state_dict())
    assert torch.equal(rebuilt(clips), model(clips))


def pruned_x3d():
    model = X3D(num_classes=4, depth_factor=1.0, num_frames=4, crop_size=32).eval()
    return fit_to(model, {"head.conv_5": [96, 100], "head.conv_5_bn": [100, 100],
                          "head.lin_5": [100, 2048]})  # fmt: skip


def fit_to(model, widths):
    fit_to_widths(model, widths)
    return model


def test_a_checkpoint_carries_its_table(tmp_path):
    """Readable JSON; absent where nothing was pruned."""
    model = pruned_x3d()
    path = write_checkpoint(tmp_path / "a.pyth", epoch=0, model=model, optimizer=None, cfg_yaml="")
    checkpoint = read_checkpoint(path)
    table = json.loads(checkpoint["widths"])
    assert table["head.conv_5"] == [96, 100]
    assert table["head.projection"] == [2048, 4]
    other = X3D(num_classes=4, depth_factor=1.0, num_frames=4, crop_size=32).eval()
    assert fit_to_checkpoint(other, checkpoint)
    other.load_state_dict(checkpoint["model_state"])
    assert other.is_pruned
    whole = X3D(num_classes=4, depth_factor=1.0)
    path = write_checkpoint(tmp_path / "b.pyth", epoch=0, model=whole, optimizer=None, cfg_yaml="")
    assert "widths" not in read_checkpoint(path)
    assert not fit_to_checkpoint(whole, read_checkpoint(path))


def test_another_number_of_classes_stays(tmp_path):
    """Finetuning a pruned network for another data set."""
    state = {"widths": json.dumps(read_widths(pruned_x3d()))}
    other = X3D(num_classes=9, depth_factor=1.0, num_frames=4, crop_size=32)
    fit_to_checkpoint(other, state)
    assert other.head.projection.out_features == 9
    assert other.head.conv_5.out_channels == 100


@pytest.mark.parametrize("text", ['{"s9": [1, 2]}', '{"head.conv_5": [9999, 1]}', "[1]", "{"])
def test_a_table_of_another_network(tiny, text):
    model = X3D(num_classes=4, depth_factor=1.0)
    with pytest.raises(CheckpointMismatch, match="is of a pruned network, and its widths"):
        fit_to_checkpoint(model, {"widths": text}, source="a.pyth")
