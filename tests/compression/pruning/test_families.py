"""What holds of pruning for every entry of the model table."""

import copy
import random

import pytest
import torch
from torch import nn

from slowfast.checkpoint import fit_to_checkpoint, read_checkpoint, write_checkpoint
from slowfast.compression.pruning.channels import Pruner
from slowfast.compression.pruning.graph import OUT
from slowfast.compression.pruning.importance import PRUNERS
from slowfast.compression.pruning.schedule import SCOPES, choose, structure_tags
from slowfast.models import MODELS
from slowfast.models.profile import count_macs
from slowfast.utils.widths import GATES, read_widths, sized_modules, widths_of
from tests.compression.pruning import families

WEIGHTS_ONLY = ("l1_structured", "l2_structured", "fpgm", "bn_scale", "group_norm", "random")


def test_every_entry_of_the_table_is_here():
    assert set(families.SMALL) == set(MODELS)
    assert len(families.NETWORKS) >= 22


def head_widths(model):
    return {task: layer.out_features for task, layer in model.classifiers.items()}


@pytest.mark.slow
@pytest.mark.parametrize("name", families.NETWORKS)
def test_random_ratios(name, tmp_path):
    """Five of every family, two of other shapes a family can have.

    Runs, fewer MACs, heads as wide; the file gives the same network, to the last bit."""
    draw = random.Random(name)
    original = families.build(name)
    heads, macs = head_widths(original), count_macs(original, families.shapes(name))
    clips = families.clips(name)
    for _ in range(5 if name in MODELS else 2):
        model = copy.deepcopy(original)
        ratio, scope = draw.uniform(0.15, 0.9), draw.choice(SCOPES)
        method, round_to = draw.choice(WEIGHTS_ONLY), draw.choice([1, 1, 2])
        case = (name, ratio, scope, method, round_to)
        pruner = Pruner(model, families.shapes(name), method=method, scope=scope, round_to=round_to)
        stay = {n for n in pruner.left_out if n in dict(sized_modules(model))}
        before = read_widths(model)
        pruner.step(ratio)
        with torch.no_grad():
            scores = model.predict(clips)
        assert count_macs(model, families.shapes(name)) < macs, case
        assert head_widths(model) == heads
        assert {n: read_widths(model)[n][1] for n in stay} == {n: before[n][1] for n in stay}
        path = write_checkpoint(
            tmp_path / "pruned.pyth", epoch=0, model=model, optimizer=None, cfg_yaml=""
        )
        rebuilt = copy.deepcopy(original)
        checkpoint = read_checkpoint(path)
        assert fit_to_checkpoint(rebuilt, checkpoint)
        rebuilt.load_state_dict(checkpoint["model_state"])  # strict
        assert read_widths(rebuilt) == read_widths(model)
        assert rebuilt.num_features == model.num_features
        check_shapes(rebuilt)
        with torch.no_grad():
            same = rebuilt.predict(clips)
        for task in scores if isinstance(scores, dict) else [...]:
            assert torch.equal(scores[task], same[task]), case


def check_shapes(model):
    """The table says what the tensors are."""
    for name, module in sized_modules(model):
        width_in, width_out = widths_of(module)
        if isinstance(module, nn.LSTM):
            assert module.weight_ih_l0.shape == (GATES * width_out, width_in), name
        elif isinstance(module, nn.Linear):
            assert module.weight.shape == (width_out, width_in), name
        elif isinstance(module, nn.modules.batchnorm._BatchNorm):
            assert len(module.weight) == len(module.running_var) == width_out == width_in, name
        else:
            assert module.weight.shape[:2] == (width_out, width_in // module.groups), name


@pytest.mark.slow
@pytest.mark.parametrize("name", families.NETWORKS)
def test_cut_equals_masked(name):
    """Taking channels away is what zeroing them wherever they are given does."""
    scope = random.Random(name).choice(SCOPES)
    model = families.build(name)
    pruner = Pruner(model, families.shapes(name), method="random", scope=scope)
    removed = choose(
        pruner.groups,
        pruner.scores,
        ratio=0.4,
        scope=scope,
        tags=structure_tags(pruner.groups, model),
    )
    masked = zeroed(model, pruner.groups, removed)
    pruner.step(0.4)
    clips = families.clips(name)
    # Cosine heads scale class centres to length 1 anew: there features are compared.
    cosine = families.NETWORKS[name][0] == "MobileNetV3"
    with torch.no_grad():
        if cosine:
            expected, found = masked.forward_features(clips), model.forward_features(clips)
            gone = (expected == 0).all(dim=0)
            expected = expected[:, ~gone]
        else:
            expected, found = masked(clips), model(clips)
    for task in expected if isinstance(expected, dict) else [...]:
        torch.testing.assert_close(found[task], expected[task], rtol=1e-4, atol=1e-5)


def zeroed(model, groups, removed):
    """A copy in which removed channels are zero after every layer that gives them."""
    model = copy.deepcopy(model)
    for group in groups:
        for member in group.of(OUT):
            channels = member.channels[torch.isin(member.roots, removed[group.name])]
            module = model.get_submodule(member.name)
            if not len(channels):
                continue
            if isinstance(module, nn.LSTM):
                silence(module, member.part, channels)
                continue
            dim = -1 if isinstance(module, nn.Linear) else 1

            def zero(module, inputs, output, channels=channels, dim=dim):
                return output.index_fill(dim, channels, 0.0)

            module.register_forward_hook(zero)
    return model


def silence(lstm, part, units):
    """Without weights a unit's cell gets ``tanh(0)`` and stays 0."""
    layer, reverse = divmod(part, 2 if lstm.bidirectional else 1)
    suffix = f"_l{layer}" + ("_reverse" if reverse else "")
    rows = torch.cat([units + gate * lstm.hidden_size for gate in range(GATES)])
    for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
        getattr(lstm, kind + suffix).data[rows] = 0


@pytest.mark.parametrize("name", ["TinyNet", "X3D"])
def test_pruned_again(name):
    """Ratios of a second pruning refer to what the first one left."""
    model = families.build(name)
    sizes = []
    for _ in range(3):
        pruner = Pruner(model, families.shapes(name))
        sizes.append(sum(pruner.initial.values()))
        pruner.step(0.3)
    assert sizes[0] > sizes[1] > sizes[2] > 0.4 * sizes[0]
    model(families.clips(name))


def test_the_original_is_left_alone_by_previews():
    model = families.build("X3D")
    before = copy.deepcopy(model.state_dict())
    pruner = Pruner(model, families.shapes("X3D"))
    preview = pruner.preview(0.5)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    macs = count_macs(preview, families.shapes("X3D"))
    pruner.step(0.5)
    assert macs == count_macs(model, families.shapes("X3D"))
    assert read_widths(preview) == read_widths(model)


def test_methods_are_all_known():
    assert set(WEIGHTS_ONLY) | {"taylor", "hessian", "l1", "l2"} == set(PRUNERS)
