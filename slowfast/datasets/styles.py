"""The colour statistics of the training clips, for :mod:`.augment.crossnorm`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from slowfast.datasets.augment.crossnorm import Style, is_usable, measure_style
from slowfast.datasets.bad_list import records_to_train_on
from slowfast.datasets.base import ClipRecord, open_record, segment
from slowfast.datasets.build import build_family
from slowfast.datasets.decode import FrameCountError, VideoError, VideoReader
from slowfast.datasets.sampling import ClipSampler
from slowfast.utils.parallel import WorkerDied, run_parallel

if TYPE_CHECKING:
    from yacs.config import CfgNode


@dataclass(frozen=True)
class StyleOf:
    """The style of the clip in the middle of a record, at the size training sees.

    Attributes:
        open: the reader of a record.
        sampler: of validation clips: nothing is drawn.
        short_side: pixels.
    """

    open: Callable[[ClipRecord], VideoReader]
    sampler: ClipSampler
    short_side: int

    def __call__(self, record: ClipRecord) -> Style | str:
        """The style, or why there is none."""
        try:
            with self.open(record) as reader:
                try:
                    return self._measure(record, reader)
                except FrameCountError:
                    return self._measure(record, reader)
        except VideoError as error:
            return str(error)

    def _measure(self, record: ClipRecord, reader: VideoReader) -> Style:
        first, total = segment(record, reader)
        (clip,) = self.sampler.clips(total, reader.fps)
        numbers = [first + number for number in clip]
        return measure_style(reader.read(numbers, self.short_side))


def measure_styles(
    records: list[ClipRecord], style_of: StyleOf, *, workers: int, progress: str = "auto"
) -> tuple[list[Style], dict[str, str]]:
    """Styles in the order of ``records``, and ``path -> reason`` of those without.

    Clips that are black, empty or of one colour have no usable style and are left out.
    """
    found: dict[int, Style] = {}
    failed: dict[str, str] = {}
    for number, answer in run_parallel(
        style_of, records, workers=workers, description="measuring", progress=progress
    ):
        path = records[number].path
        if isinstance(answer, WorkerDied):
            failed[path] = f"{path}: the process that decoded it died"
        elif isinstance(answer, str):
            failed[path] = answer
        elif is_usable(answer):
            found[number] = answer
    return [found[number] for number in sorted(found)], failed


def build_style_of(cfg: CfgNode) -> tuple[list[ClipRecord], StyleOf]:
    """The training records, and how to measure them."""
    records = records_to_train_on(build_family(cfg, "train"), cfg.DATA.BAD_VIDEOS_FILE)
    reader = partial(open_record, backend=cfg.DATA.DECODING_BACKEND)
    sampler = ClipSampler.from_cfg(cfg, "val")
    return records, StyleOf(reader, sampler, cfg.DATA.TRAIN_JITTER_SCALES[0])
