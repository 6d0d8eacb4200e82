"""Imports go down the layers, never up or sideways."""

import ast
from pathlib import Path

import pytest

import slowfast

ROOT = Path(slowfast.__file__).parent
LAYERS = [  # a package may import from lower rows only
    {"registry", "utils"},
    {"config"},
    {"models", "datasets", "checkpoint", "metrics"},
    {"engine"},
    {"compression", "deploy"},
    {"learners", "reports"},
]
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}
FILES = sorted(ROOT.rglob("*.py"))


def imported_modules(path: Path) -> set[str]:
    """Dotted names of all modules a file imports, wherever in the file it does so."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide the layer they reach"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def imported_packages(path: Path) -> set[str]:
    """First-level ``slowfast`` packages a file imports."""
    ours = [name for name in imported_modules(path) if name.startswith("slowfast.")]
    return {name.split(".")[1] for name in ours}


def test_every_package_has_a_layer():
    packages = {p.relative_to(ROOT).parts[0].removesuffix(".py") for p in FILES} - {"__init__"}
    assert len(FILES) > 20
    assert packages <= set(LEVEL)


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_go_down(path):
    package = path.relative_to(ROOT).parts[0].removesuffix(".py")
    if package == "__init__":
        assert not imported_packages(path)
        return
    for other in imported_packages(path) - {package}:
        assert LEVEL[other] < LEVEL[package], f"{package} must not import {other}"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_the_package_does_not_import_tools_or_tests(path):
    roots = {name.split(".")[0] for name in imported_modules(path)}
    assert not roots & {"tools", "tests", "scripts"}


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_torchvision_comes_through_its_leaf(path):
    """Beside a CPU-only torch it cannot be imported before its operators are declared."""
    roots = {name.split(".")[0] for name in imported_modules(path)}
    assert "torchvision" not in roots or path.relative_to(ROOT).as_posix() == "utils/vision.py"
