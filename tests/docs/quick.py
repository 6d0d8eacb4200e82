"""A Python that starts at once: programs run in forks of a process that has loaded the libraries.

``QuickPython`` starts that process and writes a program ``python``, which hands its words, folder,
environment and files to it, and ends as the fork ends. What runs is what ``python WORDS`` runs, in
a process of its own and in the process group of its caller; only the imports are shared. It is for
tests that run a hundred command lines.
"""

import array
import atexit
import contextlib
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from pathlib import Path

REPO = Path(__file__).parents[2]
HEAVY = ["torch._dynamo", "torch.export", "torch.onnx", "torch.utils.flop_counter", "av", "cv2",
         "matplotlib.pyplot", "sklearn.metrics", "onnx", "onnxscript", "onnxruntime",
         "torch.utils.tensorboard"]  # fmt: skip
CLIENT = """
import array, json, os, signal, socket, sys
with socket.socket(socket.AF_UNIX) as server:
    server.connect({address!r})
    words = {{"argv": sys.argv[1:], "cwd": os.getcwd(), "env": dict(os.environ), "group": os.getpgrp()}}
    files = array.array("i", [0, 1, 2])
    server.sendmsg([b"+"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, files)])
    server.sendall(json.dumps(words).encode() + b"\\n")
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _: server.send(bytes([number])))
    status = server.recv(4)
    os._exit(int(status) if status else 70)
"""  # noqa: E501


class QuickPython:
    """The loaded process, and the program that stands for it.

    Args:
        change: ``"module:function"`` that may change the words of a command before it runs.
        log: gets a line of JSON for every command: its words, and the status it ended with.

    Attributes:
        program: to be started in the place of ``python``.
    """

    def __init__(self, folder: Path, *, change: str = "", log: Path | None = None) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="quick_")  # a short path for the socket
        address = str(Path(self._folder.name) / "s")
        folder.mkdir(parents=True, exist_ok=True)
        client = folder / "client.py"
        client.write_text(CLIENT.format(address=address))
        self.program = folder / "python"
        self.program.write_text(f'#!/bin/sh\nexec {sys.executable} -ISE {client} "$@"\n')
        self.program.chmod(0o755)
        ready, done = os.pipe()
        options = [address, str(self.program), change, str(log or ""), str(done)]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.docs.quick", *options],
            cwd=REPO, env=os.environ | {"OMP_NUM_THREADS": "1"}, pass_fds=[done],
            stdin=subprocess.PIPE,
        )  # fmt: skip
        os.close(done)
        with open(ready, "rb") as pipe:
            if not pipe.read(1):
                raise RuntimeError("the process that loads the libraries ended")

    def close(self) -> None:
        """End the process; nothing runs in it any more."""
        self._process.kill()
        self._process.communicate()
        self._folder.cleanup()


def serve(address: str, program: str, change: str, log: str, done: str) -> None:
    """Load the libraries, then run what clients ask for, until the parent ends."""
    import torch

    torch.set_num_threads(1)
    for name in HEAVY:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    for path in sorted(Path(REPO / "slowfast").rglob("*.py")):
        name = ".".join(path.relative_to(REPO).with_suffix("").parts).removesuffix(".__init__")
        if not name.endswith("__main__"):
            with contextlib.suppress(ImportError):
                importlib.import_module(name)
    assert threading.active_count() == 1
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen()
        os.write(int(done), b"+")
        os.close(int(done))
        while True:
            readable, _, _ = select.select([listener, sys.stdin], [], [])
            if sys.stdin in readable:
                return
            connection, _ = listener.accept()
            if os.fork() == 0:  # whoever waits for the program
                if os.fork() == 0:  # not the child of the server, which never waits
                    listener.close()
                    _keep(connection, program, change, log)
                os._exit(0)
            os.wait()
            connection.close()


def _keep(connection: socket.socket, program: str, change: str, log: str) -> None:
    """Run one program, tell its client how it ended, and end it when the client ends."""
    _, ancillary, _, _ = connection.recvmsg(1, socket.CMSG_LEN(12))
    files = array.array("i")
    files.frombytes(ancillary[0][2])
    with connection.makefile("r") as reader:
        asked = json.loads(reader.readline())
    child = os.fork()
    if child == 0:
        connection.close()
        _become(asked, list(files), program, change)
    for file in files:
        os.close(file)
    handle, start = os.pidfd_open(child), time.monotonic()
    while handle not in select.select([handle, connection], [], [])[0]:
        sent = connection.recv(1)  # a signal to pass on; nothing: the client has been killed
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, sent[0] if sent else signal.SIGKILL)
        if not sent:
            break
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    status = status if status >= 0 else 128 - status
    if log:
        seconds = round(time.monotonic() - start, 2)
        line = {"argv": asked["argv"], "status": status, "seconds": seconds}
        with open(log, "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
    with contextlib.suppress(OSError):
        connection.sendall(str(status).encode())
    os._exit(0)


def _become(asked: dict, files: list[int], program: str, change: str) -> None:
    """Be the program: its process group, folder, environment, files and words."""
    with contextlib.suppress(OSError):  # the caller's group is gone
        os.setpgid(0, asked["group"])
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    os.chdir(asked["cwd"])
    os.environ.clear()
    os.environ.update(asked["env"])
    sys.executable = program
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True)
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    status = 1
    try:
        words = asked["argv"]
        if change:
            module, _, name = change.partition(":")
            words = getattr(importlib.import_module(module), name)(words)
        _run(words)
        status = 0
    except SystemExit as stop:
        status = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
        if isinstance(stop.code, str):
            sys.stderr.write(f"{stop.code}\n")
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(BaseException):
            threading._shutdown()
            atexit._run_exitfuncs()
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)


def _run(words: list[str]) -> None:
    """What ``python WORDS`` runs."""
    kind, rest = words[0], words[1:]
    for variable in os.environ.get("PYTHONPATH", "").split(":"):
        if variable and variable not in sys.path:
            sys.path.insert(1, variable)
    if kind == "-c":
        sys.argv, sys.path[0] = ["-c", *rest[1:]], ""
        exec(compile(rest[0], "<string>", "exec"), {"__name__": "__main__"})
    elif kind == "-m":
        sys.argv, sys.path[0] = [rest[0], *rest[1:]], os.getcwd()
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    else:
        sys.argv, sys.path[0] = [kind, *rest], str(Path(kind).resolve().parent)
        runpy.run_path(kind, run_name="__main__")


if __name__ == "__main__":
    serve(*sys.argv[1:])
