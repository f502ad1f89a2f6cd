"""Search with Optuna by ask and tell. Needs the extra `sweep`; nothing else imports this module.

What a trial is depends on `sweep.seed`, its number and the trials that were told before it: each
gets a sampler of its own. So a search that is stopped and typed again, with one job at a time, is
the search that was not. (CMA-ES alone keeps a state of its own, in the storage.)
"""

import contextlib
import hashlib
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import optuna
from filelock import FileLock
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.samplers import BaseSampler, CmaEsSampler, GPSampler, RandomSampler, TPESampler
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.storages.journal._file import BaseJournalFileLock
from optuna.study import StudyDirection
from optuna.trial import TrialState

from trainwright.errors import ConfigError
from trainwright.sweep.job import Job
from trainwright.sweep.points.axes import Axis, Swept
from trainwright.sweep.points.points import Point
from trainwright.sweep.settings import SweepSettings, refuse_unlogged
from trainwright.sweep.store import State, Store
from trainwright.sweep.verdict.ranking import Ranking, Values, values_of

SECONDS_TO_LOOK = 0.01  # whether a lock that somebody has is free again
FOLDER = "trainwright_folder"  # in a trial's attributes: the sweep that runs it
optuna.logging.set_verbosity(optuna.logging.WARNING)


class _SystemLock(BaseJournalFileLock):
    """A lock on the journal that is lifted when its holder dies; Optuna's own are not."""

    def __init__(self, path: Path) -> None:
        self._lock = FileLock(path)

    def acquire(self) -> bool:
        self._lock.acquire(poll_interval=SECONDS_TO_LOOK)
        return True

    def release(self) -> None:
        self._lock.release()


class Search:
    """Asks Optuna for settings until there are `num_trials` in the study, and tells it of values.

    A setting is run once for each seed, and counts by its mean; one of which every job fails is a
    failed trial. Several sweeps may work on one study, each on trials of its own.
    """

    def __init__(
        self,
        swept: Swept,
        store: Store,
        settings: SweepSettings,
        ranking: Ranking,
        make_job: Callable[[int, Point, int], Job],
        *,
        several_at_once: bool,
    ) -> None:
        self._store = store
        self._settings = settings
        self._ranking = ranking
        self._make_job = make_job
        self._several_at_once = several_at_once
        self._distributions = {axis.key: distribution(axis) for axis in swept.others}
        directions = [ranked.higher_is_better for ranked in ranking]
        self._study = open_study(store, settings.storage, higher_is_better=directions)
        self._ready: deque[Job] = deque()
        self._open: dict[int, dict[str, State | None]] = {}  # trial -> its jobs' ends
        self._seeds = ("",) if swept.seeds is None else swept.seeds.values
        self._take_up_again()
        num_told = sum(t.state.is_finished() for t in self._study.get_trials(deepcopy=False))
        # The jobs of the trials that were not told when the sweep began.
        self.total = max(0, settings.trials - num_told) * len(self._seeds)

    def next(self) -> Job | None:
        """A job of a trial that is under way, or of a new one."""
        if not self._ready:
            with FileLock(self._store.inner / "study.lock"):
                trials = self._study.get_trials(deepcopy=False)
                if len(trials) < self._settings.trials:
                    self._ask(len(trials))
        return self._ready.popleft() if self._ready else None

    def _ask(self, number: int) -> None:
        text = f"{self._settings.seed}/{number}"
        seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:4])
        kind, several = self._settings.sampler, self._several_at_once
        self._study.sampler = make_sampler(kind, seed, several_at_once=several)
        trial = self._study.ask(self._distributions)
        trial.set_user_attr(FOLDER, str(self._store.path.absolute()))
        self._begin(trial.number, trial.params)

    def _begin(self, trial: int, params: Mapping[str, Any], *, again: bool = False) -> None:
        """Hand out the jobs of a trial; `again`: unless another process works on one of them."""
        # Numbers are typed in full, so that they are read back as the same.
        values = {key: params[key] for key in self._distributions}
        point = {key: v if isinstance(v, str) else repr(v) for key, v in values.items()}
        points = [{**point, "seed": seed} if seed else point for seed in self._seeds]
        first = trial * len(points)
        jobs = [self._make_job(first + i, point, trial) for i, point in enumerate(points)]
        self._store.add(jobs)
        if again and any(self._store.is_at_work(job.id) for job in jobs):
            return
        self._open[trial] = {job.id: None for job in jobs}
        self._ready.extend(jobs)

    def _take_up_again(self) -> None:
        """Go on with the trials of this folder that no process works on any more."""
        here = str(self._store.path.absolute())
        for trial in self._study.get_trials(states=[TrialState.RUNNING]):
            # (A journal lies in the sweep's folder, and goes where that is moved.)
            is_ours = self._settings.storage is None or trial.user_attrs.get(FOLDER) == here
            if is_ours and set(trial.params) == set(self._distributions):
                self._begin(trial.number, trial.params, again=True)

    def ended(self, job: Job, state: State) -> None:
        """Tell Optuna of a trial when the last of its jobs has ended."""
        assert job.trial is not None
        jobs = self._open.get(job.trial)
        if jobs is None:
            return  # it was told; this is a job that was pruned and has gone on
        jobs[job.id] = state
        if any(end is None for end in jobs.values()):
            return
        del self._open[job.trial]
        ends = [end for end in jobs.values() if end is not None and end["status"] != "failed"]
        values = [found for found in map(self._values, ends) if found is not None]
        if values:
            means = [fmean(of_one) for of_one in zip(*values, strict=True)]
            self._study.tell(job.trial, means, skip_if_finished=True)
        else:
            self._study.tell(job.trial, state=TrialState.FAIL, skip_if_finished=True)

    def _values(self, state: State) -> Values | None:
        folder = self._store.run_folder(state)
        found = values_of(self._ranking, state, folder)
        if found is None and state["status"] == "finished":
            refuse_unlogged(self._ranking, folder)  # nothing could ever be learned from a trial
        return found


def open_study(
    store: Store, storage: str | None, *, higher_is_better: Sequence[bool]
) -> optuna.Study:
    """The study of a sweep: in a database, or in a journal in its folder.

    Raises ConfigError for a database that cannot be used.
    """
    where: Any = storage
    if storage is None:
        path = store.inner / "study.journal"
        lock = _SystemLock(store.inner / "journal.lock")
        where = JournalStorage(JournalFileBackend(str(path), lock_obj=lock))
    ways = StudyDirection.MINIMIZE, StudyDirection.MAXIMIZE
    directions = [ways[higher] for higher in higher_is_better]

    def create() -> optuna.Study:
        return optuna.create_study(
            storage=where, study_name=store.path.name, directions=directions, load_if_exists=True
        )

    try:
        with FileLock(store.inner / "study.lock"), contextlib.suppress(Exception):
            return create()
        return create()  # a process on another machine may have been at the same tables
    except Exception as error:
        first = (str(error).strip().splitlines() or [""])[0]
        raise ConfigError(
            f"sweep.storage={storage}: it cannot be used\n  {type(error).__name__}: {first}"
        ) from error


def make_sampler(kind: str, seed: int, *, several_at_once: bool) -> BaseSampler:
    """Optuna's sampler of that name."""
    if kind == "tpe":
        # Trials that run count as bad until they have ended: not the same one twice.
        return TPESampler(seed=seed, multivariate=False, constant_liar=several_at_once)
    if kind == "cmaes":
        return CmaEsSampler(seed=seed)
    return GPSampler(seed=seed) if kind == "gp" else RandomSampler(seed=seed)


def distribution(axis: Axis) -> BaseDistribution:
    """What Optuna draws a key from."""
    if axis.interval is None:
        return CategoricalDistribution(tuple(dict.fromkeys(axis.values)))
    low, high, log = axis.interval.low, axis.interval.high, axis.interval.log
    if axis.interval.is_integer:
        return IntDistribution(int(low), int(high), log=log)
    return FloatDistribution(float(low), float(high), log=log)
