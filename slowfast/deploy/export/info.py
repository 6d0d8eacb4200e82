"""What stands beside an exported model: everything its users must know, as JSON."""

from __future__ import annotations

import hashlib
import json
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

import torch

from slowfast.config import num_pathways
from slowfast.datasets.pathways import slow_indices
from slowfast.models.base import ClipModel
from slowfast.models.cosine import CosineModel
from slowfast.models.profile import build_model_inputs, count_macs, count_parameters
from slowfast.utils.errors import UserError, shortened
from slowfast.utils.files import write_text
from slowfast.utils.plain_json import parse_json

if TYPE_CHECKING:
    from yacs.config import CfgNode

LOGITS, PROBABILITIES, COSINES = OUTPUTS = ("logits", "probabilities", "cosines")
INFO_SUFFIX = ".json"
SCHEMA = 1
CHUNK = 2**20
LARGEST = 2**63 - 1


class ExportError(UserError, RuntimeError):
    """An exported file that cannot be written, trusted or used."""


@dataclass(frozen=True)
class ExportInfo:
    """The description of an exported model.

    Attributes:
        inputs: name -> ``(B, C, T, H, W)`` per pathway, slow first: ``frames``, or ``slow`` and
            ``fast``. B is 1 here; ``batch`` says what the file takes.
        outputs: names, one per task.
        tasks: of the outputs.
        kind: what comes out, one of ``OUTPUTS``. Logits are such that their ``head_act`` is
            ``ClipModel.predict``, also where that is a mean over the positions of a large clip.
        head_act: from logits to scores: softmax, sigmoid or none.
        scale: logits over cosines; ``None`` of models without a cosine head.
        channels: order of the colours of a clip, ``RGB`` or ``BGR``.
        model_channels: that of the model within; the file changes one into the other.
        mean, std: per channel in the order of ``channels``, of values in 0..1.
        stride: distance of the frames, at ``target_fps``.
        target_fps: frames per second; 0: those of the video.
        num_classes: of each task.
        class_names: task -> names by class id, where known.
        normalized_inside: the file takes uint8 frames and does ``(x / 255 - mean) / std`` itself;
            otherwise it takes float32 frames to which that has been done.
        batch: clips at once; 0: any number.
        num_frames: of a clip, before it is divided among pathways.
        pathway_frames: input -> which of those frames it takes.
        short_side: frames are scaled to this short side, pixels, then cropped; 0: see ``resize``.
        resize: ``[height, width]`` that whole frames are scaled to instead; else empty.
        crop: ``[height, width]`` of the centre crop.
        layout: axes of a clip.
        format: one of the names in ``slowfast.deploy.export.EXPORTERS``.
        precision: of weights and sums.
        model: its entry in the model table.
        is_pruned: channels were removed, so ``config`` alone does not tell the network.
        parameters, macs: of one clip; a multiply-add counts once (FLOPs are twice as many).
        parity: how far the file's outputs were from the model's, see
            :class:`slowfast.deploy.parity.Parity`; empty of a file that was not run.
        versions: of what wrote the file.
        sha256: file name -> checksum, of all files of the model.
        config: of the training, as YAML.
        source: the checkpoint it was made from: ``file``, its path then, and ``sha256``.
        schema: of this description.
    """

    inputs: dict[str, list[int]]
    outputs: list[str]
    tasks: list[str]
    kind: str
    head_act: str
    scale: float | None
    channels: str
    model_channels: str
    mean: list[float]
    std: list[float]
    stride: float
    target_fps: float
    num_classes: list[int] = field(default_factory=list)
    class_names: dict[str, list[str]] = field(default_factory=dict)
    normalized_inside: bool = False
    batch: int = 0
    num_frames: int = 0
    pathway_frames: dict[str, list[int]] = field(default_factory=dict)
    short_side: int = 0
    resize: list[int] = field(default_factory=list)
    crop: list[int] = field(default_factory=list)
    layout: str = "BCTHW"
    format: str = ""
    precision: str = "float32"
    model: str = ""
    is_pruned: bool = False
    parameters: int = 0
    macs: int = 0
    parity: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    sha256: dict[str, str] = field(default_factory=dict)
    config: str = ""
    source: dict[str, str] = field(default_factory=dict)
    schema: int = SCHEMA

    @property
    def is_reversed(self) -> bool:
        """Whether the file takes colours in the order opposite to the model's."""
        return self.channels != self.model_channels

    @property
    def dtype(self) -> torch.dtype:
        """Of the clips the file takes."""
        return torch.uint8 if self.normalized_inside else torch.float32


REQUIRED = {f.name for f in fields(ExportInfo) if MISSING is f.default is f.default_factory} | {
    "num_classes", "config", "sha256",
}  # fmt: skip


class FileForm(TypedDict, total=False):
    """What goes into an exported file and comes out of it, as the functions that make one take it.

    Attributes:
        kind: what comes out, one of ``OUTPUTS``; of streams ``logits`` or ``probabilities``.
        channels: the order of the colours that the file takes, ``RGB`` or ``BGR``.
        normalize_inside: whether it takes uint8 frames and normalises them itself.
        batch: clips, or streams, at once; 0: any number (a stream in OpenVINO: one).
    """

    kind: str
    channels: str
    normalize_inside: bool
    batch: int


def build_export_info(
    cfg: CfgNode,
    model: ClipModel,
    *,
    kind: str = LOGITS,
    channels: str = "RGB",
    class_names: Mapping[str, Sequence[str]] | None = None,
    normalize_inside: bool = False,
    batch: int = 0,
) -> ExportInfo:
    """What users of an exported ``model`` must know, but for what is measured later.

    Args:
        cfg: it was trained with.
        model: to be exported.
        kind: see :class:`FileForm`.
        channels: likewise.
        class_names: task -> names by class id.
        normalize_inside: see :class:`FileForm`.
        batch: likewise.

    Raises:
        UserError: a task has more or fewer names than classes.
    """
    shapes = build_model_inputs(cfg, cfg.DATA.TEST_CROP_SIZE)
    tasks = list(model.classifiers)
    num_classes = [layer.out_features for layer in model.classifiers.values()]
    mean, std = list(cfg.DATA.MEAN), list(cfg.DATA.STD)  # of RGB
    if channels == "BGR":
        mean, std = mean[::-1], std[::-1]
    pathway_frames = build_pathway_frames(cfg)
    single_crop = cfg.TEST.NUM_SPATIAL_CROPS == 1
    short_side = cfg.DATA.TRAIN_JITTER_SCALES[0] if single_crop else cfg.DATA.TEST_CROP_SIZE
    return ExportInfo(
        inputs={name: list(shape) for name, shape in zip(pathway_frames, shapes, strict=True)},
        outputs=tasks,
        tasks=tasks,
        kind=kind,
        head_act=model.head_act,
        scale=model.scale if isinstance(model, CosineModel) else None,
        channels=channels,
        model_channels="BGR" if cfg.DATA.REVERSE_INPUT_CHANNEL else "RGB",
        mean=mean,
        std=std,
        stride=cfg.DATA.SAMPLING_RATE,
        target_fps=cfg.DATA.TARGET_FPS,
        num_classes=num_classes,
        class_names=_checked_names(class_names or {}, dict(zip(tasks, num_classes, strict=True))),
        normalized_inside=normalize_inside,
        batch=batch,
        num_frames=cfg.DATA.NUM_FRAMES,
        pathway_frames=pathway_frames,
        short_side=0 if cfg.DATA.RESIZE else short_side,
        resize=list(cfg.DATA.RESIZE),
        crop=list(shapes[-1][-2:]),
        model=cfg.MODEL.MODEL_NAME,
        is_pruned=model.is_pruned,
        versions={"torch": str(torch.__version__)},
        config=cfg.dump(),
    )


def build_pathway_frames(cfg: CfgNode) -> dict[str, list[int]]:
    """Input name -> which frames of a clip it takes."""
    frames = list(range(cfg.DATA.NUM_FRAMES))
    if num_pathways(cfg) == 1:
        return {"frames": frames}
    return {"slow": slow_indices(cfg.DATA.NUM_FRAMES, cfg.SLOWFAST.ALPHA), "fast": frames}


def _checked_names(
    names: Mapping[str, Sequence[str]], num_classes: Mapping[str, int]
) -> dict[str, list[str]]:
    for task, of_task in names.items():
        if task not in num_classes:
            raise UserError(f"there are class names of {task!r}, the tasks are {[*num_classes]}")
        if len(of_task) != num_classes[task]:
            raise UserError(
                f"{len(of_task)} class names for the {num_classes[task]} classes of {task!r}: "
                "give one per class, in the order of their ids"
            )
    return {task: list(of_task) for task, of_task in names.items()}


def with_source(info: ExportInfo, path: Path) -> ExportInfo:
    """``info`` with the checkpoint that the model was read from."""
    file = path.resolve()
    digests = dict(checksums(file)) if file.exists() else {}
    return replace(info, source={"file": str(file), "sha256": digests.get(file.name, "")})


def with_cost(info: ExportInfo, model: ClipModel) -> ExportInfo:
    """``info`` with the parameters and MACs of ``model``."""
    macs = count_macs(model, [tuple(shape) for shape in info.inputs.values()])
    return replace(info, parameters=count_parameters(model), macs=macs)


def info_path(path: Path) -> Path:
    """Where the description of the model at ``path`` is: ``x3d.onnx.json`` of ``x3d.onnx``."""
    return path.with_name(main_file(path).name + INFO_SUFFIX)


def main_file(path: Path) -> Path:
    """The file that stands for the model: the ``.xml`` of OpenVINO's two."""
    return path.with_suffix(".xml") if path.suffix == ".bin" else path


def model_files(path: Path) -> list[Path]:
    """All files of the model at ``path``, which may be a folder."""
    path = main_file(path)
    if path.is_dir():
        return sorted(file for file in path.rglob("*") if file.is_file())
    return [path, path.with_suffix(".bin")] if path.suffix == ".xml" else [path]


def checksums(path: Path) -> Iterator[tuple[str, str]]:
    """Name and SHA-256 of every file of the model at ``path``."""
    for file in model_files(path):
        digest = hashlib.sha256()
        with file.open("rb") as stream:
            while chunk := stream.read(CHUNK):
                digest.update(chunk)
        yield file.relative_to(path.parent).as_posix(), digest.hexdigest()


def write_info(path: Path, info: ExportInfo) -> Path:
    """Write the description of the exported model at ``path`` beside it, with its checksums."""
    target = info_path(path)
    info = replace(info, sha256=dict(checksums(path)))
    rows = [f" {json.dumps(name)}: {json.dumps(value)}" for name, value in asdict(info).items()]
    write_text(target, "{\n" + ",\n".join(rows) + "\n}\n")  # an entry per line
    return target


def read_info(path: Path) -> ExportInfo:
    """The description of the exported model at ``path``.

    Raises:
        ExportError: the model or its description is not there, is another program's, or one of
            the two has changed since it was written.
    """
    missing = [file.name for file in model_files(path) if not file.exists()]
    if missing:
        raise ExportError(f"there is no exported model {path}: {', '.join(missing)} is missing")
    source = info_path(path)
    try:
        info = parse_info(source.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ExportError(
            f"{path} cannot be used without its description {source}: {error}. "
            "Write both with tools/export.py, and move them together"
        ) from error
    found = dict(checksums(path))
    changed = sorted({name for name, _ in found.items() ^ info.sha256.items()})
    if changed:
        raise ExportError(
            f"{source} is not the description of this {', '.join(changed)}: the SHA-256 differs. "
            "One of them was changed or copied without the other; export again"
        )
    return info


def parse_info(text: str) -> ExportInfo:
    """The description in a JSON text; what later versions add is left out.

    Raises:
        ValueError: it is none; says which entry is missing or of a wrong kind.
    """
    found = parse_json(text)
    if not isinstance(found, dict):
        raise ValueError("a JSON object is expected")
    known = known_entries(found, ExportInfo)
    if missing := sorted(REQUIRED - known.keys()):
        raise ValueError(f"it has no {', '.join(map(repr, missing))}")
    info = ExportInfo(**known)
    if info.kind not in OUTPUTS or info.schema > SCHEMA:
        raise ValueError(f"its kind {info.kind!r} or schema {info.schema} is a newer version's")
    if not len(info.outputs) == len(info.tasks) == len(info.num_classes) > 0 or not info.inputs:
        raise ValueError("inputs, outputs, tasks and num_classes do not belong together")
    for what, holds in _conditions(info):
        if not holds:
            raise ValueError(f"its {what} cannot be those of a model")
    return info


def known_entries(found: Mapping[str, Any], kind: type) -> dict[str, Any]:
    """Those entries of a JSON object that a dataclass has, all of its types.

    Raises:
        ValueError: one is not; says which.
    """
    hints = typing.get_type_hints(kind)
    known = {name: found[name] for name in hints if name in found}
    for name, value in known.items():
        if not _fits(value, hints[name]):
            raise ValueError(f"its {name!r} is {shortened(value, 60)}, which is no {hints[name]}")
    return known


def _conditions(info: ExportInfo) -> Iterator[tuple[str, bool]]:
    """What must hold of the numbers of a description, beside their types."""
    axes = {"BCTHW": 5, "BCHW": 4}.get(info.layout)  # of clips and periods; of a stream's frames
    yield "inputs", all(len(s) == axes and min(s) > 0 for s in info.inputs.values())
    yield "num_classes", min(info.num_classes) > 0
    yield "mean and std", len(info.mean) == len(info.std) > 0 and min(info.std) > 0
    yield "stride and target_fps", info.stride > 0 and info.target_fps >= 0
    sizes = (*info.crop, *info.resize, info.short_side, info.batch, info.num_frames)
    yield "sizes", len(info.crop) in (0, 2) and len(info.resize) in (0, 2) and min(sizes) >= 0
    frames = [number for of_one in info.pathway_frames.values() for number in of_one]
    yield "pathway_frames", all(0 <= number < info.num_frames for number in frames)
    counts = dict(zip(info.tasks, info.num_classes, strict=True))
    named = {task: len(names) for task, names in info.class_names.items()}
    yield "class_names", named.items() <= counts.items()


def _fits(value: Any, hint: Any) -> bool:
    """Whether a value read from JSON is of a type such as ``dict[str, list[int]]``."""
    origin, of = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return True
    if origin is dict:
        return isinstance(value, dict) and all(_fits(entry, of[1]) for entry in value.values())
    if origin is list:
        return isinstance(value, list) and all(_fits(entry, of[0]) for entry in value)
    if origin is not None:  # a union
        return any(_fits(value, one) for one in of)
    if isinstance(value, bool):
        return hint is bool
    if isinstance(value, (int, float)) and not abs(value) <= LARGEST:  # NaN, too
        return False
    return isinstance(value, (int, float) if hint is float else hint)
