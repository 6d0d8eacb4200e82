"""Blocks against plain formulas."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from slowfast.models.layers.batchnorm import FrozenBatchNorm3d, freeze_batchnorm, sync_batchnorm
from slowfast.models.layers.conv import conv3d
from slowfast.models.layers.depthwise import DepthwiseConv3d
from slowfast.models.layers.drop_path import DropPath
from slowfast.models.layers.head import pool
from slowfast.models.layers.non_local import NonLocal, NonLocalSpec
from slowfast.models.layers.pointwise import PointwiseConv3d
from slowfast.models.layers.se import SqueezeExcite
from slowfast.models.layers.stage import PathwaySpec, StageSpec, res_chain
from slowfast.models.layers.swish import Swish
from slowfast.models.layers.widths import round_depth, round_width

CHANNELS_LAST = torch.channels_last_3d


class TestDepthwise:
    @pytest.mark.parametrize("frames", [1, 2, 5])
    @pytest.mark.parametrize("stride", [1, 2])
    @pytest.mark.parametrize("kernel", [(3, 3, 3), (5, 1, 1), (1, 3, 3), (5, 3, 3), (1, 1, 1)])
    @pytest.mark.parametrize("size", [(6, 6), (7, 9)])
    def test_equals_the_plain_convolution(self, frames, stride, kernel, size):
        x = torch.randn(2, 6, frames, *size, dtype=torch.float64)
        x = x.contiguous(memory_format=CHANNELS_LAST)
        conv = conv3d(6, 6, kernel, stride=(1, stride, stride), groups=6).double()
        plain = nn.Conv3d(6, 6, kernel, (1, stride, stride), conv.padding, groups=6, bias=False)
        plain.double().load_state_dict(conv.state_dict())
        assert type(conv) is DepthwiseConv3d
        results = []
        for module in (plain, conv):
            clip = x.clone().requires_grad_()
            out = module(clip)
            out.square().sum().backward()
            results.append((out, clip.grad, module.weight.grad))
        for theirs, ours in zip(*results, strict=True):
            torch.testing.assert_close(ours, theirs)
        assert "DepthwiseConv3d" in type(out.grad_fn).__name__  # the fast path was taken

    def test_clip_without_gradient(self):
        conv = conv3d(4, 4, (3, 3, 3), groups=4)
        x = torch.randn(1, 4, 3, 5, 5).contiguous(memory_format=CHANNELS_LAST)
        conv(x).sum().backward()
        assert conv.weight.grad.any()

    def test_autocast(self):
        """The reduced precision reaches it as it reaches ``nn.Conv3d``."""
        conv = conv3d(16, 16, (3, 3, 3), groups=16)
        x = torch.randn(2, 16, 4, 8, 8).contiguous(memory_format=CHANNELS_LAST)
        with torch.autocast("cpu", torch.bfloat16):
            out = conv(x)
        assert out.dtype == torch.bfloat16
        out.float().square().mean().backward()
        low, conv.weight.grad = conv.weight.grad, None
        conv(x).square().mean().backward()
        assert low.dtype == torch.float32
        assert (low - conv.weight.grad).norm() < 0.02 * conv.weight.grad.norm()

    @pytest.mark.parametrize(
        "case", ["contiguous", "no gradient", "frozen weight", "bias", "dilation"]
    )
    def test_falls_back(self, case):
        options = {"dilation": (1, 2, 2)} if case == "dilation" else {}
        conv = DepthwiseConv3d(4, 4, 3, padding=1, groups=4, bias=case == "bias", **options)
        conv.weight.requires_grad_(case != "frozen weight")
        x = torch.randn(1, 4, 3, 8, 8, requires_grad=True)
        if case != "contiguous":
            x = x.detach().contiguous(memory_format=CHANNELS_LAST).requires_grad_()
        with torch.set_grad_enabled(case != "no gradient"):
            out = conv(x)
        assert "Depthwise" not in type(out.grad_fn).__name__
        torch.testing.assert_close(
            out, F.conv3d(x, conv.weight, conv.bias, padding=1, groups=4, **options)
        )

    def test_exports(self):
        model = nn.Sequential(conv3d(4, 4, (3, 3, 3), groups=4), Swish())
        clip = torch.randn(1, 4, 3, 5, 5).contiguous(memory_format=CHANNELS_LAST)
        program = torch.export.export(model, (clip,))
        targets = {str(n.target) for n in program.graph.nodes if n.op == "call_function"}
        assert targets == {"aten.conv3d.default", "aten.silu.default"}


@pytest.fixture
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class TestPointwise:
    @pytest.mark.parametrize("kernel", [(1, 1, 1), (3, 1, 1), (5, 1, 1)])
    @pytest.mark.parametrize("size", [(1, 4, 1), (5, 6, 7), (2, 1, 1)])
    @pytest.mark.parametrize("frozen", [False, True])
    def test_equals_the_plain_convolution(self, kernel, size, frozen, one_thread):
        x = torch.randn(2, 6, *size, dtype=torch.float64).contiguous(memory_format=CHANNELS_LAST)
        conv = conv3d(6, 8, kernel).double().requires_grad_(not frozen)
        plain = nn.Conv3d(6, 8, kernel, padding=conv.padding, bias=False).double()
        plain.load_state_dict(conv.state_dict())
        assert type(conv) is PointwiseConv3d
        results = []
        for module in (plain, conv):
            clip = x.clone().requires_grad_()
            out = module(clip)
            out.square().sum().backward()
            results.append([out, clip.grad, *([] if frozen else [module.weight.grad])])
        for theirs, ours in zip(*results, strict=True):
            torch.testing.assert_close(ours, theirs)
        assert out.is_contiguous(memory_format=CHANNELS_LAST)
        assert "View" in out.grad_fn.name() or "Transpose" in out.grad_fn.name()  # the fast path

    @pytest.mark.parametrize("case", ["threads", "contiguous", "large batch", "stride", "groups"])
    def test_is_left_to_torch_where_that_is_fast(self, case, one_thread, monkeypatch):
        if case == "threads":
            torch.set_num_threads(2)
        options = {"stride": 2} if case == "stride" else {"groups": 2} if case == "groups" else {}
        conv = PointwiseConv3d(4, 4, (3, 1, 1), padding=(1, 0, 0), **options)
        x = torch.randn(16 if case == "large batch" else 2, 4, 3, 5, 5)
        if case != "contiguous":
            x = x.contiguous(memory_format=CHANNELS_LAST)
        monkeypatch.setattr(F, "conv2d", None)
        conv(x)

    def test_exports(self, one_thread):
        clip = torch.randn(1, 4, 3, 5, 5).contiguous(memory_format=CHANNELS_LAST)
        program = torch.export.export(conv3d(4, 4, (3, 1, 1)), (clip,))
        targets = {str(n.target) for n in program.graph.nodes if n.op == "call_function"}
        assert targets == {"aten.conv3d.default"}


class TestSwish:
    @pytest.mark.parametrize("layout", [torch.contiguous_format, CHANNELS_LAST], ids=str)
    def test_value_and_gradient(self, layout):
        x = torch.randn(2, 3, 4, 5, 5, dtype=torch.float64).contiguous(memory_format=layout)
        x.requires_grad_()
        torch.testing.assert_close(Swish()(x), F.silu(x))
        assert torch.autograd.gradcheck(Swish(), (x,))


def test_pool_windows():
    x = torch.arange(24.0).view(1, 1, 2, 3, 4)
    assert pool(x, (2, 3, 4)).flatten().tolist() == [11.5]  # one window: the mean of all
    assert pool(x, (2, 2, 3)).shape == (1, 1, 1, 2, 2)
    assert pool(x, (2, 2, 3))[0, 0, 0, 1, 1] == x[0, 0, :, 1:, 1:].mean()
    assert pool(x, (9, 9, 9)).flatten().tolist() == [11.5]  # smaller than a window: all of it
    assert pool(x, (9, 3, 3)).shape == (1, 1, 1, 1, 2)


def test_squeeze_excite():
    module = SqueezeExcite(16, ratio=0.0625)
    x = torch.randn(2, 16, 3, 4, 4)
    w1, w2 = (m.weight.flatten(1) for m in (module.fc1, module.fc2))
    hidden = (x.mean((2, 3, 4)) @ w1.T + module.fc1.bias).relu()
    gate = (hidden @ w2.T + module.fc2.bias).sigmoid()
    assert w1.shape == (8, 16)
    torch.testing.assert_close(module(x), x * gate[:, :, None, None, None])


@pytest.mark.parametrize("kind", ["softmax", "dot_product"])
def test_non_local(kind):
    """Against a loop over positions."""
    module = NonLocal(4, NonLocalSpec(instantiation=kind)).eval()
    x = torch.randn(2, 4, 3, 4, 4)
    seen = F.max_pool3d(x, (1, 2, 2))
    theta, phi, g = module.conv_theta(x), module.conv_phi(seen), module.conv_g(seen)
    phi, g = phi.flatten(2), g.flatten(2)  # (B, 2, 12)
    out = torch.zeros(2, 2, 3, 4, 4)
    for t in range(3):
        for i in range(4):
            for j in range(4):
                like = (theta[:, :, t, i, j, None] * phi).sum(1)  # (B, 12)
                weights = (like / 2**0.5).softmax(1) if kind == "softmax" else like / 12
                out[:, :, t, i, j] = (weights[:, None] * g).sum(2)
    expected = x + module.bn(module.conv_out(out))
    torch.testing.assert_close(module(x), expected)


def test_non_local_groups_do_not_see_each_other():
    whole = NonLocal(4, NonLocalSpec()).eval()
    halves = NonLocal(4, NonLocalSpec(groups=2)).eval()
    halves.load_state_dict(whole.state_dict())
    x = torch.randn(1, 4, 6, 4, 4)
    expected = torch.cat([whole(x[:, :, :3]), whole(x[:, :, 3:])], dim=2)
    torch.testing.assert_close(halves(x), expected)
    with pytest.raises(ValueError, match=r"NONLOCAL.GROUP 2 does not divide the 5 frames"):
        halves(x[:, :, :5])


def test_non_local_kinds():
    with pytest.raises(ValueError, match=r"NONLOCAL.INSTANTIATION is 'gaussian'"):
        NonLocal(4, NonLocalSpec(instantiation="gaussian"))


def test_drop_path_drops_whole_clips_and_keeps_the_mean():
    out = DropPath(0.25)(torch.ones(4000, 2, 1, 1, 1)).flatten(1)
    torch.testing.assert_close(out.unique(), torch.tensor([0, 4 / 3]))
    assert torch.equal(out[:, 0], out[:, 1])
    assert out.mean() == pytest.approx(1, abs=0.05)
    with pytest.raises(ValueError, match=r"MODEL.DROPCONNECT_RATE"):
        DropPath(1.0)


def test_drop_path_grows_with_the_stage():
    rates = []
    for i in range(4):
        options = {"dim_in": 4, "dim_inner": 4, "dim_out": 4}
        spec = PathwaySpec(strides=(1, 1, 1, 1)).stage(i, 1, (1,), drop_path=0.6, **options)
        rates.append(res_chain(spec)["res0"].drop_path.rate)
    assert rates == pytest.approx([0.2, 0.3, 0.4, 0.5])


def test_unknown_branch_and_attention_beyond_the_stage():
    plain = {"dim_in": 4, "dim_inner": 4, "dim_out": 4, "kernels_t": (1, 1), "stride": 1}
    with pytest.raises(ValueError, match="residual branch 'dense'"):
        res_chain(StageSpec(**plain, branch="dense"))
    with pytest.raises(ValueError, match=r"blocks \[2\] of a stage of 2 blocks"):
        res_chain(StageSpec(**plain, non_local=NonLocalSpec(after=(0, 2))))


def test_frozen_and_synchronised_norms_keep_their_entries():
    model = nn.Sequential(conv3d(3, 4, (1, 1, 1)), nn.BatchNorm3d(4))
    names = list(model.state_dict())
    synced = sync_batchnorm(model)
    assert isinstance(synced[1], nn.SyncBatchNorm)
    assert list(synced.state_dict()) == names
    frozen = freeze_batchnorm(nn.Sequential(nn.BatchNorm3d(4)))
    assert isinstance(frozen[0], FrozenBatchNorm3d)
    assert not any(p.requires_grad for p in frozen.parameters())


@pytest.mark.parametrize(
    ("width", "factor", "minimum", "divisor", "expected"),
    [(12, 2.0, 1, 8, 24), (54, 1 / 16, 8, 8, 8), (216, 1 / 16, 8, 8, 16), (432, 1 / 16, 8, 8, 32),
     (12, 0, 1, 1, 12), (12, 2.0, 1, 1, 24)],
)  # fmt: skip
def test_round_width(width, factor, minimum, divisor, expected):
    assert round_width(width, factor, minimum=minimum, divisor=divisor) == expected


def test_round_depth():
    assert [round_depth(b, 2.2) for b in (1, 2, 5, 3)] == [3, 5, 11, 7]
    assert [round_depth(b, 5.0) for b in (1, 2, 5, 3)] == [5, 10, 25, 15]
