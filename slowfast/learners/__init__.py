"""What users start from: whole ways of working, over the same engine as everything else.

>>> from slowfast.learners import CoX3DLearner, KineticsDataset, X3DLearner
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from slowfast.learners.cox3d import CoX3DLearner as CoX3DLearner
    from slowfast.learners.kinetics import KineticsDataset as KineticsDataset
    from slowfast.learners.learner import Learner as Learner
    from slowfast.learners.learner import LearnerError as LearnerError
    from slowfast.learners.types import Category as Category
    from slowfast.learners.types import Image as Image
    from slowfast.learners.types import Video as Video
    from slowfast.learners.x3d import X3DLearner as X3DLearner

_PLACES = {
    "Category": "types",
    "CoX3DLearner": "cox3d",
    "Image": "types",
    "KineticsDataset": "kinetics",
    "Learner": "learner",
    "LearnerError": "learner",
    "Video": "types",
    "X3DLearner": "x3d",
}

__all__ = list(_PLACES)


def __getattr__(name: str) -> Any:
    """Learners load torch, which the commands of model templates do without until they run."""
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_PLACES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_PLACES})
