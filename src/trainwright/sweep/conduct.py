"""A sweep from its command line to its verdict."""

import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

from hydra.errors import ConfigCompositionException
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from trainwright.command_line import command
from trainwright.config.build import settings
from trainwright.config.compose import no_such_key
from trainwright.cores import num_cores
from trainwright.errors import ConfigError, TrainwrightError
from trainwright.files import typed_path
from trainwright.progress import under_way
from trainwright.streams import say
from trainwright.sweep.identity import digest
from trainwright.sweep.job import Job, typed_first
from trainwright.sweep.plan import SweepPlan, describe, distinct, mistake, objective_of, rehearse
from trainwright.sweep.plan import statuses as statuses_of
from trainwright.sweep.points.axes import take_apart
from trainwright.sweep.points.composer import Composer
from trainwright.sweep.points.points import Point, drawn, grid, probes, union, zipped
from trainwright.sweep.schedule.queue import Queue
from trainwright.sweep.schedule.running import has_own_launcher, launcher_of, run_jobs
from trainwright.sweep.settings import SweepSettings, check, need_optuna, unknown_metric
from trainwright.sweep.stacking import Stacking
from trainwright.sweep.store import Store
from trainwright.sweep.verdict.pruning import Pruning
from trainwright.sweep.verdict.ranking import Ranking
from trainwright.sweep.workers.slots import Slot, make_slots, members_held, visible_gpus
from trainwright.sweep.workers.workers import Workers, settled

MAX_NAME = 60  # characters


class Conductor:
    """Conducts one sweep: plan, run, compare."""

    def __init__(
        self,
        context: HydraContext,
        task_function: TaskFunction,
        master: DictConfig,
        overrides: Sequence[str],
    ) -> None:
        self.store: Store | None = None  # of the sweep, once it is known
        self._context = context
        self._master = master
        self._task_function = task_function
        self._settings = wanted = settings(SweepSettings, master.sweep, key="sweep")
        if master.trainer.get("events") is not None:
            raise ConfigError(
                "trainer.events=json tells of one run, and this is a sweep\n"
                "  leave it out; sweep.json in the sweep's folder is for programs"
            )
        check(wanted, has_own_launcher=has_own_launcher(master))
        self._swept = take_apart(overrides, wanted.params, context.config_loader, seed=wanted.seed)
        self._searches = wanted.kind == "optuna"  # jobs are made up as the sweep goes
        # Hydra turns -m into an override of its own.
        hydra = [line for line in master.hydra.overrides.hydra if line != "hydra.mode=MULTIRUN"]
        sources = master.hydra.runtime.config_sources
        dirs = [f"--config-dir={s.path}" for s in sources if s.provider == "command-line"]
        self._single = command(*typed_first(master), *dirs)
        self._command = f"{self._single} {command('-m', *overrides, *hydra)}"

    def conduct(self) -> int:
        """Plan, run, compare. Returns the exit code. Raises TrainwrightError before any run."""
        wanted, points = self._settings, list(self._points())
        if self._searches:
            need_optuna(wanted.sampler)
        workers = Workers(warm=settled(wanted.isolation))  # imports torch meanwhile
        try:
            composer = Composer(self._context, self._master, self._swept.fixed)
            with under_way("planning", len(points), "jobs") as composing:
                jobs = distinct(list(_composed(composer, points, composing.advance)))
            # What all jobs of a folder share, so that they can be compared.
            about = {"typed": composer.fixed_text, "study": self._study()}
            self.store = store = Store(self._folder(jobs, about))
            _refuse_other(store, about)
            plan = self._plan(jobs, store, workers)
            ranking = wanted.ranking
            if ranking is None and plan.measured:
                ranking = (objective_of(plan.measured),)
            slots = self._slots(plan)
            say("\n".join(describe(plan, slots, folder=store.path)))
            if wanted.dry_run:
                return 0
            if ranking is None and (self._searches or wanted.prune is not None):
                raise unknown_metric("sweep=optuna" if wanted.prune is None else "sweep.prune")
            self._prepare(store, about, plan.jobs, ranking)
            search = None
            if self._searches:
                from trainwright.sweep.schedule.search import Search

                assert ranking is not None
                several, job = len(slots) > 1, composer.job
                search = Search(self._swept, store, wanted, ranking, job, several_at_once=several)
            queue = Queue(
                [] if self._searches else jobs,
                store,
                search=search,
                pruning=Pruning.wanted(wanted, ranking, store),
                stacks=[] if plan.stacking is None else plan.stacking.ids,
            )
            launcher = launcher_of(self._context, self._task_function, self._master, store)
            return run_jobs(queue, store, slots, workers, wanted, ranking, launcher)
        finally:
            workers.close()

    def _points(self) -> Iterator[Point]:
        """All points of the sweep; of a search, examples of them."""
        kind, swept = self._settings.kind, self._swept
        if kind == "optuna":
            return probes(swept)
        if kind == "random":
            return drawn(swept, num_trials=self._settings.trials, seed=self._settings.seed)
        return {"grid": grid, "zip": zipped, "union": union}[kind](swept)

    def _study(self) -> list[str]:
        """What a study of Optuna's is about: ranges and metrics, asked by a certain sampler."""
        if not self._searches:
            return []
        asked = [self._settings.sampler, str(self._settings.seed)]
        ranked = [repr(ranked) for ranked in self._settings.ranking or ()]
        return sorted(map(repr, self._swept.axes)) + asked + ranked

    def _folder(self, jobs: Sequence[Job], about: Mapping[str, list[str]]) -> Path:
        """The sweep's folder: the same for the same keys over the same base.

        The values are left out, so that more of them come into the same folder.
        """
        if self._settings.dir is not None:
            return typed_path(self._settings.dir)
        keys = [axis.key for axis in self._swept.axes]
        what = about["study"] or sorted(keys)
        names = sorted({job.name for job in jobs})
        stem = self._settings.name or "-".join(
            [names[0] if len(names) == 1 else "several", *(key.split(".")[-1] for key in keys)]
        )
        stem = "".join(c if c.isalnum() or c in "-_" else "-" for c in stem)[:MAX_NAME].strip("-")
        root = typed_path(DictConfig(jobs[0].config).run.root)
        mark = digest([self._settings.kind, *what, about["typed"]])[:6]
        return root / "sweeps" / f"{stem}-{mark}"

    def _plan(self, jobs: list[Job], store: Store, workers: Workers) -> SweepPlan:
        wanted, num_planned = self._settings, None
        if self._searches:
            seeds = self._swept.seeds
            num_planned = wanted.trials * (1 if seeds is None else len(seeds.values))
            known = {line.id: store.state(line.id)["status"] for line in store.jobs()}
        else:
            known = statuses_of(jobs, store)
        plan = SweepPlan(jobs, known, {}, num_planned)
        if wanted.stack != "off":
            begun = [job_id for job_id, status in known.items() if status == "stopped"]
            alone = [job_id for job_id in begun if not store.state(job_id).get("stacked")]
            plan = replace(plan, stacking=Stacking(wanted.stack, plan.to_do, alone))
        if wanted.rehearse:
            threads = max(1, num_cores() // (wanted.jobs or num_cores()))
            plan.measured.update(
                rehearse(plan.to_do or jobs[:1], workers, threads=threads, stacking=plan.stacking)
            )
        return plan

    def _slots(self, plan: SweepPlan) -> list[Slot]:
        measured = list(plan.measured.values())
        devices = {str(job.config["trainer"]["device"]) for job in plan.jobs}
        on_gpu = any(m["device"] == "cuda" for m in measured) or (
            not measured and devices != {"cpu"}
        )
        threads = {job.config["trainer"]["threads"] for job in plan.jobs} - {None, "auto"}
        memory = max((m["memory"] for m in measured), default=0)

        def slots(num_jobs: int) -> list[Slot]:
            return make_slots(
                wanted=self._settings.jobs,
                num_jobs=max(1, num_jobs),
                threads=max(threads, default=None),
                memory=memory,
                gpus=visible_gpus() if on_gpu else [],
                gpu_memory=max((m["gpu_memory"] for m in measured), default=0),
                devices=max((job.num_ranks for job in plan.jobs), default=1),
            )

        found = slots(plan.num_left)
        if plan.stacking is None:
            return found
        num_at_once = len(found) if not on_gpu else 1  # a GPU is filled by one stack
        plan.stacking.share_out(num_at_once, members_held(memory, num_at_once))
        num_stacked = sum(map(len, plan.stacking.stacks))
        return slots(len(plan.to_do) - num_stacked + len(plan.stacking.stacks))

    def _prepare(
        self,
        store: Store,
        about: Mapping[str, list[str]],
        jobs: Sequence[Job],
        ranking: Ranking | None,
    ) -> None:
        """Make the folder, note the plan, take over what other sweeps have finished."""
        store.prepare()
        store.write_plan(
            {
                "command": self._command,
                "single": self._single,
                "about": about,
                "kind": self._settings.kind,
                "keys": [axis.key for axis in self._swept.axes],
                "by_logarithm": {a.key: a.interval.log for a in self._swept.axes if a.interval},
                "ranked": None if ranking is None else [asdict(ranked) for ranked in ranking],
                "pictures": self._settings.pictures,
                "begun": time.time(),
            }
        )
        if self._searches:
            return
        store.add(jobs)
        missing = [job.id for job in jobs if store.state(job.id)["status"] == "planned"]
        for job_id, other in store.finished_elsewhere(missing).items():
            store.adopt(job_id, other)


def _refuse_other(store: Store, about: Mapping[str, list[str]]) -> None:
    """Raise ConfigError where the folder that was typed holds a sweep of other jobs."""
    if not (store.inner / "plan.json").exists():
        return
    plan = store.plan()
    before = plan.get("about", about)
    if before != about:
        typed = sorted({*before["typed"]} ^ {*about["typed"]})
        what = ", ".join(typed[:3]) or "the values, metrics, sampler or seed of a search"
        raise ConfigError(
            f"sweep.dir={store.path} holds another sweep: {plan['command']}\n"
            f"  what differs: {what}\n"
            "  choose another folder: what is finished there need not be done again"
        )


def _composed(
    composer: Composer, points: Sequence[Point], advance: Callable[[], object]
) -> Iterator[Job]:
    """The jobs of all points. Raises the first error, with the number of points that have one."""
    wrong: list[tuple[str, TrainwrightError]] = []
    for number, point in enumerate(points):
        words = [f"{key}={value}" for key, value in point.items()]
        try:
            yield composer.job(number, point)
        except TrainwrightError as error:
            wrong.append((" ".join(words), error))
        except ConfigCompositionException as error:
            wrong.append((" ".join(words), _no_such_key(error, [*composer.fixed_text, *words])))
        advance()
    if wrong:
        label, first = wrong[0]
        raise mistake(label, str(first), first.exit_code, num_others=len(wrong) - 1)


def _no_such_key(error: ConfigCompositionException, words: Sequence[str]) -> ConfigError:
    """What Hydra says of a key that the options of this job lack; any other error goes on."""
    found = re.search(r"Could not override '([^']+)'", str(error))
    if found is None:
        raise error
    return no_such_key(found[1], words)
