from pathlib import Path

import pytest


@pytest.fixture
def write(tmp_path):
    """Write a file under tmp_path, folders included; returns its path."""

    def write_file(name: str, text: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    return write_file
