"""Assembly actions rendered to real files: MECCANO's label structure without its download.

Twelve motions of twenty objects in 61 pairs. The verb cannot be told from one frame, so a model
has to look at the motion.
"""

from slowfast.datasets.synthetic.build import OutputDirError, make_synthetic
from slowfast.datasets.synthetic.labels import ACTIONS, OBJECTS, VERBS
from slowfast.datasets.synthetic.layouts import (
    LAYOUTS,
    default_options,
    find_layout,
    layout_of_dataset,
)
from slowfast.datasets.synthetic.scene import SceneOptions, render_clip
from slowfast.datasets.synthetic.specs import ClipSpec, SyntheticOptions, list_clips

__all__ = [
    "ACTIONS",
    "LAYOUTS",
    "OBJECTS",
    "VERBS",
    "ClipSpec",
    "OutputDirError",
    "SceneOptions",
    "SyntheticOptions",
    "default_options",
    "find_layout",
    "layout_of_dataset",
    "list_clips",
    "make_synthetic",
    "render_clip",
]
