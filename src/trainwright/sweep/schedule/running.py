"""The jobs of a sweep at work, and the verdict at the end.

They are run here, by the scheduler, or by another of Hydra's launchers: on a cluster with submitit,
for instance. For that each job is frozen in a file, and the launcher is given its name:
`sweep.job=<file>`. So whatever process it starts works on just this job, in the sweep's folder,
however the configs have changed.
"""

import itertools
import json
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from types import FrameType
from typing import Any

from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict, read_write

from trainwright.command_line import override
from trainwright.errors import ConfigError
from trainwright.stop_signals import taken_by
from trainwright.streams import tell_now
from trainwright.sweep.job import Job
from trainwright.sweep.schedule.queue import Queue
from trainwright.sweep.schedule.scheduler import Ending, Scheduler
from trainwright.sweep.schedule.show import Show
from trainwright.sweep.settings import SweepSettings
from trainwright.sweep.store import DONE, State, Store
from trainwright.sweep.verdict.pruning import Pruning
from trainwright.sweep.verdict.ranking import Ranking, objective, values_of
from trainwright.sweep.verdict.report import report
from trainwright.sweep.workers.slots import Slot
from trainwright.sweep.workers.tasks import drawing_task, job_task
from trainwright.sweep.workers.workers import Workers
from trainwright.wording import format_number

DEFAULT = "hydra._internal.core_plugins.basic_launcher.BasicLauncher"  # Hydra's


def run_jobs(
    queue: Queue,
    store: Store,
    slots: Sequence[Slot],
    workers: Workers,
    settings: SweepSettings,
    ranking: Ranking | None,
    launcher: Launcher | None,
) -> int:
    """Run all jobs, here or by a launcher, and print the verdict. Returns the exit code."""
    show = Show(queue.total, lambda state: _values(state, store, ranking))
    try:
        if launcher is None:
            scheduler = Scheduler(queue, store, workers, slots, settings, show)
            with _signals(scheduler):
                ending = scheduler.run()
        else:
            ending = launch(launcher, queue, store, show, at_once=settings.jobs)
    finally:
        show.close()
    verdict = report(store)
    if not (workers.is_warmed_up and workers.perform(drawing_task(store)) == 0):
        from trainwright.sweep.verdict.pictures import draw

        draw(verdict, store)
    return _exit_code(ending, store)


def _signals(scheduler: Scheduler) -> AbstractContextManager[None]:
    """Ctrl-C, SIGTERM and the like let running jobs save; a second Ctrl-C ends them at once."""

    def receive(number: int, frame: FrameType | None) -> None:
        tell_now("\nstopping: running jobs save first; Ctrl-C again to kill them\n")
        scheduler.request_stop(number)

    return taken_by(receive)


def _values(state: State, store: Store, ranking: Ranking | None) -> str:
    """What is said of the values of a job that has ended."""
    by = ranking or (objective(state),)
    values = values_of(by, state, store.run_folder(state))
    texts = ["-"] * len(by) if values is None else map(format_number, values)
    return "  ".join(f"{one.label} {text}" for one, text in zip(by, texts, strict=True))


def _exit_code(ending: Ending, store: Store) -> int:
    if ending.signal is not None:
        print(f"stopped; to go on: {store.plan()['command']}", flush=True)
        return 128 + ending.signal
    if ending.failed:
        return int(ending.failed[0][1].get("code") or 1)
    return 0


def launcher_of(
    context: HydraContext, task_function: TaskFunction, master: DictConfig, store: Store
) -> Launcher | None:
    """The launcher that was chosen; None where jobs run here, by the scheduler."""
    if has_own_launcher(master):
        return None
    with read_write(master.hydra), open_dict(master):
        # Where launchers keep their own files.
        master.hydra.sweep.dir = str(store.path.absolute())
        master.hydra.sweep.subdir = "."
    return Plugins.instance().instantiate_launcher(
        hydra_context=context, task_function=task_function, config=master
    )


def has_own_launcher(master: DictConfig) -> bool:
    """Whether jobs run here, by the scheduler. Hydra's default launcher stands for that."""
    return str(master.hydra.launcher._target_) == DEFAULT


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
