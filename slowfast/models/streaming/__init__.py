"""Clip models frame by frame: every frame is computed once, and predicted after.

>>> from slowfast.models.streaming import to_streaming  # and build_streaming(cfg, model)
"""

from slowfast.models.streaming.build import build_streaming, build_streaming_form, to_streaming
from slowfast.models.streaming.form import StreamingForm, calibrate, set_streaming_form
from slowfast.models.streaming.memory import State
from slowfast.models.streaming.model import StreamingModel, split_state, stack_states
from slowfast.models.streaming.stream import StreamingError

__all__ = [
    "State",
    "StreamingError",
    "StreamingForm",
    "StreamingModel",
    "build_streaming",
    "build_streaming_form",
    "calibrate",
    "set_streaming_form",
    "split_state",
    "stack_states",
    "to_streaming",
]
