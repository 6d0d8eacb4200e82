import pytest
import torch
from torch import nn

from slowfast.utils.widths import WidthError, keep_channels, read_widths, set_widths

X = torch.randn(2, 6, 3, 4, 4)


def kept(*indices):
    return torch.tensor(indices)


def test_convolution_keeps_the_filters_named():
    conv = nn.Conv3d(6, 4, 3, padding=1)
    expected = nn.functional.conv3d(
        X[:, [0, 2, 5]], conv.weight[[1, 3]][:, [0, 2, 5]], conv.bias[[1, 3]], padding=1
    )
    keep_channels(conv, kept(0, 2, 5), [kept(1, 3)])
    torch.testing.assert_close(conv(X[:, [0, 2, 5]]), expected)
    assert (conv.in_channels, conv.out_channels) == (3, 2)


def test_groups_may_keep_different_channels():
    """Three of six inputs are masked in each group; the cut layer gives the rest of it."""
    conv = nn.Conv3d(6, 4, 1, groups=2)
    masked = X.clone()
    masked[:, [0, 1, 3, 5]] = 0
    expected = conv(masked)[:, [0, 3]]
    keep_channels(conv, kept(2, 4), [kept(0, 3)])
    torch.testing.assert_close(conv(X[:, [2, 4]]), expected)
    assert conv.groups == 2


def test_depthwise():
    conv = nn.Conv3d(6, 6, 3, groups=6, bias=False)
    expected = conv(X)[:, [1, 4]]
    keep_channels(conv, kept(1, 4), [kept(1, 4)])
    torch.testing.assert_close(conv(X[:, [1, 4]]), expected)
    assert conv.groups == conv.in_channels == conv.out_channels == 2


def test_batch_norm_and_linear():
    norm = nn.BatchNorm3d(6).eval()
    norm.running_mean.normal_()
    expected = norm(X)[:, [5]]
    keep_channels(norm, kept(5), [kept(5)])
    torch.testing.assert_close(norm(X[:, [5]]), expected)
    assert norm.num_features == 1
    layer, x = nn.Linear(6, 3), torch.randn(2, 6)
    expected = nn.functional.linear(x[:, [1, 2]], layer.weight[[0]][:, [1, 2]], layer.bias[[0]])
    keep_channels(layer, kept(1, 2), [kept(0)])
    torch.testing.assert_close(layer(x[:, [1, 2]]), expected)


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("layers", [1, 2])
def test_lstm(layers, bidirectional):
    """Units whose weights are all zero stay at zero: without them the rest gives the same."""
    lstm = nn.LSTM(6, 4, layers, batch_first=True, bidirectional=bidirectional)
    parts = layers * (2 if bidirectional else 1)
    units = [kept(*sorted({0, 1, 2, 3} - {p % 4})) for p in range(parts)]
    x = torch.randn(2, 5, 6)
    x[..., 3] = 0
    for part, stay in enumerate(units):
        layer, reverse = divmod(part, 2 if bidirectional else 1)
        suffix = f"_l{layer}" + ("_reverse" if reverse else "")
        (unit,) = {0, 1, 2, 3} - set(stay.tolist())
        rows = [unit + 4 * gate for gate in range(4)]
        for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
            getattr(lstm, kind + suffix).data[rows] = 0
    last = units[-2:] if bidirectional else units[-1:]
    columns = torch.cat([stay + 4 * direction for direction, stay in enumerate(last)])
    expected = lstm(x)[0][..., columns]
    keep_channels(lstm, kept(0, 1, 2, 4, 5), units)
    torch.testing.assert_close(lstm(x[..., [0, 1, 2, 4, 5]])[0], expected)
    assert (lstm.input_size, lstm.hidden_size) == (5, 3)
    lstm.load_state_dict(nn.LSTM(5, 3, layers, bidirectional=bidirectional).state_dict())


def test_layout_and_gradient_flag_stay():
    conv = nn.Conv3d(8, 8, 3).to(memory_format=torch.channels_last_3d).requires_grad_(False)
    keep_channels(conv, torch.arange(5), [torch.arange(4)])
    assert conv.weight.is_contiguous(memory_format=torch.channels_last_3d)
    assert not conv.weight.is_contiguous()
    assert not conv.weight.requires_grad


def test_table_round_trip():
    def network():
        return nn.Sequential(nn.Conv3d(6, 8, 1), nn.BatchNorm3d(8), nn.Conv3d(8, 4, 1, groups=2))

    small = network()
    table = {"0": [6, 6], "1": [6, 6], "2": [6, 2]}
    assert set_widths(small, table) == ["0", "1", "2"]
    assert read_widths(small) == table
    assert set_widths(small, table) == []
    other = network()
    set_widths(other, read_widths(small))
    other.load_state_dict(small.state_dict())
    assert torch.equal(small(X), other(X))


def test_tables_of_other_networks():
    network = nn.Sequential(nn.Conv3d(6, 8, 1), nn.Conv3d(8, 4, 1, groups=2))
    with pytest.raises(WidthError, match=r"names 's1' \(1 such layers\)"):
        set_widths(network, {"s1": [1, 1]})
    with pytest.raises(WidthError, match=r"0: widths \[6, 9\] in the table, \[6, 8\] in the"):
        set_widths(network, {"0": [6, 9]})
    with pytest.raises(WidthError, match="0: widths"):
        set_widths(network, {"0": [6, 0]})
    with pytest.raises(WidthError, match="2 groups of a convolution cannot have 7 channels"):
        set_widths(network, {"1": [7, 4]})
