"""The jobs of a sweep at work: signals, what is shown, and the verdict at the end."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from types import FrameType

from hydra.core.plugins import Plugins
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict, read_write

from trainwright.stop_signals import taken_by
from trainwright.streams import tell_now
from trainwright.sweep.schedule.crews import Crews
from trainwright.sweep.schedule.launching import launch
from trainwright.sweep.schedule.scheduler import Ending, Scheduler
from trainwright.sweep.schedule.show import Show
from trainwright.sweep.schedule.source import Source
from trainwright.sweep.settings import SweepSettings
from trainwright.sweep.store import State, Store
from trainwright.sweep.verdict.pruning import Pruning
from trainwright.sweep.verdict.ranking import Ranked, Ranking, values_of
from trainwright.sweep.verdict.report import report
from trainwright.sweep.workers.slots import Slot
from trainwright.sweep.workers.tasks import drawing_task
from trainwright.sweep.workers.workers import Workers
from trainwright.wording import format_number

OWN_LAUNCHER = "hydra._internal.core_plugins.basic_launcher.BasicLauncher"  # Hydra's default


@dataclass(frozen=True)
class Ways:
    """How jobs are run: by our own scheduler, or by the Hydra launcher that was chosen."""

    settings: SweepSettings
    master: DictConfig
    context: HydraContext
    task_function: TaskFunction

    @property
    def own(self) -> bool:
        """Whether jobs run here, by the scheduler. Hydra's default launcher stands for that."""
        return str(self.master.hydra.launcher._target_) == OWN_LAUNCHER


def run_jobs(
    source: Source,
    store: Store,
    slots: Sequence[Slot],
    workers: Workers,
    ways: Ways,
    ranking: Ranking | None,
    pruning: Pruning | None,
    stacks: Sequence[Sequence[str]] = (),
) -> int:
    """Run all jobs and print the verdict. Returns the exit code."""
    show = Show(source.total, _describe_values(store, ranking))
    try:
        if ways.own:
            crews = Crews(stacks, store)
            scheduler = Scheduler(
                source, store, workers, slots, ways.settings,
                pruning=pruning, audience=show, crews=crews,
            )  # fmt: skip
            with _signals(scheduler):
                ending = scheduler.run()
        else:
            ending = _launch(source, store, ways, pruning, show)
    finally:
        show.close()
    verdict = report(store)
    if not (workers.is_warmed_up and workers.perform(drawing_task(store)) == 0):
        from trainwright.sweep.verdict.pictures import draw

        draw(verdict, store)
    return _exit_code(ending, store)


def _launch(
    source: Source, store: Store, ways: Ways, pruning: Pruning | None, show: Show
) -> Ending:
    with read_write(ways.master.hydra), open_dict(ways.master):
        # Where launchers keep their own files.
        ways.master.hydra.sweep.dir = str(store.path.absolute())
        ways.master.hydra.sweep.subdir = "."
    launcher = Plugins.instance().instantiate_launcher(
        hydra_context=ways.context, task_function=ways.task_function, config=ways.master
    )
    return launch(
        launcher, source, store, at_once=ways.settings.jobs, pruning=pruning, audience=show
    )


def _signals(scheduler: Scheduler) -> AbstractContextManager[None]:
    """Ctrl-C, SIGTERM and SIGHUP let running jobs save; a second Ctrl-C ends them at once."""

    def receive(number: int, frame: FrameType | None) -> None:
        tell_now("\nstopping: running jobs save first; Ctrl-C again to kill them\n")
        scheduler.request_stop(number)

    return taken_by(receive)


def _describe_values(store: Store, ranking: Ranking | None) -> Callable[[State], str]:
    """What is said of the values of a job that has ended."""

    def describe(state: State) -> str:
        by = ranking or (Ranked(f"validation/{state['objective']}", state["higher_is_better"]),)
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
