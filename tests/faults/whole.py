"""Is every file of a folder whole? Each is read to its end by what reads such files."""

import csv
import hashlib
import json
import re
import zipfile
from pathlib import Path
from xml.etree import ElementTree

import av
import numpy as np
import torch
import yaml

from slowfast.checkpoint import read_checkpoint
from slowfast.utils.errors import UserError

APPENDED = re.compile(r"stdout\.log|json_stats\.log|events\.out\.tfevents\..*|logs/\w+\.log|used")
"""Grow line by line or record by record; their readers pass over an unfinished end."""
UNFINISHED = re.compile(r"(^|/)(\.export_|\.optimize_|\.partial-)|\.tmp$|\.part\.?\w*$|\.part/")
"""Names that say so: what a killed process leaves; nobody reads them."""


def files_of(folder):
    """``(relative name, path)`` of the files under final names, in order."""
    for path in sorted(Path(folder).rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and not UNFINISHED.search(name):
            yield name, path


def leftovers(folder):
    """Names of unfinished files."""
    names = (path.relative_to(folder).as_posix() for path in Path(folder).rglob("*"))
    return sorted(name for name in names if UNFINISHED.search(name))


def faults(folder):
    """What is wrong with which file."""
    found = []
    for name, path in files_of(folder):
        if APPENDED.search(name):
            continue
        check = CHECKS.get(path.suffix)
        if check is None:
            found.append(f"{name}: nobody knows how to check it")
            continue
        try:
            check(path)
        except Exception as error:
            found.append(f"{name} ({path.stat().st_size} bytes): {error!r}")
    return found


def _ends(*ends):
    def check(path):
        text = path.read_text("utf-8")
        assert text.endswith(ends), f"ends in {text[-20:]!r}"

    return check


def _json(path):
    found = json.loads(path.read_text("utf-8"))
    for name, digest in (found.get("sha256") or {}).items() if isinstance(found, dict) else ():
        content = (path.parent / name).read_bytes()
        assert hashlib.sha256(content).hexdigest() == digest, f"{name} is not what it describes"


def _arrays(path):
    with np.load(path, allow_pickle=False) as file:
        assert [file[key].size for key in file.files]


def _picture(path):
    from PIL import Image

    with Image.open(path) as image:
        image.load()


def _video(path):
    with av.open(str(path)) as container:
        assert sum(1 for _ in container.decode(video=0))


def _onnx(path):
    import onnx

    onnx.checker.check_model(onnx.load(str(path)))


def _zip(path):
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None


def _table(path):
    text = path.read_text("utf-8")
    assert text.endswith("\n")
    assert list(csv.reader(text.splitlines()))


CHECKS = {
    ".pyth": read_checkpoint,
    ".json": _json,
    ".yaml": lambda path: yaml.safe_load(path.read_text("utf-8"))["MODEL"],
    ".npz": _arrays,
    ".png": _picture,
    ".jpg": _picture,
    ".mp4": _video,
    ".onnx": _onnx,
    ".pt2": _zip,
    ".xml": lambda path: ElementTree.parse(path).getroot(),
    ".bin": lambda path: path.read_bytes()[0],  # the checksum is in the description
    ".md": _ends("\n"),
    ".sh": _ends("\n"),
    ".csv": _table,
    ".html": _ends("</html>\n", "</html>"),
    ".txt": lambda path: path.read_text("utf-8"),
}


def results(folder):
    """Final files by name, with a digest of the numbers in those that hold some."""
    found = {}
    for name, path in files_of(folder):
        if APPENDED.search(name):
            continue
        digest = hashlib.sha256()
        if path.suffix == ".pyth":
            _digest(read_checkpoint(path), digest)
        elif path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as file:
                _digest({key: torch.from_numpy(file[key]) for key in file.files
                         if file[key].dtype.kind in "fiu"}, digest)  # fmt: skip
        elif path.suffix == ".onnx":
            import onnx

            weights = onnx.load(str(path)).graph.initializer
            for value in sorted(bytes(tensor.raw_data) for tensor in weights):
                digest.update(value)
        elif path.suffix == ".bin":
            digest.update(path.read_bytes())
        found[name] = digest.hexdigest()
    return found


def _digest(value, digest):
    """Of tensors and plain numbers; texts may hold paths."""
    if isinstance(value, dict):
        for key in sorted(value, key=str):
            if key not in ("cfg", "trainer_state"):
                digest.update(str(key).encode())
                _digest(value[key], digest)
    elif isinstance(value, list | tuple):
        for item in value:
            _digest(item, digest)
    elif isinstance(value, torch.Tensor):
        digest.update(value.contiguous().view(-1).numpy().tobytes())
    elif isinstance(value, int | float):
        digest.update(repr(value).encode())


def refusal(path):
    """What reading a checkpoint says against it; empty where it is read."""
    try:
        read_checkpoint(path)
    except UserError as error:
        return str(error)
    return ""
