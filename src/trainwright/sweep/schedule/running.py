"""The jobs of a sweep at work: signals, what is shown, and the verdict at the end."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from types import FrameType

from hydra.plugins.launcher import Launcher

from trainwright.stop_signals import taken_by
from trainwright.streams import tell_now
from trainwright.sweep.schedule.launching import launch
from trainwright.sweep.schedule.queue import Queue
from trainwright.sweep.schedule.scheduler import Ending, Scheduler
from trainwright.sweep.schedule.show import Show
from trainwright.sweep.settings import SweepSettings
from trainwright.sweep.store import State, Store
from trainwright.sweep.verdict.ranking import Ranking, objective, values_of
from trainwright.sweep.verdict.report import report
from trainwright.sweep.workers.slots import Slot
from trainwright.sweep.workers.tasks import drawing_task
from trainwright.sweep.workers.workers import Workers
from trainwright.wording import format_number


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
    show = Show(queue.total, _describe_values(store, ranking))
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
    """Ctrl-C, SIGTERM and SIGHUP let running jobs save; a second Ctrl-C ends them at once."""

    def receive(number: int, frame: FrameType | None) -> None:
        tell_now("\nstopping: running jobs save first; Ctrl-C again to kill them\n")
        scheduler.request_stop(number)

    return taken_by(receive)


def _describe_values(store: Store, ranking: Ranking | None) -> Callable[[State], str]:
    """What is said of the values of a job that has ended."""

    def describe(state: State) -> str:
        by = ranking or (objective(state),)
        values = values_of(by, state, store.run_folder(state))
        texts = ["-"] * len(by) if values is None else map(format_number, values)
        return "  ".join(f"{one.label} {text}" for one, text in zip(by, texts, strict=True))

    return describe


def _exit_code(ending: Ending, store: Store) -> int:
    if ending.signal is not None:
        print(f"stopped; to go on: {store.plan()['command']}", flush=True)
        return 128 + ending.signal
    if ending.failed:
        return int(ending.failed[0][1].get("code") or 1)
    return 0
