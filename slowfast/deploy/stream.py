"""Running a stream, whatever it is stored as: frames in, predictions out, the state kept here."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from slowfast.deploy.backends import channels_last
from slowfast.deploy.export.info import LOGITS, ExportError
from slowfast.deploy.export.streaming import FRAMES, NEXT, StreamInfo, read_stream_info
from slowfast.models.base import Preds, activate
from slowfast.models.streaming import State, StreamingModel
from slowfast.utils.openvino import openvino_core
from slowfast.utils.optional import require

Array = NDArray[Any]


class StreamRunner(ABC):
    """One or several streams that go on side by side."""

    @abstractmethod
    def reset(self, batch: int = 1) -> None:
        """Begin again with ``batch`` streams."""

    @abstractmethod
    def push(self, frames: Tensor) -> Preds:
        """Predictions after the next frame of every stream.

        Args:
            frames: ``(B, C, H, W)``; a file of a network with temporal strides takes a period of
                them, ``(B, C, period, H, W)``.
        """

    @abstractmethod
    def predict(self, frames: Tensor) -> Preds:
        """:meth:`push`, as scores."""

    def fork(self) -> Self:
        """Other streams with the same weights, at their beginning."""
        other = copy.copy(self)
        other.reset()
        return other

    @property
    @abstractmethod
    def state(self) -> State:
        """A copy of the state; assign it to go on from there."""

    @state.setter
    @abstractmethod
    def state(self, value: State) -> None: ...


class ModelRunner(StreamRunner):
    """A :class:`~slowfast.models.streaming.model.StreamingModel`."""

    def __init__(self, model: StreamingModel) -> None:
        self.model = model
        self._state = model.init_state()

    def reset(self, batch: int = 1, *, frame: Tensor | None = None) -> None:
        """See :meth:`StreamingModel.init_state`, also for ``frame``."""
        self._state = self.model.init_state(batch, frame=frame)

    @torch.inference_mode()
    def push(self, frames: Tensor) -> Preds:
        preds, self._state = self.model.step(frames, self._state)
        return preds

    def predict(self, frames: Tensor) -> Preds:
        return activate(self.push(frames), self.model.spec.head_act)

    @property
    def state(self) -> State:
        return dict(self._state)

    @state.setter
    def state(self, value: State) -> None:
        batch = len(next(iter(value.values()))) if value else 1
        # Files keep only what their calls, of a whole period each, read.
        self._state = self.model.init_state(batch) | value


class FileRunner(StreamRunner):
    """An exported stream.

    Args:
        info: its description.
    """

    def __init__(self, info: StreamInfo) -> None:
        self.info = info

    def push(self, frames: Tensor) -> Preds:
        outputs = [torch.from_numpy(output) for output in self.run(frames.cpu().numpy())]
        if len(outputs) == 1:
            return outputs[0]
        return dict(zip(self.info.clip.tasks, outputs, strict=True))

    def predict(self, frames: Tensor) -> Preds:
        preds, clip = self.push(frames), self.info.clip
        return activate(preds, clip.head_act) if clip.kind == LOGITS else preds

    @abstractmethod
    def run(self, frames: Array) -> list[Array]:
        """The outputs, as arrays that stay as they are."""


class OutsideRunner(FileRunner):
    """A file into which the state goes, and out of which the next one comes."""

    def __init__(self, info: StreamInfo) -> None:
        super().__init__(info)
        self._arrays: dict[str, Array] = {}
        self.reset(info.clip.batch or 1)

    def reset(self, batch: int = 1) -> None:
        self._arrays = {
            name: np.zeros((batch, *shape), np.float32) for name, shape in self.info.states.items()
        }

    def run(self, frames: Array) -> list[Array]:
        found = self.call(frames, self._arrays)
        count = len(self.info.clip.outputs)
        self._arrays = dict(zip(self.info.states, found[count:], strict=True))
        return found[:count]

    @abstractmethod
    def call(self, frames: Array, state: dict[str, Array]) -> list[Array]:
        """The outputs, then the next state, as arrays that stay as they are."""

    @property
    def state(self) -> State:
        return {name: torch.from_numpy(array.copy()) for name, array in self._arrays.items()}

    @state.setter
    def state(self, value: State) -> None:
        self._arrays = {name: value[name].cpu().numpy() for name in self.info.states}


class OnnxRunner(OutsideRunner):
    """ONNX Runtime."""

    def __init__(self, path: Path, info: StreamInfo, threads: int | None) -> None:
        super().__init__(info)
        runtime = require("onnxruntime", extra="deploy")
        options = runtime.SessionOptions()
        # Threads that spin while they wait take the processor from others, decoding for one.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.intra_op_num_threads = threads or 0
        self._session = runtime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )
        self._outputs = [*info.clip.outputs, *(NEXT + name for name in info.states)]

    def call(self, frames: Array, state: dict[str, Array]) -> list[Array]:
        frames = np.ascontiguousarray(frames)
        found: list[Array] = self._session.run(self._outputs, {FRAMES: frames, **state})
        return found


class ExecutorchRunner(OutsideRunner):
    """ExecuTorch, which holds one call at a time: each copy of a runner opens the file itself."""

    def __init__(self, path: Path, info: StreamInfo) -> None:
        super().__init__(info)
        self._path = path
        self._open()

    def _open(self) -> None:
        runtime = require("executorch.runtime", extra="executorch").Runtime.get()
        self._program = runtime.load_program(str(self._path))
        self._method = self._program.load_method("forward")

    def reset(self, batch: int = 1) -> None:
        check_batch(self.info, batch)
        super().reset(batch)

    def fork(self) -> Self:
        other = super().fork()
        other._open()
        return other

    def call(self, frames: Array, state: dict[str, Array]) -> list[Array]:
        frames = np.ascontiguousarray(frames)
        inputs = [torch.from_numpy(array) for array in (frames, *state.values())]
        return [output.numpy().copy() for output in self._method.execute(inputs)]


class OpenVinoRunner(FileRunner):
    """OpenVINO with the state inside, in full precision unless asked otherwise."""

    def __init__(
        self, path: Path, info: StreamInfo, threads: int | None, precision: str = "f32"
    ) -> None:
        super().__init__(info)
        options: dict[str, Any] = {
            "INFERENCE_PRECISION_HINT": precision,  # by itself it takes bf16 where there is any
            "PERFORMANCE_HINT": "LATENCY",
        }
        if threads:
            options["INFERENCE_NUM_THREADS"] = threads
        core = openvino_core()
        network = channels_last(core.read_model(str(path.with_suffix(".xml"))))
        model = core.compile_model(network, "CPU", options)
        self._tensor = require("openvino", extra="deploy").Tensor
        self._request = model.create_infer_request()
        self.reset(info.clip.batch)

    def reset(self, batch: int = 1) -> None:
        check_batch(self.info, batch)
        self._request.reset_state()
        for variable in self._variables().values():
            variable.state = self._tensor(np.zeros(variable.state.shape, np.float32))

    def fork(self) -> Self:
        other = copy.copy(self)
        other._request = self._request.get_compiled_model().create_infer_request()
        other.reset(self.info.clip.batch)
        return other

    def run(self, frames: Array) -> list[Array]:
        last = np.ascontiguousarray(np.moveaxis(frames, 1, -1))
        self._request.infer({FRAMES: last}, share_inputs=True)
        outputs = (self._request.get_tensor(name) for name in self.info.clip.outputs)
        return [output.data.copy() for output in outputs]

    def _variables(self) -> dict[str, Any]:
        """Entry of the state -> where it is."""
        found = {variable.name: variable for variable in self._request.query_state()}
        return {name: found[f"{name}{NEXT}{name}"] for name in self.info.states}

    @property
    def state(self) -> State:
        variables = self._variables()
        return {name: torch.from_numpy(v.state.data.copy()) for name, v in variables.items()}

    @state.setter
    def state(self, value: State) -> None:
        for name, variable in self._variables().items():
            variable.state = self._tensor(np.ascontiguousarray(value[name].cpu().numpy()))


def check_batch(info: StreamInfo, batch: int) -> None:
    """Refuse another number of streams than the file is for."""
    if batch != info.clip.batch:
        raise ExportError(
            f"this file is for {info.clip.batch} stream(s) at once, not {batch}: "
            "export it with that batch"
        )


def open_stream(
    path: Path | str, *, threads: int | None = None, precision: str = "f32"
) -> FileRunner:
    """What runs the exported stream at ``path``.

    Args:
        path: ``.onnx``, the ``.xml`` of OpenVINO, or the ``.pte`` of ExecuTorch.
        threads: to compute with; ``None``: the runtime's choice. Threads wait without spinning in
            either runtime, so that a busy neighbour costs what it takes and no more.
        precision: of OpenVINO's arithmetic; ``bf16`` is faster where the processor has it, and
            changes predictions.

    Raises:
        ExportError: of no known format, or without its description.
        ModuleNotFoundError: its runtime is not installed; says how.
    """
    path = Path(path)
    info = read_stream_info(path)
    if path.suffix == ".onnx":
        return OnnxRunner(path, info, threads)
    if path.suffix in (".xml", ".bin"):
        return OpenVinoRunner(path, info, threads, precision)
    if path.suffix == ".pte":
        return ExecutorchRunner(path, info)
    raise ExportError(f"{path}: exported streams end in .onnx, .xml or .pte")
