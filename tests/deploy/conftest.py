"""What several tests of deployment need, made once."""

import runpy
from pathlib import Path

import pytest

from tests.deploy.recognizing import write_model

REPO = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory):
    """Of a small network, see ``write_model``."""
    return write_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="session")
def demo_tool():
    """``main`` of ``tools/demo.py``."""
    return runpy.run_path(str(REPO / "tools/demo.py"))["main"]
