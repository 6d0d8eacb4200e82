"""``template.yaml``, and the working directory made from it."""

from __future__ import annotations

import hashlib
import logging
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from slowfast.utils.download import download
from slowfast.utils.errors import UserError
from slowfast.utils.files import copy_file

logger = logging.getLogger(__name__)

FILE_NAME = "template.yaml"


class TemplateError(UserError, ValueError):
    """A template that cannot be used; the message names its file and what is wrong."""


@dataclass(frozen=True)
class Dependency:
    """A file that a working directory needs beside the template's own.

    Attributes:
        source: path from the template's folder, or URL.
        destination: path in the working directory.
        size: bytes, where known.
        sha256: where known.
    """

    source: str
    destination: str
    size: int | None = None
    sha256: str | None = None

    @property
    def is_remote(self) -> bool:
        """Whether it is downloaded."""
        return self.source.startswith(("http://", "https://"))


@dataclass(frozen=True)
class Template:
    """What a ``template.yaml`` says.

    Attributes:
        path: of the file.
        name: of the model.
        config: the model's YAML, in the working directory.
        batch_size: clips per GPU.
        base_learning_rate: of the recipe.
        epochs: of the recipe.
        gpu_num: GPUs of the recipe.
        formats: that ``export.py`` writes unless told otherwise: ``onnx``, ``openvino``.
        input_format: colours of exported models, ``RGB`` or ``BGR``.
        dependencies: files.
    """

    path: Path
    name: str
    config: str
    batch_size: int
    base_learning_rate: float
    epochs: int
    gpu_num: int
    formats: tuple[str, ...]
    input_format: str
    dependencies: tuple[Dependency, ...]


def read_template(path: Path) -> Template:
    """The template in a file, or in the ``template.yaml`` of a folder.

    Raises:
        TemplateError: missing, not YAML, or without something a template has.
    """
    path = path / FILE_NAME if path.is_dir() else path
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
        basic = data["hyper_parameters"]["basic"]
        output = data["output_format"]
        return Template(
            path=path,
            name=data["name"],
            config=data["config"],
            batch_size=int(basic["batch_size"]),
            base_learning_rate=float(basic["base_learning_rate"]),
            epochs=int(basic["epochs"]),
            gpu_num=int(data["gpu_num"]),
            formats=tuple(name for name in ("onnx", "openvino") if output[name]["default"]),
            input_format=output["openvino"].get("input_format", "RGB"),
            dependencies=tuple(Dependency(**entry) for entry in data["dependencies"]),
        )
    except OSError as error:
        raise TemplateError(f"there is no template {path}: {error.strerror}") from error
    except KeyError as error:
        raise TemplateError(f"{path}: a template has {error.args[0]!r}, this one not") from error
    except (yaml.YAMLError, TypeError, ValueError) as error:
        raise TemplateError(f"{path} is not a template: {error}") from error


def instantiate(
    template_path: Path, output_dir: Path, *, fetch: bool = False, replace: bool = False
) -> list[Path]:
    """Make a working directory: the template's folder and every file it depends on.

    Args:
        template_path: ``template.yaml`` or its folder.
        output_dir: made when missing.
        fetch: also download what comes from the network, such as trained weights.
        replace: files that are there already.

    Returns:
        The files written.

    Raises:
        TemplateError: no template; a dependency is missing or not the file it should be; a file
            is there already.
    """
    template = read_template(template_path)
    folder = template.path.parent
    if output_dir.resolve() == folder.resolve():
        raise TemplateError(f"{output_dir} is the template itself: give another directory")
    local = {path.relative_to(folder): path for path in sorted(folder.rglob("*")) if path.is_file()}
    for dependency in template.dependencies:
        if not dependency.is_remote:
            local[Path(dependency.destination)] = folder / dependency.source
    there = [str(output_dir / name) for name in local if (output_dir / name).exists()]
    if there and not replace:
        raise TemplateError(
            f"{there[0]} is there already ({len(there)} files in all): give an empty directory, or "
            "--force to replace them"
        )
    written = [_copy(source, output_dir / name) for name, source in local.items()]
    for dependency in template.dependencies:
        if not dependency.is_remote:
            check_file(output_dir / dependency.destination, dependency)
        elif fetch:
            written.append(_fetch(dependency, output_dir))
        else:
            logger.info(
                "not downloaded (--download does it): %s, to be %s",
                dependency.source,
                output_dir / dependency.destination,
            )
    return written


def _copy(source: Path, target: Path) -> Path:
    if not source.is_file():
        raise TemplateError(f"the template needs {source}, which is not there")
    copy_file(source, target)
    return target


def _fetch(dependency: Dependency, output_dir: Path) -> Path:
    """Download, check, then put in place: never half a file, never a wrong one."""
    target = output_dir / dependency.destination
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".download_") as folder:
        path = download(dependency.source, Path(folder))
        check_file(path, dependency)
        path.replace(target)
    if dependency.sha256 is None:
        logger.warning("%s: the template knows no SHA-256 to compare it with", target)
    return target


def check_file(path: Path, dependency: Dependency) -> None:
    """Raise when a file has not the size or the hash that its template says.

    Raises:
        TemplateError: names the file, where it came from and both values.
    """
    size = path.stat().st_size
    if dependency.size not in (None, size):
        raise TemplateError(
            f"{dependency.source} has {size} bytes, the template says {dependency.size}"
        )
    if dependency.sha256 is not None and (found := sha256_of(path)) != dependency.sha256:
        raise TemplateError(
            f"{dependency.source} has the SHA-256 {found}, the template says {dependency.sha256}"
        )


def sha256_of(path: Path) -> str:
    """Of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def describe_file(path: Path, source: str = "") -> dict[str, Any]:
    """The entry of a file in ``metrics.yaml``."""
    return {
        "name": path.name,
        "size": path.stat().st_size,
        "sha256": sha256_of(path),
        "source": source or str(path),
    }
