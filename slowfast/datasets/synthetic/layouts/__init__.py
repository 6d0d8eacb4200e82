"""The layouts of a synthetic dataset, and which one a dataset's loader reads."""

from __future__ import annotations

from typing import Any

from slowfast.datasets.synthetic.layouts.base import Layout
from slowfast.datasets.synthetic.layouts.epic import EpicLayout, EpicVideoLayout
from slowfast.datasets.synthetic.layouts.kinetics import KineticsLayout
from slowfast.datasets.synthetic.layouts.meccano import MeccanoLayout
from slowfast.datasets.synthetic.layouts.rawframes import RawFramesLayout
from slowfast.datasets.synthetic.specs import SyntheticOptions
from slowfast.utils.errors import UserError

LAYOUTS: dict[str, type[Layout]] = {
    "kinetics": KineticsLayout,
    "meccano": MeccanoLayout,
    "epic": EpicLayout,
    "epic_video": EpicVideoLayout,
    "rawframes": RawFramesLayout,
}
_OF_DATASET = {
    "kinetics": "kinetics",
    "meccano": "meccano",
    "epickitchens": "epic",
    "epic_kitchens": "epic",
    "rawframes": "rawframes",
}


class LayoutError(UserError, ValueError):
    """No such layout, or none for this dataset."""


def find_layout(name: str) -> Layout:
    """The layout called ``name``.

    Raises:
        LayoutError: unknown; the message lists those there are.
    """
    if name not in LAYOUTS:
        raise LayoutError(f"unknown layout {name!r}. Known: {', '.join(LAYOUTS)}")
    return LAYOUTS[name]()


def layout_of_dataset(dataset: str) -> str:
    """Name of the layout that ``TRAIN.DATASET dataset`` reads, in any letter case.

    Example:
        >>> layout_of_dataset("EpicKitchens")
        'epic'

    Raises:
        LayoutError: no synthetic data for this dataset.
    """
    if dataset.lower() not in _OF_DATASET:
        raise LayoutError(
            f"no synthetic data for TRAIN.DATASET {dataset!r}, only for {', '.join(_OF_DATASET)}. "
            "Tell where your own are with --data_dir"
        )
    return _OF_DATASET[dataset.lower()]


def default_options(layout: str, **given: Any) -> SyntheticOptions:
    """Options that suit a layout, with those of ``given`` that are not ``None`` in their place.

    Example:
        >>> default_options("meccano", size=64, fps=None).fps
        12
    """
    chosen = {name: value for name, value in given.items() if value is not None}
    options = {"num_clips": 3000, **find_layout(layout).defaults, **chosen}
    return SyntheticOptions(**options, layout=layout)
