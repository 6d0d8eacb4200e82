import pytest
import torch
from torch import nn

from slowfast.checkpoint import CheckpointMismatch, fit_to_state_dict
from slowfast.models.slowfast import SlowFast
from slowfast.models.tiny import TinyNet
from slowfast.models.x3d import X3D


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
