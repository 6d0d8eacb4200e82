"""What a model costs on paper; the counting itself is in :mod:`slowfast.models.profile`."""

from slowfast.models.profile import (
    Cost,
    build_cost,
    build_model_inputs,
    count_macs,
    count_parameters,
)

__all__ = [
    "Cost",
    "build_cost",
    "build_model_inputs",
    "count_macs",
    "count_parameters",
]
