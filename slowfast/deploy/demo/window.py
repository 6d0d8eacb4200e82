"""A window on the screen, by OpenCV."""

from __future__ import annotations

import os
import sys
from typing import Any

from slowfast.deploy.recognize import Frame
from slowfast.utils.errors import UserError
from slowfast.utils.optional import require

QUIT_KEYS = frozenset({ord("q"), ord("Q"), 27})  # and Escape


class Window:
    """Shows frames until somebody presses q or Escape, or closes it.

    Args:
        title: of the window.

    Raises:
        ModuleNotFoundError: OpenCV is not installed; says how.
        UserError: it has no windows, or there is no screen.
    """

    def __init__(self, title: str) -> None:
        self._cv2: Any = require("cv2", extra="video")
        self._title = title
        if sys.platform == "linux" and not any(
            os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY")
        ):
            raise UserError(
                "there is no screen to show a window on (neither DISPLAY nor WAYLAND_DISPLAY is "
                "set): add --headless, and --output for a video file"
            )
        try:
            self._cv2.namedWindow(title, self._cv2.WINDOW_NORMAL)
        except self._cv2.error as error:
            raise UserError(
                "this OpenCV shows no windows (opencv-python-headless?): pip uninstall "
                "opencv-python-headless && pip install opencv-python, or add --headless"
            ) from error

    def show(self, picture: Frame) -> bool:
        """Show a frame; returns whether to go on."""
        self._cv2.imshow(self._title, picture[..., ::-1])
        key = self._cv2.waitKey(1) & 0xFF
        visible = self._cv2.getWindowProperty(self._title, self._cv2.WND_PROP_VISIBLE)
        return key not in QUIT_KEYS and visible >= 1

    def close(self) -> None:
        """Take the window away."""
        self._cv2.destroyWindow(self._title)
