"""One loaded Python for all pages."""

import pytest

from tests.docs.quick import QuickPython


@pytest.fixture(scope="session")
def quick_python(tmp_path_factory):
    folder = tmp_path_factory.mktemp("quick")
    python = QuickPython(folder, change="tests.docs.small:shrink", log=folder / "log.jsonl")
    yield python
    python.close()
