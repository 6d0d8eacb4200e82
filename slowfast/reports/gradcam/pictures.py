"""An explained clip: what it is, what the network says, and the panels that show it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from slowfast.datasets.base import Failure, VideoDataset
from slowfast.datasets.batch import Batch
from slowfast.datasets.pathways import pack_pathways
from slowfast.deploy.recognition import class_label
from slowfast.engine.batches import BatchPreparation
from slowfast.models.base import ClipModel
from slowfast.reports.gradcam.draw import Panel, frames_of, overlay
from slowfast.reports.gradcam.explain import Explanation, Heat, explain

PATHWAYS = {1: ("clip",), 2: ("slow", "fast")}
FPS = 2.0, 30.0
"""Least and most frames per second of a picture that moves."""


@dataclass(frozen=True)
class ShownClip:
    """A clip as it is read.

    Attributes:
        name: of the video.
        view: number of the clip in it.
        start_s: time of its first frame.
        end_s: of its last frame.
        frames: uint8 ``(C, T, H, W)``, RGB.
        labels: task -> class ids that are true, where they are known.
    """

    name: str
    view: int
    start_s: float
    end_s: float
    frames: Tensor
    labels: dict[str, list[int]]

    @property
    def fps(self) -> float:
        """Of its frames, as far as one can watch it."""
        seconds, steps = self.end_s - self.start_s, self.frames.shape[1] - 1
        return float(np.clip(steps / seconds if seconds > 0 and steps else 8.0, *FPS))


def read_clips(
    dataset: VideoDataset, numbers: Sequence[int], tasks: Sequence[str]
) -> Iterator[ShownClip]:
    """Every view of the videos ``numbers`` of a dataset.

    Raises:
        UserError: a video cannot be read.
    """
    for number in numbers:
        item = dataset[(0, number)]
        if isinstance(item, Failure):
            raise item.error
        labels = labels_by_task(item.labels, tasks)
        for view, (clip, (start, end)) in enumerate(
            zip(item.clips, item.times.tolist(), strict=True)
        ):
            yield ShownClip(item.name, view, start, end, clip, labels)


def labels_by_task(labels: Any, tasks: Sequence[str]) -> dict[str, list[int]]:
    """Task -> class ids that are known; labels of tasks the network lacks are left out."""
    if isinstance(labels, np.ndarray):
        return {}
    if not isinstance(labels, Mapping):
        labels = dict.fromkeys(tasks[:1], labels)
    known: dict[str, list[int]] = {}
    for task in tasks:
        ids = labels.get(task, ())
        ids = [int(i) for i in (ids if isinstance(ids, list | tuple) else [ids]) if int(i) >= 0]
        known |= {task: ids} if ids else {}
    return known


@dataclass(frozen=True)
class Explainer:
    """A network, what it takes and what to ask it.

    Attributes:
        model: on its device.
        prepare: uint8 clips -> its input.
        alpha: frame rate of Fast over Slow; ``None`` for one pathway.
        class_names: task -> names by class id, where known.
        layers: that are looked at.
        classes: task -> class to explain; else the true or the predicted one.
        true_label: explain the true class, where it is known.
        colours: name of the colour map.
        top_k: predictions that are written.
    """

    model: ClipModel
    prepare: BatchPreparation
    alpha: int | None
    class_names: Mapping[str, Sequence[str]]
    layers: Sequence[str] = ()
    classes: Mapping[str, int] | None = None
    true_label: bool = False
    colours: str = "viridis"
    top_k: int = 5

    def inputs(self, clip: ShownClip) -> list[Tensor]:
        """What the network takes of a clip."""
        empty = torch.zeros(1)
        batch = Batch([clip.frames[None]], empty, empty, torch.zeros(1, 2), {})
        return self.prepare(batch).clips

    def __call__(self, clip: ShownClip) -> Picture:
        """The clip explained."""
        wanted = dict(self.classes or {})
        if self.true_label:
            wanted = {task: ids[0] for task, ids in clip.labels.items()} | wanted
        found = explain(self.model, self.inputs(clip), layers=self.layers, classes=wanted)
        return Picture(clip, found, self, wanted)

    def name(self, task: str, number: int) -> str:
        """Of a class."""
        names = self.class_names.get(task)
        return names[number] if names else class_label(number)


@dataclass(frozen=True)
class Picture:
    """An explained clip.

    Attributes:
        clip: that was explained.
        found: what was found.
        explainer: by which.
        wanted: task -> class that was asked for.
    """

    clip: ShownClip
    found: Explanation
    explainer: Explainer
    wanted: Mapping[str, int]

    @property
    def columns(self) -> int:
        """Panels of a layer: the frames, then a column per task."""
        return 1 + len(self.found.scores)

    def panels(self) -> list[Panel]:
        """For every layer looked at the frames of its pathway, then what each task looks at."""
        pathways = pack_pathways(self.clip.frames[None], self.explainer.alpha)
        titles = PATHWAYS.get(len(pathways), ("clip",))
        panels = []
        for heat in self.found.heats:
            frames = frames_of(pathways[heat.pathway][0])
            panels.append(Panel(titles[heat.pathway], frames))
            for task in self.found.scores:
                shade = heat.on_clip(task, frames.shape[:3])[0].cpu().numpy()
                title = f"{titles[heat.pathway]} {heat.layer}: {self._explained(task)}"
                title += "" if shade.any() else " (nothing speaks for it)"
                panels.append(Panel(title, overlay(frames, shade, self.explainer.colours)))
        return panels

    def head(self) -> list[str]:
        """Which video, and per task what is true and what is predicted."""
        clip = self.clip
        lines = [f"{clip.name}  {clip.start_s:.2f} to {clip.end_s:.2f} s"]
        for task in self.found.scores:
            best = self.top(task)[0]
            said = f"{task}: {best['name']} {best['score']:.0%}"
            true = ", ".join(self.explainer.name(task, i) for i in clip.labels.get(task, ()))
            lines.append(f"{said} (true: {true})" if true else said)
        return lines

    def top(self, task: str) -> list[dict[str, Any]]:
        """The best classes of a task: id, name and score."""
        scores = self.found.scores[task][0].float().cpu()
        best = scores.argsort(descending=True, stable=True)[: self.explainer.top_k].tolist()
        return [
            {
                "class": i,
                "name": self.explainer.name(task, i),
                "score": round(float(scores[i]), 6),
            }
            for i in best
        ]

    def entry(self) -> dict[str, Any]:
        """All of it in numbers, for JSON."""
        clip, name = self.clip, self.explainer.name
        tasks = {}
        for task in self.found.scores:
            number = int(self.found.classes[task][0])
            labels = clip.labels.get(task, [])
            tasks[task] = {
                "true": [{"class": i, "name": name(task, i)} for i in labels],
                "explained": {"class": number, "name": name(task, number), "why": self._why(task)},
                "top": self.top(task),
                "heat": [self._heat(heat, task) for heat in self.found.heats],
            }
        return {
            "video": clip.name,
            "view": clip.view,
            "start_s": round(clip.start_s, 3),
            "end_s": round(clip.end_s, 3),
            "tasks": tasks,
        }

    def _explained(self, task: str) -> str:
        number = int(self.found.classes[task][0])
        score = float(self.found.scores[task][0, number])
        several = f"{task} " if len(self.found.scores) > 1 else ""
        return f"{several}{self.explainer.name(task, number)} {score:.0%}"

    def _why(self, task: str) -> str:
        if task in (self.explainer.classes or {}):
            return "given"
        return "true" if task in self.wanted else "predicted"

    def _heat(self, heat: Heat, task: str) -> dict[str, Any]:
        """Where the evidence is: its centre of gravity, 0 to 1 along each axis."""
        maps = heat.maps[task][0].double().cpu()
        total = float(maps.sum())
        centre = None
        if total > 0:
            centre = {}
            for axis, label in enumerate(("time", "height", "width")):
                others = [a for a in range(3) if a != axis]
                places = (torch.arange(maps.shape[axis]) + 0.5) / maps.shape[axis]
                along = maps.sum(dim=others)
                centre[label] = round(float((along * places).sum() / total), 4)
        return {
            "pathway": heat.pathway,
            "layer": heat.layer,
            "shape": list(maps.shape),
            "peak": float(maps.max()),
            "centre": centre,
        }
