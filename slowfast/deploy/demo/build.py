"""Config and options -> a demo: what ``tools/demo.py`` does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from slowfast.deploy.demo.draw import Overlay
from slowfast.deploy.demo.output import PredictionLog, VideoWriter
from slowfast.deploy.demo.run import Demo
from slowfast.deploy.demo.source import CameraSource, FrameSource, VideoSource
from slowfast.deploy.demo.window import Window
from slowfast.deploy.recognize import StreamRecognizer
from slowfast.deploy.recognize_build import build_recognizer
from slowfast.engine.weights import build_test_path
from slowfast.utils.errors import UserError

if TYPE_CHECKING:
    from yacs.config import CfgNode


@dataclass(frozen=True)
class DemoOptions:
    """How to show what.

    Attributes:
        video: file; empty: ``DEMO.INPUT_VIDEO``.
        camera: its number, or what else OpenCV opens; empty: ``DEMO.WEBCAM``.
        output: video to write, predictions beside it; ``None``: ``DEMO.OUTPUT_FILE``, or for a
            file ``<name>_demo.mp4`` in the current folder, for a camera none.
        mode: ``auto``, ``window`` or ``stream``.
        precision: of the computation.
        threads: of a prediction; 0: the runtime's choice.
        skip_frames: frames of the source between two predictions; ``None``: the recogniser's
            choice.
        window_s: of models trained on whole actions, the seconds a prediction is about; 0: those
            of a clip.
        top_k: classes per task.
        headless: no window; for a file that is so unless ``show``.
        show: a window also for a file.
        limit_s: stop after these seconds; 0: at the end.
        progress: see :func:`~slowfast.utils.progress.open_progress`.
    """

    video: str = ""
    camera: str = ""
    output: Path | None = None
    mode: str = "auto"
    precision: str = "f32"
    threads: int = 0
    skip_frames: int | None = None
    window_s: float = 0.0
    top_k: int = 5
    headless: bool = False
    show: bool = False
    limit_s: float = 0.0
    progress: str = "auto"


def build_demo(
    cfg: CfgNode | None,
    model_path: Path | None,
    options: DemoOptions,
    opts: Sequence[str] = (),
) -> Demo:
    """A demo, ready to run.

    Args:
        cfg: of the run; ``None``: that in the file, changed by ``opts``.
        model_path: checkpoint or exported file; ``None``: what ``run_net.py --eval`` tests.
        options: see :class:`DemoOptions`.
        opts: ``KEY VALUE`` words; those in ``cfg`` already count without them.

    Raises:
        UserError: something is missing, or does not go together; says what to do.
    """
    if options.top_k < 1 or (options.skip_frames or 0) < 0:
        raise UserError("--top_k is at least 1, --skip_frames at least 0")
    source = build_source(cfg, options)
    if model_path is None:
        if cfg is None:
            raise UserError("give the model as --checkpoint, or a config as --cfg, or both")
        model_path = build_test_path(cfg, Path(cfg.OUTPUT_DIR))
    screen = None
    if options.show or not (source.num_frames or options.headless):
        screen = Window(source.name)
    every = None if options.skip_frames is None else (options.skip_frames + 1) / source.fps
    recognizer = build_recognizer(
        cfg,
        model_path,
        mode=options.mode,
        threads=options.threads,
        precision=options.precision,
        every_s=every,
        opts=opts,
        window_s=options.window_s,
    )
    overlay = Overlay(
        source.height,
        source.width,
        recognizer.class_names,
        top_k=options.top_k,
        duration_s=source.duration_s,
    )
    demo = Demo(
        source, recognizer, overlay, screen=screen, limit_s=options.limit_s,
        progress=options.progress,
    )  # fmt: skip
    build_outputs(cfg, demo, model_path, options)
    return demo


def build_source(cfg: CfgNode | None, options: DemoOptions) -> FrameSource:
    """The camera or the file to look at."""
    video, camera = options.video, options.camera
    if not (video or camera) and cfg is not None:
        video = cfg.DEMO.INPUT_VIDEO
        camera = "" if video or cfg.DEMO.WEBCAM < 0 else str(cfg.DEMO.WEBCAM)
    if camera and not video:
        return CameraSource(camera)
    if not video or camera:
        raise UserError("give either a file as --input_video, or a camera as --camera 0")
    return VideoSource(video)


def build_outputs(cfg: CfgNode | None, demo: Demo, model_path: Path, options: DemoOptions) -> None:
    """Begin the files that the demo writes."""
    source, recognizer = demo.source, demo.recognizer
    output = options.output
    if output is None and cfg is not None and cfg.DEMO.OUTPUT_FILE:
        output = Path(cfg.DEMO.OUTPUT_FILE)
    if output is None:
        if demo.is_live:
            return
        output = Path(f"{Path(source.name).stem}_demo.mp4")
    if output.exists() and Path(source.name).exists() and output.samefile(source.name):
        raise UserError(f"{output} is the video to look at: give another name as --output")
    recognizer.reset(source.fps)
    about = {
        "video": source.name,
        "width": source.width,
        "height": source.height,
        "fps": round(source.fps, 4),
        "model": str(model_path),
        "mode": "stream" if isinstance(recognizer, StreamRecognizer) else "window",
        "window_s": round(recognizer.window_s, 4),
        "tasks": dict(zip(recognizer.info.tasks, recognizer.info.num_classes, strict=True)),
    }
    demo.video = VideoWriter(output, fps=source.fps, width=source.width, height=source.height)
    demo.log = PredictionLog(output, about, recognizer.class_names, options.top_k)
