"""A minute's worth of `python -m tests.datasets.endurance`, which loads 20,000 clips."""

import sys

import pytest

from tests.datasets.endurance import endure


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_loading_goes_on(tmp_path):
    """Several epochs, two workers that stay: no hang, no leak, every bad video named once."""
    endured = endure(tmp_path, 2400, videos=60, bad_videos=15)
    assert endured.clips >= 2400
    assert endured.named_once, endured
    assert abs(endured.growth) <= 0.05, endured.memory
