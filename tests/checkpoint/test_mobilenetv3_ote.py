"""Published s3d and x3d-lgd-gc weights: every name, and the same outputs."""

import pytest
import torch

from slowfast.checkpoint import load_strict, read_weights
from slowfast.checkpoint.mobilenetv3_ote import from_ote, is_ote, to_ote
from slowfast.models.mobilenetv3 import MobileNetV3
from tests.models.ote_networks import OteNetwork

ARCHS = ["s3d_mobilenetv3", "x3d_mobilenetv3_lgd_gc"]
CLASSES = 7


def published(arch):
    """A network in the published names, its batch norms and gates unlike fresh ones."""
    torch.manual_seed(0)
    network = OteNetwork(arch.startswith("x3d"), CLASSES).eval()
    for name, tensor in network.state_dict().items():
        if name.endswith("running_var"):
            tensor.uniform_(0.5, 1.5)
        elif name.endswith(("running_mean", "bias")):
            tensor.normal_(std=0.2)
    return network


@pytest.mark.parametrize("arch", ARCHS)
def test_the_same_cosines_after_conversion(arch, tmp_path):
    network, model = published(arch), MobileNetV3(num_classes=CLASSES, arch=arch).eval()
    clip = torch.randn(2, 3, 8, 64, 64)
    extra = {"cls_head.head_loss.scale": torch.ones(1)}
    torch.save({"state_dict": network.state_dict() | extra, "meta": {}}, tmp_path / "snapshot.pth")
    state = read_weights(tmp_path / "snapshot.pth", model=model)
    load_strict(model, state)  # every entry of either is one of the other
    with torch.no_grad():
        features = model.forward_features([clip])
        torch.testing.assert_close(model.forward_cosines(features), network(clip))


@pytest.mark.parametrize("arch", ARCHS)
def test_there_and_back(arch):
    state = published(arch).state_dict()
    assert is_ote(state)
    back = to_ote(from_ote(state))
    assert set(back) == set(state)
    assert all(torch.equal(back[name], tensor) for name, tensor in state.items())
    assert not is_ote(from_ote(state))


def test_one_of_several_heads_is_taken():
    entries = {f"cls_head.{i}.fc_angular.weight": torch.full((2, 3), i) for i in range(2)}
    taken = from_ote(entries, head=1)
    assert list(taken) == ["head.projection.weight"]
    assert torch.equal(taken["head.projection.weight"], torch.ones(3, 2, dtype=torch.long))


def test_unknown_names_stay_for_the_report():
    assert list(from_ote({"backbone.attentions.x": torch.ones(1)})) == ["backbone.attentions.x"]
