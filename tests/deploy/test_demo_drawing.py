"""What the demo draws."""

import numpy as np
import pytest

from slowfast.deploy.demo.draw import Overlay, Style, Timeline, elided, text_font
from slowfast.deploy.recognition import Guess, Recognition


@pytest.mark.parametrize("size", [(8, 8), (48, 64), (240, 320), (640, 360), (1080, 1920)])
@pytest.mark.parametrize("tasks", [1, 2])
def test_drawing_fits_any_frame(size, tasks):
    names = {
        f"task {i}": ["a name that is longer than any panel is wide"] * 9 for i in range(tasks)
    }
    overlay = Overlay(*size, names, top_k=9, duration_s=10.0)
    scores = {task: np.linspace(1, 0, 9) for task in names}
    frame = np.full((*size, 3), 128, np.uint8)
    overlay.draw(frame, 0.0, None)
    overlay.draw(frame, 5.0, Recognition(0.0, 5.0, scores, 0.01, 5.0), "25 fps")
    overlay.draw(frame, 20.0, None, "")
    assert (frame != 128).any()
    style = Style.fitting(*size)
    assert style.font >= 11
    if min(size) >= 240:
        panel = overlay._panel
        assert panel.top + panel.keep.shape[0] <= overlay.timeline.top
        assert panel.keep.shape[0] <= 0.62 * size[0]
        assert panel.keep.shape[0] >= 2 * style.row * tasks


def test_timeline():
    """Colours where something was seen; a camera's moves on."""
    style = Style.fitting(240, 320)
    strip, frame = Timeline(style, 10.0), np.zeros((240, 320, 3), np.uint8)
    strip.mark(Guess(3, "x", 1.0))
    strip.draw(frame, 5.0)
    row = frame[strip.top + 1, strip.left : strip.left + strip.width]
    middle = strip.width // 2
    assert (row[middle] == 255).all()  # the present
    assert (row[: middle - 2] == row[0]).all()
    assert (row[middle + 2 :] == row[-1]).all()
    assert row[0].tolist() != row[-1].tolist()
    live = Timeline(style)
    for second in range(150):
        live.mark(Guess(second // 75, "x", 1.0))
        live.draw(frame, float(second))
    row = frame[live.top + 1, live.left : live.left + live.width]
    assert (row[-3:] == 255).any()
    assert (row[: live.width - 5] == row[0]).all()  # the last minute is all of one class
    assert elided("a long name", text_font(12), 30).endswith("\u2026")
