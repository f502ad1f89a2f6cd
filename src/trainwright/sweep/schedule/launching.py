"""Run a sweep's jobs by another of Hydra's launchers: on a cluster with submitit, for instance.

Each job is frozen in a file, and the launcher is given its name: `sweep.job=<file>`. So whatever
process it starts works on just this job, in the sweep's folder, however the configs have changed.
"""

import json
from pathlib import Path
from typing import Any

from hydra.plugins.launcher import Launcher

from trainwright.command_line import override
from trainwright.errors import ConfigError
from trainwright.sweep.job import Job
from trainwright.sweep.schedule.audience import Audience
from trainwright.sweep.schedule.scheduler import Ending
from trainwright.sweep.schedule.source import Source
from trainwright.sweep.store import DONE, State, Store
from trainwright.sweep.verdict.pruning import Pruning
from trainwright.sweep.workers.tasks import job_task


def launch(
    launcher: Launcher,
    source: Source,
    store: Store,
    *,
    at_once: int | None,
    pruning: Pruning | None,
    audience: Audience,
) -> Ending:
    """Give the launcher all jobs at once, or `at_once` at a time where a search must hear of them.

    It decides how many run together, and where.
    """
    ending, number, num_ended = Ending(), 0, 0
    while True:
        batch: list[Job] = []
        while at_once is None or len(batch) < at_once:
            job = source.next()
            if job is None:
                break
            batch.append(job)
        if not batch:
            return ending
        waiting = [job for job in batch if store.state(job.id)["status"] not in DONE]
        if waiting:
            overrides = [[_pointer(job, store, pruning)] for job in waiting]
            launcher.launch(overrides, initial_job_idx=number)
            number += len(waiting)
        for job in batch:
            num_ended += 1
            state = _state_after(job, store)
            if state["status"] == "failed":
                ending.failed.append((job, state))
            source.ended(job, state)
            if job in waiting:
                audience.ended(job, state, num_ended)


def _pointer(job: Job, store: Store, pruning: Pruning | None) -> str:
    """The override that names the file of a frozen job."""
    path = (store.inner / "tasks" / f"{job.id}.json").absolute()
    path.parent.mkdir(exist_ok=True)
    # As many threads as the launcher's process has: it knows what it has asked for.
    path.write_text(json.dumps(job_task(job, store, threads=None, pruning=pruning)))
    return override("sweep.job", path)


def _state_after(job: Job, store: Store) -> State:
    """The state of a job after the launcher has come back."""
    state = store.state(job.id)
    if state["status"] in (*DONE, "failed"):
        return state
    reason = "the launcher came back before it was done"
    return store.note(job, status="failed", error=reason, code=1)


def read_task(path: str) -> dict[str, Any]:
    """The frozen job in a file. Raises ConfigError where there is none."""
    try:
        task: dict[str, Any] = json.loads(Path(path).read_text())
    except (OSError, ValueError) as error:
        raise ConfigError(f"sweep.job={path}: there is no job of a sweep in that file") from error
    return task
