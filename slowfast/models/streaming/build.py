"""From a trained clip model to its stream."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

from slowfast.models.base import ClipModel
from slowfast.models.imfe import IMFE
from slowfast.models.resnet_lstm import ResNetLSTM
from slowfast.models.streaming.convolutional import ConvStream
from slowfast.models.streaming.form import StreamingForm, is_streaming_form, set_streaming_form
from slowfast.models.streaming.frames import stream_imfe, stream_lstm
from slowfast.models.streaming.model import StreamingModel
from slowfast.models.streaming.stream import StreamingError

if TYPE_CHECKING:
    from yacs.config import CfgNode


def to_streaming(
    model: ClipModel,
    *,
    frame_size: tuple[int, int] | None = None,
    window: int | None = None,
    squeeze: str = "frame",
    squeeze_frames: int = 0,
    stride: int = 1,
    dense: bool = False,
) -> StreamingModel:
    """A clip model that takes one frame at a time.

    Args:
        model: trained; in streaming form or not. Not changed.
        frame_size: height and width of a frame; ``None``: those of the training, where the model
            knows.
        window: frames a prediction is about (``temporal_window_size``); ``None``: as many as a
            clip had, where the model knows.
        squeeze: of squeeze-and-excitation over clips, where the model is not in streaming form:
            ``frame`` or ``running``. ``frozen`` needs means, so a model in that form.
        squeeze_frames: of ``running``; 0: the window.
        stride: distance of a clip's frames in the stream, of ResNetLSTM over windows and IMFE.
            Others take the frames as far apart as in training (``DATA.SAMPLING_RATE``).
        dense: run the layers behind temporal strides in every step.

    Raises:
        StreamingError: the network does not go frame by frame; says why.

    Example:
        >>> from slowfast.models.x3d import X3D
        >>> stream = to_streaming(X3D(num_classes=5, num_frames=13, crop_size=160).eval())
        >>> stream.receptive_field, stream.delay, stream.lookahead
        (69, 40, 28)
    """
    if isinstance(model, ResNetLSTM):
        return stream_lstm(model, frame_size=frame_size, window=window, stride=stride)
    if isinstance(model, IMFE):
        return stream_imfe(model, frame_size=frame_size, window=window, stride=stride)
    if stride != 1:
        raise StreamingError(
            f"stride {stride}: {type(model).__name__} takes frames as far apart as in training"
        )
    if not is_streaming_form(model):
        form = StreamingForm(squeeze=squeeze, squeeze_frames=squeeze_frames, window=window or 0)
        model = set_streaming_form(copy.deepcopy(model), form)
    return ConvStream(model, frame_size=frame_size, window=window, dense=dense)


def build_streaming_form(cfg: CfgNode, model: ClipModel) -> ClipModel:
    """Give a clip model the form that ``MODEL.STREAMING`` says, in place."""
    node = cfg.MODEL.STREAMING
    form = StreamingForm(
        padding=node.PADDING,
        squeeze=node.SQUEEZE,
        squeeze_frames=node.SQUEEZE_FRAMES,
        window=node.WINDOW,
    )
    return set_streaming_form(model, form)


def build_streaming(cfg: CfgNode, model: ClipModel, *, dense: bool = False) -> StreamingModel:
    """The stream of a model and the config it was trained with.

    ``MODEL.STREAMING`` is read whether it is enabled or not. Frames have the size of training
    (``DATA.TRAIN_CROP_SIZE``, ``DATA.RESIZE``), where the head pools one position.
    """
    node, crop = cfg.MODEL.STREAMING, cfg.DATA.TRAIN_CROP_SIZE
    return to_streaming(
        model,
        frame_size=tuple(cfg.DATA.RESIZE) or (crop, crop),
        window=node.WINDOW or cfg.DATA.NUM_FRAMES,
        squeeze=node.SQUEEZE if node.SQUEEZE != "frozen" else "frame",
        squeeze_frames=node.SQUEEZE_FRAMES,
        dense=dense,
    )
