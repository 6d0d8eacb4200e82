"""One file per clip and a list per split: Kinetics."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from slowfast.datasets.synthetic.encode import write_video
from slowfast.datasets.synthetic.labels import ACTIONS
from slowfast.datasets.synthetic.layouts.base import Layout, all_segments, csv_text, label_tables
from slowfast.datasets.synthetic.specs import SPLITS, ClipSpec, SyntheticOptions
from slowfast.datasets.synthetic.timeline import Video, single_clips


class KineticsLayout(Layout):
    """``videos/<split>/<action>/<clip>.mp4`` with ``{train,val,test}.csv`` (path, space, class id).

    The ``videos/<split>`` folders are also complete folder-of-videos datasets.
    """

    defaults: ClassVar[dict[str, Any]] = {
        "num_frames": 32,
        "size": 80,
        "difficulty": 0.1,
        "split_ratio": (0.8, 0.04, 0.16),
    }
    writes_files: ClassVar[bool] = True

    def videos(self, specs: Sequence[ClipSpec], options: SyntheticOptions) -> list[Video]:
        """One ``.mp4`` per clip."""
        timelines = single_clips(specs, options.num_frames)
        places = (f"videos/{s.split}/{ACTIONS[s.action].name}/{s.name}.mp4" for s in specs)
        return [
            Video(path, spec.name, Fraction(options.fps), timeline)
            for path, spec, timeline in zip(places, specs, timelines, strict=True)
        ]

    def write(self, path: Path, frames: NDArray[np.uint8], video: Video) -> None:
        """Encode as H.264."""
        write_video(path, frames, fps=video.fps)

    def lists(self, videos: Sequence[Video]) -> dict[str, str]:
        """One csv per split, class names, and the tables that tell verb and object of each clip."""
        texts = {}
        for split in SPLITS:
            rows = all_segments(videos, split)
            texts[f"{split}.csv"] = "".join(f"{v.path} {s.spec.action}\n" for v, s in rows)
        header = ("path", "split", "action", "verb", "object", "seed")
        pairs = [(video.path, video.timeline.segments[0].spec) for video in videos]
        table = [(path, s.split, s.action, s.verb, s.object, s.seed) for path, s in pairs]
        return texts | label_tables() | {"clips.csv": csv_text([header, *table])}
