"""Pickle files of plain data, read without running anything they name.

A pickle is a program: loading a stranger's file with ``pickle.load`` runs what it says. Here only
containers, numbers, strings, NumPy arrays and (loaded ``weights_only``) torch tensors are built.
Objects of pandas become :class:`Inert` records of their parts, so that the columns of a pickled
DataFrame can be read (:mod:`slowfast.datasets.annotations`), whether pandas is installed or not.
"""

from __future__ import annotations

import io
import pickle
import re
import struct
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch

from slowfast.utils.errors import UserError

LARGEST_ARRAY = 2**33  # bytes
_INERT_PACKAGES = ("pandas",)
_PLAIN_DTYPE = re.compile(r"[|<>=]?[?bBhHiIlLqQefdgOSU]\d*")
_TENSOR_DTYPES = ("float16", "bfloat16", "float32", "float64", "int32", "int64", "bool")


class UnsafePickleError(UserError, pickle.UnpicklingError):
    """The file wants to import or call something that plain data does not need."""


class Inert:
    """What is left of an object whose class was not imported: its arguments and its state."""

    qualified_name = ""

    def __new__(cls, *args: Any, **kwargs: Any) -> Inert:
        self = super().__new__(cls)
        self.args = args
        self.state = None
        return self

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        self.state = state

    args: tuple[Any, ...]
    state: Any

    @property
    def kind(self) -> str:
        """The last part of the class's or function's name, e.g. ``DataFrame``."""
        return self.qualified_name.rpartition(".")[2]


def load_pickle(path: str | Path) -> Any:
    """The plain data in a pickle file.

    Raises:
        UnsafePickleError: it names a class or function that is not plain data.
        UserError: it is no pickle, or a damaged one.
    """
    with open(path, "rb") as file:
        try:
            return PlainUnpickler(file, str(path)).load()
        except UnsafePickleError as error:
            if str(path) in str(error):
                raise
            raise UnsafePickleError(f"{path}: {error}") from error
        except Exception as error:  # a damaged pickle can raise almost anything
            raise UserError(f"{path}: cannot be read as a pickle ({error})") from error


if TYPE_CHECKING:

    class _Python(pickle.Unpickler):
        dispatch: ClassVar[dict[int, Any]]
        stack: list[Any]
        append: Callable[[Any], None]
        read: Callable[[int], bytes]

        def load_build(self) -> None: ...

else:
    _Python = pickle._Unpickler


class _Unpickler(_Python):
    """Python's own, in Python: the one in C makes room for any number that a file calls."""

    dispatch: ClassVar[dict[int, Any]] = dict(_Python.dispatch)

    def load_bytearray8(self) -> None:
        """Bytes that are there; Python's own makes room for as many as the file announces."""
        (size,) = struct.unpack("<Q", self.read(8))
        data = self.read(min(size, LARGEST_ARRAY))
        if len(data) != size:
            raise UnsafePickleError(f"it announces an array of {size} bytes and has {len(data)}")
        self.append(bytearray(data))

    def load_build(self) -> None:
        """State goes into new objects only, not into the classes and functions of the reader."""
        if not isinstance(self.stack[-2], (Inert, np.ndarray, np.dtype, OrderedDict)):
            raise UnsafePickleError("refused to change what the file did not make")
        super().load_build()

    dispatch[pickle.BYTEARRAY8[0]] = load_bytearray8
    dispatch[pickle.BUILD[0]] = load_build


class PlainUnpickler(_Unpickler):
    """Builds plain data; every other class and function is refused.

    Args:
        file: open, binary.
        path: what to call it.
        encoding: of texts that Python 2 wrote.
    """

    def __init__(self, file: Any, path: str, encoding: str = "ASCII") -> None:
        super().__init__(file, encoding=encoding)
        self._path = path

    def find_class(self, module: str, name: str) -> Any:
        full_name = f"{module}.{name}".replace("numpy._core.", "numpy.core.")
        if full_name in _ALLOWED:
            return _ALLOWED[full_name]
        if module.split(".")[0] in _INERT_PACKAGES:
            return type(name, (Inert,), {"qualified_name": full_name})
        raise UnsafePickleError(
            f"{self._path}: refused, because it asks for {full_name!r}, which plain data does not "
            "need. If you made the file yourself, write it again with NumPy arrays, lists and "
            "strings only, or as .csv, .npz or .json"
        )

    def persistent_load(self, pid: Any) -> Any:
        raise UnsafePickleError(f"{self._path}: refused, because it refers to data outside itself")


def _dtype(code: Any, *flags: Any) -> np.dtype[Any]:
    """A dtype of numbers, strings or objects, never a structured one."""
    if not isinstance(code, str) or not _PLAIN_DTYPE.fullmatch(code):
        raise UnsafePickleError(f"refused an array of type {code!r}: only plain types are read")
    return np.dtype(code, False, True)  # a copy: its byte order is set afterwards


def _encode(text: str, encoding: str = "latin1") -> bytes:
    """Bytes, as protocol 2 spells them."""
    if encoding != "latin1":
        raise UnsafePickleError(f"refused to encode with {encoding!r}: only latin1 spells bytes")
    return text.encode("latin1")


def _load_tensor(data: bytes) -> Any:
    return torch.load(io.BytesIO(data), weights_only=True, map_location="cpu")


class _Array:
    """Stands for NumPy's array, which itself would make room for any shape."""


def _collection(kind: Callable[[Any], Any]) -> Callable[..., Any]:
    """A set or the like of what the file has, not of a range that it only names."""

    def build(items: Any = ()) -> Any:
        if not isinstance(items, list | tuple | set | bytes | str):
            raise UnsafePickleError(f"refused to build a {kind} of a {type(items).__name__}")
        if kind is bytearray and isinstance(items, str):
            raise UnsafePickleError("refused to encode a text")
        return kind(items)

    return build


def _reconstruct(kind: Any, shape: Any, code: Any) -> np.ndarray[Any, Any]:
    """The empty array that an array's state is then put into."""
    if kind is not _Array:
        raise UnsafePickleError(f"refused to build an array of class {kind!r}")
    return np.ndarray.__new__(np.ndarray, (0,), "b")


def _scalar(dtype: np.dtype[Any], data: bytes) -> Any:
    if dtype.hasobject:
        raise UnsafePickleError("refused a NumPy scalar of Python objects")
    return np.frombuffer(data, dtype=dtype, count=1)[0]


def _frombuffer(buffer: Any, dtype: np.dtype[Any], shape: Any, order: str) -> Any:
    return np.frombuffer(buffer, dtype=dtype).reshape(shape, order="F" if order == "F" else "C")


def _rebuild_tensor(storage: Any, offset: int, size: Any, stride: Any, *_: Any) -> torch.Tensor:
    return torch.empty(0, dtype=storage.dtype).set_(
        storage._untyped_storage, offset, tuple(size), tuple(stride)
    )


_ALLOWED: Mapping[str, Callable[..., Any] | Any] = {
    "collections.OrderedDict": OrderedDict,
    "_codecs.encode": _encode,
    "numpy.ndarray": _Array,
    "numpy.dtype": _dtype,
    "numpy.core.multiarray._reconstruct": _reconstruct,
    "numpy.core.multiarray.scalar": _scalar,
    "numpy.core.numeric._frombuffer": _frombuffer,
    "torch.storage._load_from_bytes": _load_tensor,
    "torch._utils._rebuild_tensor_v2": _rebuild_tensor,
    **{f"torch.{name}": getattr(torch, name) for name in _TENSOR_DTYPES},
    **{
        f"{module}.{kind.__name__}": kind
        for module in ("builtins", "__builtin__")
        for kind in (slice, complex, range)
    },
    **{
        f"{module}.{kind.__name__}": _collection(kind)
        for module in ("builtins", "__builtin__")
        for kind in (set, frozenset, bytearray)
    },
}
