import pytest
import torch

from slowfast.registry import Registry
from slowfast.utils.errors import UserError, one_line_errors


class FileBrokenError(UserError, RuntimeError):
    pass


@pytest.fixture(autouse=True)
def no_debug(monkeypatch):
    monkeypatch.delenv("SLOWFAST_DEBUG", raising=False)


@pytest.mark.parametrize(
    "error",
    [
        FileBrokenError("a.mp4: broken"),
        FileNotFoundError("a.mp4: broken"),
        ValueError("a.mp4: broken"),
    ],
)
def test_a_user_error_is_one_line_and_exit_2(error, capsys):
    with pytest.raises(SystemExit) as stop, one_line_errors():
        raise error
    assert stop.value.code == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("error: a.mp4: broken")
    assert len(lines) == 2
    assert "Traceback" not in "".join(lines)


def test_only_our_own_errors_hide_where_they_came_from(capsys):
    for error in (ValueError("x"), FileBrokenError("x")):
        with pytest.raises(SystemExit), one_line_errors():
            raise error
    builtin, ours = capsys.readouterr().err.splitlines()[::2]
    assert "ValueError at" in builtin
    assert "test_errors.py:" in builtin
    assert ours == "error: x"


def test_key_errors_lose_their_quotes(capsys):
    with pytest.raises(SystemExit), one_line_errors():
        Registry("model", {"X3D": "a:b"}).get("X3E")
    assert capsys.readouterr().err.startswith("error: unknown model 'X3E'. Did you mean 'X3D'?")


def test_named_errors_of_the_package_count_as_user_errors(capsys):
    from slowfast.config import ConfigError

    with pytest.raises(SystemExit), one_line_errors():
        raise ConfigError("TRAIN.BATCH_SIZE 0 in a.yaml:3: set 1 or more")
    first = capsys.readouterr().err.splitlines()[0]
    assert first == "error: TRAIN.BATCH_SIZE 0 in a.yaml:3: set 1 or more"


class BrokenFiles(torch.utils.data.Dataset):
    def __len__(self):
        return 1

    def __getitem__(self, index):
        raise FileBrokenError("a.mp4 (train.csv:3): no video stream")


@pytest.mark.slow
def test_an_error_in_a_loader_worker_is_one_line_too(capsys):
    with pytest.raises(SystemExit), one_line_errors():
        list(torch.utils.data.DataLoader(BrokenFiles(), num_workers=1))
    first = capsys.readouterr().err.splitlines()[0]
    assert first == "error: a.mp4 (train.csv:3): no video stream"


@pytest.mark.parametrize("error", [RuntimeError("bug"), TypeError("bug"), AssertionError("bug")])
def test_bugs_pass_through(error):
    with pytest.raises(type(error)), one_line_errors():
        raise error


def test_traceback_on_request(monkeypatch):
    with pytest.raises(ValueError, match="x"), one_line_errors(traceback=True):
        raise ValueError("x")
    monkeypatch.setenv("SLOWFAST_DEBUG", "1")
    with pytest.raises(ValueError, match="x"), one_line_errors():
        raise ValueError("x")
