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
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from trainwright.config.plan import Plan
from trainwright.data.dataset import Dataset
from trainwright.engine.device.memory import is_out_of_memory
from trainwright.engine.ranks.world import ALONE, World
from trainwright.engine.trainer import Training, drive
from trainwright.errors import CheckpointError, TrainwrightError
from trainwright.hooks.prune import Prune
from trainwright.run.logfile import logged_to
from trainwright.run.ranks.launch import beside
from trainwright.run.ranks.places import Place
from trainwright.run.request import Request
from trainwright.run.resume.continuing import Resume
from trainwright.run.resume.recover import newest_whole
from trainwright.run.run import running
from trainwright.runs.folder import RunFolder
from trainwright.runs.lock import RunLock
from trainwright.runs.summary import read_summary
from trainwright.stack.together import together
from trainwright.stop_signals import STOP_SIGNALS
from trainwright.sweep.identity import job_id
from trainwright.sweep.job import Job
from trainwright.sweep.store import DONE, Store, seconds_spent
from trainwright.sweep.verdict.incumbent import is_drawn
from trainwright.sweep.verdict.pruning import Pruning, SweepJudge
from trainwright.sweep.workers.tasks import BUSY, TOO_LARGE

SECONDS_TO_LOCK = 2.0  # someone who only looks whether a lock is held has it for a moment
# What the table needs of a run that has ended.
FACTS = ("status", "objective", "higher_is_better", "best", "last", "step", "steps", "parameters")
Task = Mapping[str, Any]
FindData = Callable[[Mapping[str, Any]], Dataset | None]  # of a config's section `data`


def no_data(node: Mapping[str, Any]) -> Dataset | None:
    """For processes that hold no dataset."""
    return None


def work(task: Task, find_data: FindData = no_data, *, place: Place | None = None) -> int:
    """Work on one job to its end and write its state. Returns the exit code of the process.

    `task` is what `tasks.job_task` makes. A job that is done already is not done again; one that
    was interrupted goes on from its last checkpoint. `place`: of this process, rank 0, among those
    that were started with it to share the job.
    """
    if place is None:
        return drive(working(task, find_data))
    from trainwright.engine.ranks.group import Meeting, Ranks

    world = Ranks(Meeting(*place))
    code = drive(working(task, find_data, world))
    if not world.has_begun:
        world.tell("over")
    world.leave()
    return code


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
    log = Store(Path(task["sweep"])).log(Job(**task["job"]))
    with logged_to(log, times=False):
        return (yield from working(task, find_data))


def working(task: Task, find_data: FindData, world: World = ALONE) -> Training[int]:
    """What `work` does, asking for each training step instead of making it.

    `world`: whom the job is shared with, where they were not started for it.
    """
    job, store = Job(**task["job"]), Store(Path(task["sweep"]))
    try:
        with FileLock(store.lock(job.id)).acquire(timeout=SECONDS_TO_LOCK):
            return (yield from _attempted(task, job, store, find_data, world))
    except Timeout:
        return BUSY


def _attempted(
    task: Task, job: Job, store: Store, find_data: FindData, others: World
) -> Training[int]:
    """Make an attempt at a job whose lock is held."""
    before = store.state(job.id)
    if before["status"] == "finished":
        return 0
    folder = store.folder(job)
    store.note(
        job,
        seconds=round(seconds_spent(before, until=_last_sign(folder)), 3),
        status="running",
        attempts=int(before.get("attempts", 0)) + 1,
        since=time.time(),
        stacked=task["stacked"],
        pid=os.getpid(),
        host=socket.gethostname(),
    )

    def failed(reason: str, code: int = 1) -> int:
        store.note(job, status="failed", error=reason, code=code)
        return code

    try:
        # Where its summary says so, it was killed between that and noting it here.
        if read_summary(folder).get("status") != "finished":
            with _ranks(job.num_ranks, others) as world:
                request = replace(_request(task, job, store, find_data), world=world)
                outcome = yield from running(request)
                if world is not others:
                    world.leave()
            if outcome.signal is not None:
                store.note(job, status="stopped")
                return 128 + outcome.signal
    except TrainwrightError as error:
        print(f"error: {error}", file=sys.stderr)
        return failed(str(error), error.exit_code)
    except GeneratorExit:  # the stack that it was in is given up
        raise
    except KeyboardInterrupt:
        store.note(job, status="stopped")
        return 130
    except SystemExit as stop:
        return failed(f"something called sys.exit({stop.code})")
    except BaseException as error:
        traceback.print_exception(error)
        return failed(f"{type(error).__name__}: {error}")
    summary = read_summary(folder)
    assert summary["status"] in DONE
    store.note(job, **{key: summary.get(key) for key in FACTS})
    return 0


@contextlib.contextmanager
def _ranks(num: int, others: World) -> Iterator[World]:
    """The world of a job that so many processes share, of which this one is the first."""
    if num == 1 or others.is_shared:
        yield others
        return
    from trainwright.engine.ranks.group import Meeting, Ranks

    with beside(num) as place:
        yield Ranks(Meeting(*place))


def _request(task: Task, job: Job, store: Store, find_data: FindData) -> Request:
    """To begin the run of a job, or to go on with it."""
    config: dict[str, Any] = json.loads(json.dumps(job.config))
    config["run"]["dir"] = str(store.folder(job))
    resume = _resume(config, job.id, store.folder(job))
    prune = task["prune"]
    return Request(
        Plan.of(config, name=job.name, overrides=[] if resume is not None else job.overrides),
        resume,
        dataset=find_data(config["data"]),
        prune=None if prune is None else Prune(SweepJudge(Pruning(**prune), job.id)),
        draws=lambda: is_drawn(job.id, store.folder(job), store),
        stacked=task["stacked"],
    )


def _resume(config: dict[str, Any], wanted: str, path: Path) -> Resume | None:
    """What to go on with; what cannot be gone on with makes room for a new beginning."""
    if not path.exists():
        return None
    folder = RunFolder(path)
    if not any(folder.checkpoints.glob("*.safetensors")):
        shutil.rmtree(path)
        return None
    found = newest_whole(folder)
    stored = found.metadata["config"]
    data = config["data"]
    if "${oc.env" in str(data.get("path")):  # what comes from the environment is not kept
        stored = {**stored, "data": {**stored["data"], "path": data["path"]}}
    if job_id(stored) != wanted:
        raise CheckpointError(f"{found.path} belongs to another run than its job")
    # To the bit it is the same run only with as many threads as it began with.
    config["trainer"]["threads"] = stored["trainer"]["threads"]
    return Resume(folder, RunLock(folder.path).acquire(), found)


def _last_sign(folder: Path) -> float:
    """When a run last wrote, by `time.time`: to a process that was killed nobody has listened."""
    with contextlib.suppress(OSError):
        return (folder / "metrics.jsonl").stat().st_mtime
    return 0.0
