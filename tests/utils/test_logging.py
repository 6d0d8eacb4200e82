import logging
import re
import sys

import pytest

from slowfast.utils.logging import LOG_FILE, setup_logging


@pytest.fixture(autouse=True)
def restore_root():
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    yield
    for handler in set(root.handlers) - set(before):
        root.removeHandler(handler)
        handler.close()
    root.setLevel(level)
    logging.captureWarnings(False)


def test_file_has_pyslowfast_lines_and_console_the_same_messages(tmp_path, capsys):
    setup_logging(tmp_path / "run")
    logging.getLogger("slowfast.x").info("json_stats: %s", '{"_type": "train_epoch"}')
    line = (tmp_path / "run" / LOG_FILE).read_text()
    assert re.fullmatch(
        r"\[\d\d/\d\d \d\d:\d\d:\d\d\]\[INFO\] test_logging\.py: +\d+: json_stats: \{.*\}\n", line
    )
    assert 'json_stats: {"_type": "train_epoch"}' in capsys.readouterr().out


def test_calling_twice_does_not_double_lines(tmp_path):
    setup_logging(tmp_path)
    setup_logging(tmp_path)
    logging.getLogger("slowfast").info("once")
    assert (tmp_path / LOG_FILE).read_text().count("once") == 1


def test_other_processes_only_report_errors(tmp_path, capsys):
    setup_logging(tmp_path, main=False)
    logging.getLogger("slowfast").info("quiet")
    logging.getLogger("slowfast").error("loud")
    seen = capsys.readouterr()
    assert "quiet" not in seen.out + seen.err
    assert "loud" in seen.err
    assert not (tmp_path / LOG_FILE).exists()


def test_a_terminal_gets_rich_lines(monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    setup_logging()
    assert "RichHandler" in [type(h).__name__ for h in logging.getLogger().handlers]
