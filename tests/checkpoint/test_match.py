import pytest
import torch

from slowfast.checkpoint.match import (
    CheckpointMismatch,
    clear_names,
    compare,
    fit_shapes,
    load_matching,
    load_strict,
)
from slowfast.models.tiny import TinyNet


def state_of(**options):
    torch.manual_seed(1)
    return TinyNet(**{"num_classes": 4} | options).state_dict()


def test_everything_fits(tiny):
    state = state_of()
    report = load_matching(tiny, state)
    assert report.share == 1
    assert len(report.loaded) == len(state)
    assert (report.missing, report.unexpected, report.mismatched) == ([], [], {})
    assert all(torch.equal(value, state[name]) for name, value in tiny.state_dict().items())


def test_another_class_count_skips_the_classifier_and_says_so(tiny):
    before = tiny.head.projection.weight.clone()
    report = load_matching(tiny, state_of(num_classes=7), min_share=1.0)
    assert report.heads == ["head.projection.weight", "head.projection.bias"]
    assert "skipped head.projection.weight: 7 classes in the file, 4 here" in report.table()
    assert torch.equal(tiny.head.projection.weight, before)
    assert report.share == 1


def test_too_little_fits(tiny):
    before = {name: value.clone() for name, value in tiny.state_dict().items()}
    with pytest.raises(CheckpointMismatch, match=r"are in other.pyth, less than .*MIN_LOADED 50%"):
        load_matching(tiny, state_of(width=4), source="other.pyth")
    assert all(torch.equal(value, before[name]) for name, value in tiny.state_dict().items())


def test_names_of_another_model(tiny):
    with pytest.raises(CheckpointMismatch, match=r"No name agrees \(its first is 'x.weight'\)"):
        load_matching(tiny, {"x.weight": torch.zeros(3)})


def test_share_counts_numbers_not_names(tiny):
    state = state_of()
    del state["features.3.weight"]  # 16 * 8 * 27 of 3456 + 648 + 2 * 24 numbers
    assert compare(tiny, state).share == pytest.approx(1 - 3456 / (3456 + 648 + 48 + 68))
    with pytest.raises(CheckpointMismatch, match=r"missing in the file: features.3.weight"):
        load_matching(tiny, state)
    load_matching(tiny, state, min_share=0.1)


def test_strict_names_what_is_wrong(tiny):
    state = state_of()
    state["extra"] = state.pop("features.0.weight")
    with pytest.raises(CheckpointMismatch, match=r"(?s)x.pyth does not fit.*features.0.*extra"):
        load_strict(tiny, state, source="x.pyth")


def test_strict_on_another_class_count(tiny):
    with pytest.raises(CheckpointMismatch, match=r"has 7 classes: set MODEL.NUM_CLASSES to that"):
        load_strict(tiny, state_of(num_classes=7))


def test_strict_does_without_counters(tiny):
    state = {k: v for k, v in state_of().items() if not k.endswith("num_batches_tracked")}
    assert not load_strict(tiny, state).missing


def test_long_lists_are_cut():
    model = TinyNet(num_classes=4)
    report = compare(model, {f"name{i}": torch.zeros(1) for i in range(20)})
    assert "... 12 more" in report.table()


def test_clear_names():
    value = torch.zeros(1)
    assert set(clear_names({"backbone.s1.backbone.w": value}, ("backbone.",))) == {"s1.backbone.w"}
    with pytest.raises(CheckpointMismatch, match="two entries the name 'w'"):
        clear_names({"a.w": value, "w": value}, ("a.",))


def test_trailing_axes_are_fitted(tiny):
    state = state_of()
    state["head.projection.weight"] = state["head.projection.weight"][:, :, None, None, None]
    assert compare(tiny, fit_shapes(state, tiny)).share == 1
    assert compare(tiny, state).mismatched
