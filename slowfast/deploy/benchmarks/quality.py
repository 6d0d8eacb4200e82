"""Whether different ways of running a network give the same answers, and the right ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from slowfast.deploy.benchmarks.contender import Contender
from slowfast.deploy.benchmarks.playback import feed, read_frames
from slowfast.engine.build import Evaluation, Placement, build_evaluation
from slowfast.models.base import ClipModel, Preds
from slowfast.models.profile import build_model_inputs
from slowfast.utils.errors import UserError

if TYPE_CHECKING:
    from yacs.config import CfgNode

NOISE_CLIPS, NOISE_BATCH = 8, 1
STREAM_FRAMES = 48
CPU = Placement(torch.device("cpu"), torch.contiguous_format, None)


@dataclass(frozen=True)
class Answers:
    """What a contender says of some clips.

    Attributes:
        scores: task -> ``(N, C)``.
        metrics: of the labels; empty where there are none.
        multi_label: classes are independent.
    """

    scores: dict[str, NDArray[Any]]
    metrics: dict[str, float] = field(default_factory=dict)
    multi_label: bool = False

    def __len__(self) -> int:
        return len(next(iter(self.scores.values())))

    def agreement(self, other: Answers) -> float:
        """Percent of the clips with the same best class in every task.

        Of independent classes, percent of the decisions at a score of 0.5 that are the same.
        """
        same = []
        for task, scores in self.scores.items():
            theirs = other.scores[task]
            if self.multi_label:
                same.append(((scores > 0.5) == (theirs > 0.5)).mean(axis=1))
            else:
                same.append(1.0 * (scores.argmax(axis=1) == theirs.argmax(axis=1)))
        return float(100 * np.stack(same).min(axis=0).mean())

    def difference(self, other: Answers) -> float:
        """Largest difference of a score."""
        pairs = ((scores, other.scores[task]) for task, scores in self.scores.items())
        return max(float(np.abs(a - b).max()) for a, b in pairs)


def build_split_answers(cfg: CfgNode, split: str) -> Callable[[ClipModel], Answers]:
    """Scores models on a split of the data of ``cfg``, as ``run_net.py`` does.

    Raises:
        UserError: the config regresses features, or has no such data.
    """
    evaluations: list[Evaluation] = []

    def answer(model: ClipModel) -> Answers:
        if not evaluations:
            found = build_evaluation(cfg, model, split, CPU)
            if not isinstance(found, Evaluation):
                raise UserError("there are no classes to compare: the config regresses features")
            evaluations.append(found)
        (evaluation,) = evaluations
        evaluation.model = model
        predictions, metrics = evaluation()
        assert predictions is not None  # one process
        multi = any(labels.ndim == 2 for labels in predictions.labels.values())
        return Answers(dict(predictions.scores), metrics, multi)

    return answer


def build_noise_answers(cfg: CfgNode, clips: int = NOISE_CLIPS) -> Callable[[ClipModel], Answers]:
    """Scores models on clips of noise."""
    generator = torch.Generator().manual_seed(0)
    shapes = build_model_inputs(cfg, cfg.DATA.TEST_CROP_SIZE, batch=clips)
    noise = [torch.randn(shape, generator=generator) for shape in shapes]

    @torch.no_grad()
    def answer(model: ClipModel) -> Answers:
        starts = range(0, clips, NOISE_BATCH)
        parts = [model.predict([n[i : i + NOISE_BATCH] for n in noise]) for i in starts]
        return join(parts)

    return answer


def stream_answers(contender: Contender, frames: Sequence[Tensor]) -> Answers:
    """Scores of a stream after every period of frames.

    Args:
        contender: a stream.
        frames: uint8 ``(3, H, W)``.
    """
    runner, info = contender.stream, contender.stream_info
    assert runner is not None
    assert info is not None
    batch = contender.spec.batch
    runner.reset(batch)
    steps = range(0, len(frames) - info.period + 1, info.period)
    found = [feed(runner, info, frames[i : i + info.period], batch) for i in steps]
    runner.reset(batch)
    return join(found)


def stream_frames(contender: Contender, videos: Sequence[str] = ()) -> list[Tensor]:
    """Frames to compare streams on: the first ones of every video, or noise.

    Args:
        contender: says how they are prepared.
        videos: files.
    """
    info = contender.stream_info
    assert info is not None
    count = max(STREAM_FRAMES, 4 * info.period)
    if videos:
        return [f for video in videos for f in islice(read_frames(video, info.clip), count)]
    generator = torch.Generator().manual_seed(0)
    shape = (3, *info.clip.crop)
    return [torch.randint(0, 256, shape, generator=generator).to(torch.uint8) for _ in range(count)]


def join(parts: Sequence[Preds]) -> Answers:
    """The scores of batches, one below the other."""
    tasks = [part if isinstance(part, dict) else {"action": part} for part in parts]
    scores = {task: torch.cat([part[task].float().cpu() for part in tasks]) for task in tasks[0]}
    return Answers({task: score.numpy() for task, score in scores.items()})


def quality_row(found: Answers, expected: Answers | None) -> dict[str, Any]:
    """What a table says of a contender's answers.

    Args:
        found: of the contender.
        expected: of the network in f32; ``None`` where it did not run.
    """
    row: dict[str, Any] = {}
    for name in ("top1_acc", "map"):
        if name in found.metrics:
            row |= {"metric": name, "accuracy": found.metrics[name]}
    if expected is not None and found.scores.keys() == expected.scores.keys():
        row |= {
            "agreement": found.agreement(expected),
            "max_score_difference": found.difference(expected),
        }
    return row


def find_baseline(contenders: Sequence[Contender]) -> dict[str, Contender]:
    """Family -> who is right: PyTorch in f32, else the first one in f32."""
    found: dict[str, Contender] = {}
    for contender in contenders:
        if contender.spec.precision == "f32":
            found.setdefault(contender.family, contender)
    for contender in reversed(contenders):
        if contender.spec.precision == "f32" and contender.spec.runtime == "eager":
            found[contender.family] = contender
    return found


def compare_answers(
    contenders: Sequence[Contender], answer: Callable[[Contender], Answers]
) -> tuple[dict[str, dict[str, Any]], int]:
    """Name -> :func:`quality_row`, and of how many clips."""
    answers: Mapping[str, Answers] = {c.name: answer(c) for c in contenders}
    right = find_baseline(contenders)
    rows = {}
    for contender in contenders:
        expected = right.get(contender.family)
        theirs = answers[expected.name] if expected else None
        rows[contender.name] = quality_row(answers[contender.name], theirs)
    return rows, max(map(len, answers.values()), default=0)
