"""Explained clips as files: a video and a sheet of each, and one JSON file about all."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slowfast.reports.gradcam.draw import sheet, side_by_side, write_mp4, write_png
from slowfast.reports.gradcam.pictures import Explainer, Picture, ShownClip
from slowfast.utils.progress import open_progress

JSON_FILE = "gradcam.json"
Show = Callable[[int, Picture], None]
"""``(number, picture)``: shows an explained clip elsewhere too."""


@dataclass(frozen=True)
class Visualization:
    """Clips, a network, and a folder for what it sees in them.

    Attributes:
        clips: to explain, read as they are needed.
        num_clips: how many there are, for progress.
        explainer: explains them.
        output_dir: gets the files.
        about: head of the JSON file.
        shows: called with every picture.
        progress: see :func:`~slowfast.utils.progress.open_progress`.
    """

    clips: Iterable[ShownClip]
    num_clips: int
    explainer: Explainer
    output_dir: Path
    about: dict[str, Any]
    shows: Sequence[Show] = ()
    progress: str = "auto"

    def run(self) -> list[Path]:
        """Write everything; the files, the JSON file last."""
        self.output_dir.mkdir(parents=True, exist_ok=True)
        files: list[Path] = []
        entries = []
        with open_progress(self.num_clips, "clips", self.progress) as bar:
            for number, clip in enumerate(self.clips):
                picture = self.explainer(clip)
                written = write_picture(picture, self.output_dir, number)
                entries.append(picture.entry() | {"files": [path.name for path in written]})
                files += written
                for show in self.shows:
                    show(number, picture)
                bar.update()
        target = self.output_dir / JSON_FILE
        text = json.dumps(self.about | {"clips": entries}, indent=1, ensure_ascii=False)
        target.write_text(text + "\n", "utf-8")
        return [*files, target]


def write_picture(picture: Picture, folder: Path, number: int) -> list[Path]:
    """The video and the sheet of a clip: ``003_<video>_view0.mp4``, ``.png``."""
    clip, panels, head = picture.clip, picture.panels(), picture.head()
    stem = re.sub(r"[^\w.-]+", "_", Path(clip.name).stem)[:80] or "clip"
    name = f"{number:03d}_{stem}_view{clip.view}"
    moving = side_by_side(panels, picture.columns, head)
    return [
        write_mp4(folder / f"{name}.mp4", moving, clip.fps),
        write_png(folder / f"{name}.png", sheet(panels, head)),
    ]
