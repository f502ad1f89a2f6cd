"""What the process of a job is told, as plain JSON, and what its exit code may say."""

import json
import signal
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from trainwright.sweep.job import Job
from trainwright.sweep.store import Store
from trainwright.sweep.verdict.pruning import Pruning

BUSY = 75  # exit code (EX_TEMPFAIL): another process works on this job
TOO_LARGE = 76  # exit code: memory does not hold the stack
ASKED_TO_STOP = (128 + signal.SIGTERM, 128 + signal.SIGINT)  # of a job that has saved
MAX_TRIED = 16  # members of a stack that is tried; with more of them a step costs each no more

# What decides which networks are built and what a step of them costs.
OF_MODEL = ("data", "model", "task", "fork")
OF_STEP = ("batch_size", "precision", "memory_format", "accumulate", "ema", "device")


def job_task(
    job: Job, store: Store, *, threads: int | None, pruning: Pruning | None, stacked: bool = False
) -> dict[str, Any]:
    """To work on one job, with so many threads where the config does not say; None: torch's own."""
    config = dict(job.config)
    if config["trainer"].get("threads") in (None, "auto"):
        config["trainer"] = {**config["trainer"], "threads": threads}
    return {
        "do": "job",
        "job": {**vars(job), "config": config},
        "sweep": str(store.path.absolute()),
        "stacked": stacked,
        "prune": None if pruning is None else asdict(pruning),
    }


def stack_task(
    jobs: Sequence[Job], store: Store, *, threads: int | None, pruning: Pruning | None
) -> dict[str, Any]:
    """To work on several jobs that make their steps together."""
    each = [job_task(job, store, threads=threads, pruning=pruning, stacked=True) for job in jobs]
    return {"do": "stack", "jobs": each}


def drawing_task(store: Store) -> dict[str, Any]:
    """To draw the plots of a sweep."""
    return {"do": "draw", "sweep": str(store.path.absolute())}


def rehearsal_task(
    jobs: Iterable[Job], result: Path, *, threads: int, groups: Sequence[Sequence[Job]] = ()
) -> dict[str, Any]:
    """To put a batch through every distinct model of some jobs, and to try stacks of `groups`."""
    return {
        "do": "rehearse",
        "configs": [job.config for job in jobs],
        "groups": [[job.config for job in group[:MAX_TRIED]] for group in groups],
        "result": str(result),
        "threads": threads,
    }


def model_key(config: Mapping[str, Any]) -> str:
    """Configs with the same key have the same networks and the same cost of a step."""
    step = {key: config["trainer"].get(key) for key in OF_STEP}
    optimizer = config["optimizer"].get("_target_")
    return json.dumps([*(config.get(part) for part in OF_MODEL), step, optimizer], sort_keys=True)


def death(code: int) -> str:
    """Why a job is not done whose process has ended with this code, in its place."""
    if code in ASKED_TO_STOP:
        return "was stopped by a signal, and saved"  # somebody else has stopped this one job
    if code >= 0:
        return f"its process exited with {code} before it was done"
    name = signal.Signals(-code).name
    return f"killed by {name}" + (" (out of memory?)" if name == "SIGKILL" else "")
