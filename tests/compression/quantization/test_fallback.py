import pytest

from slowfast.compression.quantization.fallback import find_float_layers

LAYERS = [f"l{i}" for i in range(20)]


@pytest.mark.parametrize("needed", range(1, 20))
def test_the_shortest_beginning(needed):
    def drop_of(layers):
        return 0.3 if len(layers) >= needed else 5.0

    found = find_float_layers(lambda: LAYERS, drop_of, max_drop=1.0)
    assert found.float_layers == LAYERS[:needed]
    assert found.drop == 0.3
    assert len(found.tried) <= 6
    assert found.tried[0] == {"float_layers": 0, "drop": 5.0}


def test_nothing_is_ranked_that_need_not_be():
    found = find_float_layers(None, lambda layers: 1.0, max_drop=1.0)
    assert found.float_layers == []
    assert found.drop == 1.0


def test_what_no_layer_may_be():
    found = find_float_layers(lambda: LAYERS, lambda layers: 7.0, max_drop=1.0)
    assert found.float_layers == LAYERS
    assert found.drop == 7.0  # as measured, not as hoped
