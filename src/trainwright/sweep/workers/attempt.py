"""One attempt at a job, or at those of a stack, in a process of its own: lock, run, note.

Imports torch: only the processes that jobs run in import this module.
"""

import contextlib
import json
import logging
import os
import shutil
import socket
import sys
import time
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from trainwright.config.plan import Plan
from trainwright.engine.device.memory import is_out_of_memory
from trainwright.engine.trainer import Training, drive
from trainwright.errors import CheckpointError, TrainwrightError
from trainwright.hooks.prune import Prune
from trainwright.run.logfile import logged_to
from trainwright.run.request import Outcome, Request
from trainwright.run.resume.continuing import Resume
from trainwright.run.resume.recover import newest_whole
from trainwright.run.run import running
from trainwright.runs.folder import RunFolder
from trainwright.runs.lock import RunLock
from trainwright.runs.stored import read_json_if_any
from trainwright.runs.summary import read_summary
from trainwright.stack.together import together
from trainwright.stop_signals import STOP_SIGNALS
from trainwright.sweep.identity import job_id
from trainwright.sweep.store import DONE, State, Store, seconds_spent, write_whole
from trainwright.sweep.verdict.incumbent import is_drawn
from trainwright.sweep.verdict.pruning import judge
from trainwright.sweep.workers.held_data import FindData, no_data
from trainwright.sweep.workers.tasks import BUSY, TOO_LARGE

log = logging.getLogger(__name__)

SECONDS_TO_LOCK = 2.0  # someone who only looks whether a lock is held has it for a moment
Task = Mapping[str, Any]


def work(task: Task, find_data: FindData = no_data) -> int:
    """Work on one job to its end and write its state. Returns the exit code of the process.

    `task` is what `tasks.job_task` makes. A job that is done already is not done again; one that
    was interrupted goes on from its last checkpoint.
    """
    return drive(working(task, find_data))


def work_together(task: Task, find_data: FindData = no_data) -> int:
    """Work on the jobs of a stack (`tasks.stack_task`). Returns the exit code of the process.

    Each writes a state and a log of its own. How they fared is in the states; the code only says
    whether a signal has stopped them.
    """
    logging.getLogger("trainwright").handlers.clear()  # each has its own log
    try:
        codes = together([_logged(member, find_data) for member in task["jobs"]])
    except Exception as error:
        if is_out_of_memory(error):
            return TOO_LARGE  # they go on from their checkpoints, fewer at a time
        raise
    stopped = [128 + number for number in STOP_SIGNALS if 128 + number in codes]
    return stopped[0] if stopped else 0


def _logged(task: Task, find_data: FindData) -> Training[int]:
    with logged_to(Path(task["log"]), times=False):
        return (yield from working(task, find_data))


def working(task: Task, find_data: FindData) -> Training[int]:
    """What `work` does, asking for each training step instead of making it."""
    try:
        with FileLock(task["lock"]).acquire(timeout=SECONDS_TO_LOCK):
            return (yield from _Attempt(task, find_data).do())
    except Timeout:
        return BUSY


class _Attempt:
    """An attempt at one job, while its lock is held."""

    def __init__(self, task: Task, find_data: FindData) -> None:
        self._task = task
        self._find_data = find_data
        self._state_path = Path(task["state"])
        self._folder = Path(task["folder"])
        self._before = self._read()
        self._started = time.time()
        self._spent = seconds_spent(self._before, until=_last_sign(self._folder))

    def do(self) -> Training[int]:
        if self._before.get("status") == "finished":
            return 0
        attempts = int(self._before.get("attempts", 0)) + 1
        self._note(
            status="running",
            attempts=attempts,
            since=self._started,
            stacked=self._task["stacked"],
            pid=os.getpid(),
            host=socket.gethostname(),
        )
        try:
            outcome = yield from self._run()
        except TrainwrightError as error:
            print(f"error: {error}", file=sys.stderr)
            return self._failed(str(error), error.exit_code)
        except GeneratorExit:  # the stack that it was in is given up
            raise
        except KeyboardInterrupt:
            self._note(status="stopped")
            return 130
        except SystemExit as stop:
            self._failed(f"something called sys.exit({stop.code})", 1)
            return 1
        except BaseException as error:
            traceback.print_exception(error)
            return self._failed(f"{type(error).__name__}: {error}", 1)
        if outcome is None:
            return 0
        if outcome.signal is not None:
            self._note(status="stopped")
            return 128 + outcome.signal
        self._note(**_facts(self._folder))
        return 0

    def _run(self) -> Training[Outcome | None]:
        """Run, go on, or see that there is nothing left to do (None)."""
        summary = read_summary(self._folder)
        if summary.get("status") == "finished":
            self._note(**_facts(self._folder))  # it was killed between that and noting it here
            return None
        config: dict[str, Any] = json.loads(json.dumps(self._task["config"]))
        config["run"]["dir"] = str(self._folder)
        resume = self._resume(config)
        prune, store = self._task["prune"], Store(Path(self._task["sweep"]))
        overrides = [] if resume is not None else list(self._task["overrides"])
        request = Request(
            Plan.of(config, name=str(self._task["name"]), overrides=overrides),
            resume,
            dataset=self._find_data(config["data"]),
            prune=None if prune is None else Prune(judge(prune, self._task["id"])),
            draws=lambda: is_drawn(self._task["id"], self._folder, store),
            stacked=self._task["stacked"],
        )
        return (yield from running(request))

    def _resume(self, config: dict[str, Any]) -> Resume | None:
        """What to go on with; what cannot be gone on with makes room for a new beginning."""
        if not self._folder.exists():
            return None
        folder = RunFolder(self._folder)
        if not any(folder.checkpoints.glob("*.safetensors")):
            shutil.rmtree(self._folder)
            return None
        found = newest_whole(folder)
        stored = found.metadata["config"]
        data = config["data"]
        if "${oc.env" in str(data.get("path")):  # what comes from the environment is not kept
            stored = {**stored, "data": {**stored["data"], "path": data["path"]}}
        if job_id(stored) != self._task["id"]:
            raise CheckpointError(f"{found.path} belongs to another run than its job")
        # To the bit it is the same run only with as many threads as it began with.
        config["trainer"]["threads"] = stored["trainer"]["threads"]
        return Resume(folder, RunLock(folder.path).acquire(), found)

    def _failed(self, reason: str, code: int) -> int:
        self._note(status="failed", error=reason, code=code)
        return code

    def _note(self, **changes: Any) -> None:
        """Bring the state up to date; the time of earlier attempts counts too."""
        elapsed = time.time() - self._started
        state = {k: v for k, v in self._read().items() if k not in ("error", "code", "since")}
        state |= {
            "folder": self._folder.name,
            "seconds": round(self._spent + elapsed, 3),
            **changes,
        }
        write_whole(self._state_path, json.dumps(state))

    def _read(self) -> State:
        return read_json_if_any(self._state_path)


def _last_sign(folder: Path) -> float:
    """When a run last wrote, by `time.time`: to a process that was killed nobody has listened."""
    with contextlib.suppress(OSError):
        return (folder / "metrics.jsonl").stat().st_mtime
    return 0.0


def _facts(folder: Path) -> State:
    """What the table needs of a run that has ended."""
    summary = read_summary(folder)
    assert summary["status"] in DONE
    kept = (
        "status",
        "objective",
        "higher_is_better",
        "best",
        "last",
        "step",
        "steps",
        "parameters",
    )
    return {key: summary.get(key) for key in kept}
