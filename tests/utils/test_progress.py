import logging
import math

import pytest

from slowfast.utils.progress import LogProgress, Progress, open_progress, track


class Clock:
    """A clock that stands still until told."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def test_eta_and_data_share_follow_the_clock():
    clock = Clock()
    with Progress(10, "train", clock=clock) as progress:
        assert math.isnan(progress.eta_s)
        for _ in range(4):
            clock.now += 3
            progress.update(data_s=1.5)
    assert progress.elapsed_s == 12
    assert progress.eta_s == 18  # 6 steps at 3 s
    assert progress.data_share == 0.5


def test_log_lines_come_every_period_and_at_the_end(caplog):
    caplog.set_level(logging.INFO)
    clock = Clock()
    with LogProgress(25, "train 1/2", period_s=10, clock=clock) as progress:
        for _ in range(25):
            clock.now += 1
            progress.update(data_s=0.25, loss=0.5)
    messages = [record.getMessage() for record in caplog.records]
    assert messages == [
        "train 1/2: 10/25, 0:00:15 left  data 25%  loss 0.5",
        "train 1/2: 20/25, 0:00:05 left  data 25%  loss 0.5",
        "train 1/2: 25/25, 0:00:00 left  data 25%  loss 0.5",
    ]


@pytest.mark.parametrize("mode", ["auto", "bar", "log", "none"])
def test_track_hands_on_every_item(mode):
    assert list(track([3, 1, 2], "items", mode)) == [3, 1, 2]


def test_auto_is_log_lines_without_a_terminal():
    assert isinstance(open_progress(1, "x"), LogProgress)


def test_unknown_mode_names_the_key():
    with pytest.raises(ValueError, match=r"'bars'.*auto.*PROGRESS"):
        open_progress(1, "x", "bars")
