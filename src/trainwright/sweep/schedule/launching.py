"""Run a sweep's jobs by another of Hydra's launchers: on a cluster with submitit, for instance.

Each job is frozen in a file, and the launcher is given its name: `sweep.job=<file>`. So whatever
process it starts works on just this job, in the sweep's folder, however the configs have changed.
"""

import itertools
import json
from pathlib import Path
from typing import Any

from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict, read_write

from trainwright.command_line import override
from trainwright.errors import ConfigError
from trainwright.sweep.job import Job
from trainwright.sweep.schedule.queue import Queue
from trainwright.sweep.schedule.scheduler import Ending
from trainwright.sweep.schedule.show import Show
from trainwright.sweep.store import DONE, Store
from trainwright.sweep.verdict.pruning import Pruning
from trainwright.sweep.workers.tasks import job_task

DEFAULT = "hydra._internal.core_plugins.basic_launcher.BasicLauncher"  # Hydra's


def launcher_of(
    context: HydraContext, task_function: TaskFunction, master: DictConfig, store: Store
) -> Launcher | None:
    """The launcher that was chosen; None where jobs run here, by the scheduler."""
    if not is_chosen(master):
        return None
    with read_write(master.hydra), open_dict(master):
        # Where launchers keep their own files.
        master.hydra.sweep.dir = str(store.path.absolute())
        master.hydra.sweep.subdir = "."
    return Plugins.instance().instantiate_launcher(
        hydra_context=context, task_function=task_function, config=master
    )


def is_chosen(master: DictConfig) -> bool:
    """Whether another launcher than Hydra's default was chosen, which stands for the scheduler."""
    return str(master.hydra.launcher._target_) != DEFAULT


def launch(
    launcher: Launcher, queue: Queue, store: Store, show: Show, *, at_once: int | None
) -> Ending:
    """Give the launcher all jobs at once, or `at_once` at a time where a search must hear of them.

    It decides how many run together, and where.
    """
    ending, number, num_ended = Ending(), 0, 0
    while batch := list(itertools.islice(iter(queue.next, None), at_once)):
        waiting = [job for job in batch if store.state(job.id)["status"] not in DONE]
        if waiting:
            overrides = [[_pointer(job, store, queue.pruning)] for job in waiting]
            launcher.launch(overrides, initial_job_idx=number)
            number += len(waiting)
        for job in batch:
            num_ended += 1
            state = store.state(job.id)
            if state["status"] not in (*DONE, "failed"):
                reason = "the launcher came back before it was done"
                state = store.note(job, status="failed", error=reason, code=1)
            if state["status"] == "failed":
                ending.failed.append((job, state))
            queue.ended(job, state)
            if job in waiting:
                show.ended(job, state, num_ended)
    return ending


def _pointer(job: Job, store: Store, pruning: Pruning | None) -> str:
    """The override that names the file of a frozen job."""
    path = (store.inner / "tasks" / f"{job.id}.json").absolute()
    path.parent.mkdir(exist_ok=True)
    # As many threads as the launcher's process has: it knows what it has asked for.
    path.write_text(json.dumps(job_task(job, store, threads=None, pruning=pruning)))
    return override("sweep.job", path)


def read_task(path: str) -> dict[str, Any]:
    """The frozen job in a file. Raises ConfigError where there is none."""
    try:
        task: dict[str, Any] = json.loads(Path(path).read_text())
    except (OSError, ValueError) as error:
        raise ConfigError(f"sweep.job={path}: there is no job of a sweep in that file") from error
    return task
