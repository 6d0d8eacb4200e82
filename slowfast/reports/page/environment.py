"""What a page was made with."""

from __future__ import annotations

import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import slowfast

PACKAGES = (
    "torch", "torchvision", "numpy", "av", "torch-pruning", "onnx", "onnxruntime", "openvino",
    "nncf",
)  # fmt: skip


def environment_lines(machines: list[str]) -> list[str]:
    """Versions, system, commit, and where latencies were measured."""
    lines = [f"python {platform.python_version()}", f"system {platform.platform()}"]
    for name in PACKAGES:
        try:
            lines.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    commit = _commit()
    if commit:
        lines.append(f"commit {commit}")
    return lines + [f"latency measured on {machine}" for machine in machines]


def _commit() -> str:
    """The commit of a working copy; nothing of an installed package."""
    root = Path(slowfast.__file__).parents[1]
    if not (root / ".git").exists():
        return ""
    command = ["git", "-C", str(root), "rev-parse", "HEAD"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()
