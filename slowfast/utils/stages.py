"""Runs commands that build on each other, and again only what has changed."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from slowfast.utils.errors import UserError
from slowfast.utils.files import write_text
from slowfast.utils.orphans import die_with_parent
from slowfast.utils.plain_json import parse_json
from slowfast.utils.progress import format_seconds

logger = logging.getLogger(__name__)


class StageError(UserError, RuntimeError):
    """A stage cannot run, or its command failed."""


@dataclass(frozen=True)
class Stage:
    """One command and what it depends on.

    Attributes:
        name: what ``--stages`` calls it.
        command: program and arguments; paths absolute.
        folder: where it writes. Emptied before it runs anew.
        outputs: files that exist once it is done.
        needs: names of the stages whose outputs it reads.
        tells: of those that it runs again after, and whose failing does not stop it.
        inputs: text of everything else the result depends on, e.g. the loaded config.
    """

    name: str
    command: Sequence[str]
    folder: Path
    outputs: Sequence[Path] = ()
    needs: Sequence[str] = ()
    tells: Sequence[str] = ()
    inputs: str = ""


def run_stages(
    stages: Sequence[Stage],
    output_dir: Path,
    *,
    chosen: Collection[str],
    force: bool = False,
    dry_run: bool = False,
) -> None:
    """Runs the chosen stages in order, passing over those that are up to date.

    A stage is up to date when it finished, its outputs are still there, and neither its command,
    its inputs nor the stages it needs have changed since. One that was interrupted goes on from
    what it wrote; one that changed starts from an empty folder. After one that fails, those that
    do not need it still run.

    Args:
        stages: in an order in which each follows what it needs.
        output_dir: gets ``.stages/`` (what was run) and ``logs/``.
        chosen: names of the stages to run.
        force: run them even when they are up to date.
        dry_run: only say what would run.

    Raises:
        StageError: unknown name, a needed stage that has not run, or commands that failed, once
            the others are through.
    """
    known = [stage.name for stage in stages]
    for name in chosen:
        if name not in known:
            raise StageError(f"unknown stage {name!r}; the stages are: {', '.join(known)}")
    runner = _Runner(output_dir, dry_run)
    for number, stage in enumerate(stages, 1):
        runner.visit(stage, f"[{number}/{len(stages)}] {stage.name}", stage.name in chosen, force)
    if runner.problems:
        raise StageError(". ".join(f"{name}: {why}" for name, why in runner.problems.items()))


class _Runner:
    """The stamps and logs in an output folder."""

    def __init__(self, output_dir: Path, dry_run: bool) -> None:
        self.stamps, self.logs = output_dir / ".stages", output_dir / "logs"
        self.dry_run = dry_run
        self.done: dict[str, dict[str, str]] = {}  # name -> stamp of the finished stage
        self.problems: dict[str, str] = {}  # name -> why it did not run to its end

    def visit(self, stage: Stage, label: str, is_chosen: bool, force: bool) -> None:
        """Run a stage where it is chosen, not up to date and what it needs is there."""
        stamp = self.wanted(stage)
        if self.is_done(stage, stamp) and not (is_chosen and force):
            if is_chosen:
                logger.info("%s: up to date", label)
            self.done[stage.name] = self.read(stage)
        elif is_chosen and self._has_needs(stage, label):
            logger.info("%s: %s", label, show_command(stage.command))
            try:
                self.run(stage, stamp, anew=force)
            except StageError as error:
                self.problems[stage.name] = str(error)
                logger.error("%s", error)

    def _has_needs(self, stage: Stage, label: str) -> bool:
        for need in stage.needs:
            if need in self.problems:
                self.problems[stage.name] = f"not run: it needs {need!r}"
                logger.warning("%s: %s", label, self.problems[stage.name])
                return False
            if need not in self.done:
                raise StageError(
                    f"stage {stage.name!r} needs {need!r}, which has not run with these settings: "
                    f"--stages {need} {stage.name}"
                )
        return True

    def wanted(self, stage: Stage) -> str:
        """Digest of what the stage is and of the runs it builds on."""
        needs = [self.done.get(name) for name in (*stage.needs, *stage.tells)]
        # The interpreter (command[0]) may move without changing what comes out.
        content = json.dumps([list(stage.command[1:]), stage.inputs, needs])
        return hashlib.sha256(content.encode()).hexdigest()

    def read(self, stage: Stage) -> dict[str, str]:
        """What is known of the last run of ``stage``; a damaged note is one of a run not done."""
        path = self.stamps / f"{stage.name}.json"
        if not path.exists():
            return {}
        try:
            stamp = parse_json(path.read_text("utf-8"))
        except ValueError:
            stamp = None
        if isinstance(stamp, dict):
            return stamp
        logger.warning("%s is damaged: %s runs again from its beginning", path, stage.name)
        return {"state": "damaged"}

    def is_done(self, stage: Stage, digest: str) -> bool:
        stamp = self.read(stage)
        same = stamp.get("digest") == digest and stamp.get("state") == "done"
        return same and all(path.exists() for path in stage.outputs)

    def run(self, stage: Stage, digest: str, *, anew: bool) -> None:
        stamp = {"digest": digest, "state": "done", "finished": str(time.time_ns())}
        if not self.dry_run:
            self._prepare_folder(stage, digest, anew)
            self._write(stage, {"digest": digest, "state": "running"})
            self._execute(stage)
            self._write(stage, stamp)
        self.done[stage.name] = stamp

    def _prepare_folder(self, stage: Stage, digest: str, anew: bool) -> None:
        stamp = self.read(stage)
        interrupted = stamp.get("digest") == digest and stamp.get("state") == "running"
        if interrupted and not anew:
            logger.info("%s was interrupted: going on from %s", stage.name, stage.folder)
        elif stamp:
            self._write(stage, {"digest": "", "state": "clearing"})  # half of it is not done
            shutil.rmtree(stage.folder, ignore_errors=True)
        elif stage.folder.exists() and any(stage.folder.iterdir()):
            raise StageError(
                f"{stage.folder} has files that this pipeline did not write; it would overwrite "
                "them. Choose another --output_dir or remove the folder"
            )
        stage.folder.mkdir(parents=True, exist_ok=True)

    def _write(self, stage: Stage, stamp: dict[str, str]) -> None:
        write_text(self.stamps / f"{stage.name}.json", json.dumps(stamp))

    def _execute(self, stage: Stage) -> None:
        self.logs.mkdir(parents=True, exist_ok=True)
        log = self.logs / f"{stage.name}.log"
        command = self.stamps / f"{stage.name}.sh"  # for people, and for the report
        write_text(command, show_command(stage.command) + "\n")
        start = time.monotonic()
        status = run_logged(stage.command, log)
        missing = [str(path) for path in stage.outputs if not path.exists()]
        problem = f"exit status {status}" if status else "no " + ", ".join(missing)
        if status or missing:
            raise StageError(
                f"stage {stage.name!r} failed ({problem}). Its output: {log}. "
                f"To run it alone: {show_command(stage.command)}"
            )
        logger.info("%s: done in %s", stage.name, format_seconds(time.monotonic() - start))


def run_logged(command: Sequence[str], log: Path) -> int:
    """Runs a command, copying what it prints to this terminal and to ``log``; its exit status.

    When this process is killed, the command is too: it would go on beside the one that the next
    run starts in its place, and both would write the same files.
    """
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with (
        log.open("w", encoding="utf-8") as file,
        subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            errors="replace",
            env=environment,
            preexec_fn=die_with_parent,
        ) as process,
    ):
        assert process.stdout is not None
        for line in process.stdout:
            sys.stdout.write(line)
            sys.stdout.flush()
            file.write(line)
        return process.wait()


def show_command(command: Sequence[str]) -> str:
    """A command as one types it, paths below the working folder made relative."""
    here = f"{Path.cwd()}/"
    return shlex.join(part.replace(here, "") for part in command)


def describe_files(paths: Iterable[Path]) -> str:
    """Name, size and time of change of files: differs when one of them was edited."""
    stats = [(str(path), path.stat()) for path in sorted(paths)]
    return "\n".join(f"{name} {stat.st_size} {stat.st_mtime_ns}" for name, stat in stats)
