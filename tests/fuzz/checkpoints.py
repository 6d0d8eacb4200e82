"""Checkpoints of torch, pickles of caffe2 and pandas, archives of arrays."""

import io
import pickle
import struct
import zipfile
import zlib

import numpy as np
import torch

from slowfast.checkpoint.convert import read_weights
from slowfast.checkpoint.io import read_checkpoint, write_checkpoint
from slowfast.checkpoint.match import load_strict
from slowfast.datasets.annotations import frame_columns
from slowfast.datasets.epic_results import read_results
from slowfast.deploy.archive import check_program
from slowfast.models.tiny import TinyNet
from slowfast.utils.errors import UserError
from slowfast.utils.safe_pickle import load_pickle
from tests.fuzz.core import Target, WrongError
from tests.fuzz.mutate import mutate

GLOBALS = (
    b"cos\nsystem\n", b"cposix\nsystem\n", b"cbuiltins\neval\n", b"cbuiltins\ngetattr\n",
    b"cbuiltins\n__import__\n", b"csubprocess\nPopen\n", b"cbuiltins\nbytearray\n",
    b"cbuiltins\nset\n", b"cbuiltins\nrange\n", b"cbuiltins\nopen\n", b"cnumpy\nload\n",
    b"cnumpy\nndarray\n", b"cnumpy\ndtype\n", b"cnumpy.core.multiarray\n_reconstruct\n",
    b"cnumpy.core.multiarray\nscalar\n", b"ctorch._utils\n_rebuild_tensor_v2\n",
    b"ctorch\nFloatStorage\n", b"ctorch.storage\n_load_from_bytes\n", b"ctorch\nload\n",
    b"ccollections\nOrderedDict\n", b"ccollections\nCounter\n", b"c_codecs\nencode\n",
    b"cpandas\nDataFrame\n", b"cslowfast.engine.run\nrun\n", b"ctorch.nn.parameter\nParameter\n",
    b"ctorch\nTensor\n", b"ctorch\nSize\n", b"c__main__\nx\n", b"c\n\n",
)  # fmt: skip
VALUES = (
    b"N", b"\x88", b"\x89", b"K\x01", b"K\xff", b"M\xff\xff", b"J\xff\xff\xff\x7f", b"I99999999\n",
    b"J\x00\x00\x00\x80", b"\x8a\x09" + b"\xff" * 8 + b"\x00", b"G" + struct.pack(">d", 1e308),
    b"X\x02\x00\x00\x00hi", b"X\x0b\x00\x00\x00model_state", b"X\xff\xff\xff\x7f", b"U\x01a", b"]",
    b"}", b")", b"(", b"\x8f", b"F1\n", b"V\\ud800\n", b"\x8e" + b"\xff" * 7 + b"\x7f",
    b"\x96" + struct.pack("<Q", 2**36), b"\x95" + struct.pack("<Q", 2**40), b"\x97", b"\x98",
)  # fmt: skip
VERBS = (
    b"R", b"R", b"b", b"\x81", b"t", b"\x85", b"\x86", b"\x87", b"s", b"u", b"a", b"e", b"l", b"d",
    b"o", b"2", b"0", b"1", b"Q", b"P0\n", b"i__main__\nx\n", b"q\x00", b"h\x00", b"\x94", b"\x93",
    b"r\xff\xff\xff\x1f", b"j\x00\x00\x00\x00", b"p99999999\n", b"\x90", b"\x91", b"\x92", b"c",
    b"\x82\x01", b"\x83\x01\x01",
)  # fmt: skip
WORDS = (*GLOBALS, *VALUES, *VERBS)


class Code:
    """Runs a command, were it unpickled by pickle itself."""

    def __reduce__(self):
        import os

        return os.system, ("echo run",)


def program(rng):
    """A pickle of random instructions."""
    parts = [b"\x80" + bytes([rng.choice((2, 2, 4, 5))])]
    for _ in range(rng.randint(1, 14)):
        parts.append(rng.choice(rng.choice((GLOBALS, VALUES, VALUES, VERBS, VERBS))))
    return b"".join(parts) + b"."


def saved(content, *, zipped=True):
    file = io.BytesIO()
    torch.save(content, file, _use_new_zipfile_serialization=zipped)
    return file.getvalue()


def rezipped(data, change, compression=zipfile.ZIP_STORED):
    """An archive again, its pickle changed, with right checksums."""
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(file, "w", compression) as new:
        for entry in old.infolist():
            content = old.read(entry)
            new.writestr(entry.filename, change(entry.filename, content))
    return file.getvalue()


def bomb(size=1 << 31):
    """Some megabytes that unpack to two gigabytes: one deflated entry, written by hand."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    zeros = bytes(1 << 20)
    packed = b"".join(packer.compress(zeros) for _ in range(4)) + packer.flush()
    name = b"archive/data.pkl"
    local = struct.pack("<4s5H3I2H", b"PK\3\4", 20, 0, 8, 0, 0, 0, len(packed), size, len(name), 0)
    central = struct.pack(
        "<4s6H3I5H2I",
        b"PK\1\2",
        20,
        20,
        0,
        8,
        0,
        0,
        0,
        len(packed),
        size,
        len(name),
        0,
        0,
        0,
        0,
        0,
        0,
    )
    start = len(local) + len(name) + len(packed)
    end = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 1, 1, len(central) + len(name), start, 0)
    return local + name + packed + central + name + end


def many_views():
    """A few bytes, shown as tensors of a terabyte."""
    return saved({"model_state": {"a": torch.zeros(1).expand(1 << 19, 1 << 19)}})


class Checkpoints(Target):
    """An input is the kind, a zero byte, and the file's content."""

    name = "checkpoint"

    def __init__(self, folder):
        super().__init__(folder)
        torch.manual_seed(0)
        self.model = TinyNet(num_classes=2, width=2)
        self.state = {name: value.clone() for name, value in self.model.state_dict().items()}
        path = write_checkpoint(
            folder / "net.pyth", epoch=0, model=self.model, optimizer=None, cfg_yaml="{}\n"
        )
        self.good = path.read_bytes()
        arrays = {"pred_w": np.arange(6, dtype=np.float32).reshape(2, 3), "lr": np.float32(0.1)}
        self.caffe2 = {n: np.asarray(value) for n, value in arrays.items()}
        table = {"a": np.arange(3), "b": ["x", "y"], "c": 1.5, "d": {1, 2}, "e": b"\xff"}
        scores = io.BytesIO()
        np.savez_compressed(scores, verb_output=np.eye(2), noun_output=np.eye(2),
                            narration_id=np.array(["a", "b"]))  # fmt: skip
        self.files = {
            "torch": [self.good, saved({"model_state": self.state}, zipped=False), saved([1, 2]),
                      saved({"state_dict": {"module.a": torch.ones(2)}, "epoch": 3})],
            "caffe2": [pickle.dumps({"blobs": arrays}, protocol=p) for p in (0, 2, 4)],
            "plain": [pickle.dumps(table, protocol=p) for p in (0, 2, 4, 5)],
            "npz": [scores.getvalue()],
        }  # fmt: skip
        evil = {"model_state": {"a": Code()}, "x": [Code()]}
        self.special = {
            "torch": [bomb(), many_views(), saved(evil), saved(evil, zipped=False), b"PK\3\4", b"",
                      saved({"a": bytearray(b"x")}), pickle.dumps(evil, protocol=2)],
            "caffe2": [pickle.dumps({"blobs": {"pred_w": Code()}}, protocol=2), b""],
            "plain": [pickle.dumps([Code()], protocol=p) for p in (0, 2, 4)],
            "npz": [bomb((1 << 32) - 1)],
        }  # fmt: skip

    def draw(self, rng):
        kind = rng.choice(("torch", "torch", "caffe2", "plain", "npz"))
        draw, data = rng.random(), rng.choice(self.files[kind])
        if draw < 0.02:
            data = rng.choice(self.special[kind])
        elif draw < 0.35 and kind in ("caffe2", "plain"):
            data = program(rng)
        elif draw < 0.6 and data[:2] == b"PK":

            def change(name, content):
                if name.endswith(("data.pkl", ".npy")):
                    return program(rng) if draw < 0.2 else mutate(rng, content, WORDS)
                return content

            data = rezipped(data, change)
        elif draw < 0.97:
            data = mutate(rng, data, WORDS)
        return kind.encode() + b"\0" + data

    def run(self, data):
        kind, _, data = data.partition(b"\0")
        getattr(self, f"run_{kind.decode()}")(data)

    def write(self, name, data):
        path = self.folder / name
        path.write_bytes(data)
        return path

    def run_torch(self, data):
        path = self.write("in.pyth", data)
        try:
            check_program(path)
        except UserError:
            pass  # it is none
        checkpoint = read_checkpoint(path)
        state = read_weights(path)
        if not all(isinstance(value, torch.Tensor) for value in state.values()):
            raise WrongError("weights that are no tensors")
        load_strict(self.model, state, source=str(path))
        if data[:2] == b"PK" and len(data) == len(self.good) and checkpoint["epoch"] == 0:
            self.check_bits()

    def check_bits(self):
        """A file with the right checksums holds the weights that were written."""
        for name, value in self.model.state_dict().items():
            if not torch.equal(value, self.state[name]):
                raise WrongError(f"{name} has other values")

    def run_caffe2(self, data):
        path = self.write("in.pkl", data)
        state = read_weights(path)
        if not all(isinstance(value, torch.Tensor) for value in state.values()):
            raise WrongError("weights that are no tensors")

    def run_plain(self, data):
        path = self.write("table.pkl", data)
        found = load_pickle(path)
        frame_columns(found, path)

    def run_npz(self, data):
        results = read_results(self.write("scores.npz", data))
        if len(results.narration_id) != len(results.verb_output):
            raise WrongError("rows")
