"""Decode, recognise, draw: each in a thread of its own, with few frames between them.

::

    file:    source --8--> recogniser --8--> drawing and encoding
    camera:  source --newest 64--> recogniser ~~newest recognition~~> drawing
             source --newest 2---------------------------------------->
"""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from slowfast.deploy.demo.channel import Channel, Crew, StoppedError
from slowfast.deploy.demo.draw import Overlay
from slowfast.deploy.demo.output import PredictionLog, VideoWriter
from slowfast.deploy.demo.source import FrameSource, Shot
from slowfast.deploy.recognize import Frame, Recognition, Recognizer
from slowfast.utils.progress import open_progress

logger = logging.getLogger(__name__)

AHEAD = 8
"""Frames that a thread may be ahead of the next."""
LIVE_BACKLOG, LIVE_SHOWN = 64, 2
STATUS_S = 0.5
"""Seconds between updates of the speed shown."""


class Screen(Protocol):
    """What shows frames."""

    def show(self, picture: Frame) -> bool:
        """Show one; returns whether to go on."""
        ...

    def close(self) -> None: ...


@dataclass(frozen=True)
class Summary:
    """What a demo did.

    Attributes:
        frames: drawn.
        predictions: made.
        seconds: that it took.
        stopped: it was ended before the source was.
    """

    frames: int
    predictions: int
    seconds: float
    stopped: bool

    @property
    def fps(self) -> float:
        """Frames per second from file to file."""
        return self.frames / self.seconds if self.seconds else 0.0


@dataclass
class Demo:
    """A source, what recognises, and where the result goes.

    Args:
        source: of the frames.
        recognizer: of what is in them.
        overlay: draws it.
        video: is written; ``None``: none is.
        log: of the predictions; ``None``: none is written.
        screen: shows the frames; ``None``: none does.
        limit_s: seconds of the source after which to stop; 0: at its end.
        progress: see :func:`~slowfast.utils.progress.open_progress`.
    """

    source: FrameSource
    recognizer: Recognizer
    overlay: Overlay
    video: VideoWriter | None = None
    log: PredictionLog | None = None
    screen: Screen | None = None
    limit_s: float = 0.0
    progress: str = "auto"
    crew: Crew = field(default_factory=Crew)

    @property
    def is_live(self) -> bool:
        """The source does not wait."""
        return not self.source.num_frames

    def run(self) -> Summary:
        """Go through the source; Ctrl-C ends it as its end does.

        Raises:
            Exception: whatever went wrong in any of the threads; no file is left then.
        """
        begin = time.perf_counter()
        drawer = Drawer(self, begin)
        self.recognizer.reset(self.source.fps)
        try:
            with stop_on_signals(self.crew), suppress(StoppedError):
                self._start(drawer)
                drawer.draw_all()
            stopped = self.crew.is_over
            self.crew.join()
            if self.crew.error is not None:
                raise self.crew.error
            seconds = time.perf_counter() - begin
            summary = Summary(drawer.frames, drawer.predictions, seconds, stopped)
            self._finish(summary)
        except BaseException:
            self.crew.join()
            if self.video is not None:
                self.video.discard()
            if self.log is not None:
                self.log.discard()
            raise
        finally:
            if self.screen is not None:
                self.screen.close()
        return summary

    def describe(self, summary: Summary) -> str:
        """One line for people: what was done, and where it is."""
        what = (
            f"{summary.frames} frames, {summary.predictions} predictions, "
            f"{summary.fps:.0f} frames/s{', stopped' if summary.stopped else ''}"
        )
        if self.video is None or self.log is None or not summary.frames:
            return f"{self.source.name}: {what}"
        return f"{self.video.path}: {what}; also {', '.join(map(str, self.log.paths))}"

    def _start(self, drawer: Drawer) -> None:
        shots = Channel[Shot](self.crew, LIVE_BACKLOG if self.is_live else AHEAD,
                              lossy=self.is_live)  # fmt: skip
        targets: list[Channel[Any]] = [shots, drawer.shown] if self.is_live else [shots]
        self.crew.start(lambda: self._read(targets), "source")
        recognise = self._recognise_live if self.is_live else self._recognise
        self.crew.start(lambda: recognise(shots, drawer), "recogniser")

    def _read(self, targets: list[Channel[Any]]) -> None:
        shots = self.source.frames()
        try:
            for shot in shots:
                if self.limit_s and shot.time_s >= self.limit_s:
                    break
                _ = shot.picture  # made in this thread
                for target, item in zip(targets, (shot, (shot, [])), strict=False):
                    target.put(item)
        finally:
            shots.close()  # lets go of file or camera
        for target in targets:
            target.close()

    def _recognise(self, shots: Channel[Shot], drawer: Drawer) -> None:
        drawer.preview = self._look_ahead()
        before: Shot | None = None
        for shot in shots:
            if before is not None:
                drawer.shown.put((before, self._look(before)))
            before = shot
        if before is not None:
            drawer.shown.put(
                (before, self._look(before) + self._as_shown(self.recognizer.finish()))
            )
        drawer.shown.close()

    def _look_ahead(self) -> Recognition | None:
        """What the first prediction is going to be: it is about the first frames too."""
        recognizer, shots = self.recognizer, self.source.frames()
        try:
            for shot in shots:
                if self.crew.is_over or (self.limit_s and shot.time_s >= self.limit_s):
                    break
                if found := self._look(shot):
                    return found[0]
            return recognizer.finish()
        finally:
            shots.close()
            recognizer.reset(self.source.fps)

    def _recognise_live(self, shots: Channel[Shot], drawer: Drawer) -> None:
        for shot in shots:
            for found in self._look(shot, predict=not len(shots)):
                drawer.found.append(found)

    def _look(self, shot: Shot, *, predict: bool = True) -> list[Recognition]:
        recognizer, source = self.recognizer, self.source
        if not recognizer.wants(shot.clock_s):
            return []
        frame = shot.scaled(recognizer.decode_short_side(source.height, source.width))
        return self._as_shown(recognizer.push(frame, shot.clock_s, predict=predict))

    def _as_shown(self, found: Recognition | None) -> list[Recognition]:
        """What was found, if anything, with times as the source shows them."""
        if found is None:
            return []
        shown_at = self.source.shown_at
        return [
            replace(
                found,
                start_s=shown_at(found.start_s),
                end_s=shown_at(found.end_s),
                time_s=shown_at(found.time_s),
            )
        ]

    def _finish(self, summary: Summary) -> None:
        if self.video is not None:
            self.video.finish()
        if self.log is not None:
            self.log.finish({"frames": summary.frames, "predictions": summary.predictions,
                             "seconds": round(summary.seconds, 3),
                             "stopped": summary.stopped})  # fmt: skip


class Drawer:
    """The last of the three: draws, shows and writes, in the main thread.

    Args:
        demo: whose frames.
        begin: when it began, seconds.

    Attributes:
        shown: frames to draw, each with what was recognised since the one before.
        found: recognitions of a camera.
        frames: drawn so far.
        predictions: so far.
        preview: what to show until the first of them.
    """

    def __init__(self, demo: Demo, begin: float) -> None:
        self.demo = demo
        size = LIVE_SHOWN if demo.is_live else AHEAD
        self.shown = Channel[tuple[Shot, list[Recognition]]](demo.crew, size, lossy=demo.is_live)
        self.found: list[Recognition] = []
        self.frames = self.predictions = 0
        self.preview: Recognition | None = None
        self._newest: Recognition | None = None
        self._status, self._counted = "", (begin, 0)

    def draw_all(self) -> None:
        """Until the source ends, somebody has seen enough, or something fails."""
        demo = self.demo
        mode = "none" if demo.is_live else demo.progress
        with open_progress(demo.source.num_frames, "demo", mode) as progress:
            for shot, found in self.shown:
                while self.found:
                    found.append(self.found.pop(0))
                for one in found:
                    self._take(one)
                self._draw(shot)
                progress.update()
                if demo.screen is not None and not demo.screen.show(shot.picture):
                    demo.crew.stop()

    def _take(self, found: Recognition) -> None:
        demo = self.demo
        if demo.log is not None:
            demo.log.write(found)
        if demo.is_live and demo.screen is None:
            self._say(found)
        self._newest = found
        self.predictions += 1

    def _say(self, found: Recognition) -> None:
        """A log line where the best class has changed."""
        names = self.demo.recognizer.class_names
        now = found.top(1, names)
        best = [guesses[0].class_id for guesses in now.values()]
        if self._newest is None or best != [
            guesses[0].class_id for guesses in self._newest.top(1).values()
        ]:
            text = ", ".join(f"{g[0].name} {g[0].score:.0%}" for g in now.values())
            logger.info("%.1f s: %s", found.time_s, text)

    def _draw(self, shot: Shot) -> None:
        demo, now = self.demo, time.perf_counter()
        self.frames += 1
        since, count = self._counted
        if (now - since >= STATUS_S or not self._status) and self.frames > 1:
            self._status = f"{(self.frames - count) / (now - since):.0f} fps"
            self._counted = (now, self.frames)
        status, found = self._status, self._newest or self.preview
        if status and found is not None:
            status = f"{status} \u00b7 {found.seconds * 1e3:.0f} ms"
        demo.overlay.draw(shot.picture, shot.time_s, found, status)
        if demo.video is not None:
            demo.video.write(shot.picture, shot.time_s)


@contextmanager
def stop_on_signals(crew: Crew) -> Iterator[None]:
    """Ctrl-C, or a polite kill, ends the work in order; a second Ctrl-C at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, _: object) -> None:
        if crew.is_over:
            raise KeyboardInterrupt
        crew.stop()

    handlers: dict[signal.Signals, Callable[..., Any] | int | None] = {}
    for name in (signal.SIGINT, signal.SIGTERM):
        handlers[name] = signal.signal(name, stop)
    try:
        yield
    finally:
        for name, handler in handlers.items():
            signal.signal(name, handler)
