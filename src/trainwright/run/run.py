"""One run, from a config to a finished folder: what `train` does for each job."""

import contextlib
import logging
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from trainwright.config.stored import resume_command
from trainwright.data.dataset import Dataset
from trainwright.engine import checkpoint
from trainwright.engine.hook import Hook
from trainwright.engine.memory import is_out_of_memory
from trainwright.engine.moves import Training
from trainwright.engine.trainer import drive, fitting
from trainwright.errors import DiskError, OutOfMemoryError
from trainwright.files import write_text
from trainwright.hooks.evaluate import Evaluate
from trainwright.hooks.health import HealthCheck
from trainwright.hooks.log import Log
from trainwright.hooks.progress import Progress
from trainwright.hooks.prune import Prune
from trainwright.hooks.samples import Samples
from trainwright.hooks.save import Save
from trainwright.hooks.send import Send
from trainwright.lock import RunLock
from trainwright.run.announce import announce, lineage_lines, report
from trainwright.run.assemble import Assembly, assemble
from trainwright.run.changes import begin_anew
from trainwright.run.connect import connect_loggers, sending
from trainwright.run.continuing import Resume, put_back
from trainwright.run.finish import finish
from trainwright.run.logfile import logged_to
from trainwright.run.records import (
    Summary,
    facts,
    first_summary,
    kept_config,
    progress,
    read_summary,
)
from trainwright.run.rehearsal import check_network, rehearse
from trainwright.run.rollback import Rollback
from trainwright.run.signals import StopRequests
from trainwright.run.stopping import stopping_hooks
from trainwright.run.translate import in_our_words
from trainwright.runfolder import RunFolder

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Request:
    """What was asked for: the config, what was typed, the run's name, a run to go on with.

    `dataset`: the data of the config, where it is in memory already. `prune` may stop the run.
    `draws` is asked at its end whether its pictures are wanted; None: they are.
    `stacked`: its steps are made together with those of other runs.
    """

    config: DictConfig
    overrides: Sequence[str]
    name: str
    resume: Resume | None = None
    dataset: Dataset | None = None
    prune: Prune | None = None
    draws: Callable[[], bool] | None = None
    stacked: bool = False


@dataclass(frozen=True)
class Outcome:
    """How a run ended: its folder, its best objective, the number of a signal that stopped it."""

    folder: Path
    objective: float | None
    signal: int | None = None


def run(request: Request) -> Outcome:
    """What `running` does, alone: every step is made when it is asked for."""
    return drive(running(request))


def running(request: Request) -> Training[Outcome]:
    """Train to the end, test once with the best weights, draw, and summarise.

    Everything that can be refused is refused before the run folder is made. Raises
    TrainwrightError; once there is a folder, its summary.json says that the run failed, and why.
    """
    with contextlib.ExitStack() as until_ended:
        resume = request.resume
        if resume is not None:
            until_ended.enter_context(resume.lock)
        started = time.perf_counter()
        allow = None if resume is None else resume.allow
        rehearse(request.config, allow=allow)
        if resume is not None:
            found = resume.found
            check_network(request.config, found.metadata, found.tensors, allow=allow)
        loggers = connect_loggers(request.config, allow=allow)
        try:
            again = None if resume is None else resume.found.metadata
            assembly = assemble(request.config, allow=allow, dataset=request.dataset, again=again)
        except Exception as error:
            if is_out_of_memory(error):
                raise OutOfMemoryError(
                    "out of memory while the model was built: make it smaller"
                ) from error
            raise
        if request.stacked:
            assembly.state.placement = assembly.state.placement.shared()
        stopping = stopping_hooks(assembly)
        # From the moment there is a folder, a signal stops the run between two steps.
        requests = until_ended.enter_context(StopRequests(assembly.state))
        summary = first_summary(request.name, assembly)
        folder = _new_folder(request) if resume is None else resume.folder
        try:
            notes = _begin(request, assembly, folder, stopping, summary, until_ended)
        except DiskError as error:
            raise _explained(error, request, assembly, folder) from error
        until_ended.enter_context(logged_to(folder.log))
        announce(assembly, folder, notes)
        send = until_ended.enter_context(
            sending(loggers, folder, request.name, kept_config(request.config), assembly)
        )
        return (
            yield from _train_and_finish(
                request, assembly, folder, stopping, send, requests, summary, started
            )
        )


def _begin(
    request: Request,
    assembly: Assembly,
    folder: RunFolder,
    stopping: Sequence[Hook],
    summary: Summary,
    until_ended: contextlib.ExitStack,
) -> Sequence[str]:
    """Make the folder that of a run under way; returns what a person should know about that."""
    resume = request.resume
    if resume is None:
        until_ended.enter_context(RunLock(folder.path).acquire())
        notes: Sequence[str] = lineage_lines(assembly)
    else:
        going_on = put_back(resume, assembly, stopping)
        notes = going_on.lines()
        before = read_summary(folder)
        resumed = before.get("resumed")
        summary["started"] = before.get("started")
        summary["resumed"] = [*(resumed if isinstance(resumed, list) else []), going_on.record()]
    _note_request(request, folder)
    folder.write_summary(summary)
    return notes


def _train_and_finish(
    request: Request,
    assembly: Assembly,
    folder: RunFolder,
    stopping: Sequence[Hook],
    send: Send,
    requests: StopRequests,
    summary: Summary,
    started: float,
) -> Training[Outcome]:
    """All that happens in the folder; however it ends, the summary says so."""
    go_on = f"go on: {resume_command(folder.path, request.config)}"
    try:
        yield from _train(request, assembly, folder, stopping, send, summary)
        if requests.received is not None:
            folder.write_summary({**summary, "status": "stopped"})
            log.info("saved step %d; %s", assembly.state.step, go_on)
            return Outcome(folder.path, None, requests.received)
        if request.prune is not None and request.prune.has_stopped:
            folder.write_summary({**summary, "status": "pruned"})
            return Outcome(folder.path, _objective_value(assembly))
        requests.leave_at_once()  # there is nothing left to save
        draws = assembly.settings.plots and (request.draws is None or request.draws())
        test = finish(assembly, folder, with_pictures=draws)
        summary |= {"status": "finished", "test": test}
        summary["total_seconds"] = round(time.perf_counter() - started, 3)
        folder.write_summary(summary)
        report(assembly, folder, summary)
        return Outcome(folder.path, _objective_value(assembly))
    except KeyboardInterrupt:
        folder.write_summary({**summary, "status": "stopped"})
        step = checkpoint.saved_step(folder.last)
        log.info("nothing was saved" if step is None else f"saved is step {step}; {go_on}")
        if requests.received != signal.SIGTERM:
            raise
        return Outcome(folder.path, None, requests.received)
    except Exception as error:
        failure = _explained(error, request, assembly, folder)
        with contextlib.suppress(DiskError):  # of two failures the first is told
            folder.write_summary({**summary, "status": "failed", "error": str(failure)})
        if failure is error:
            raise
        raise failure from error


def _note_request(request: Request, folder: RunFolder) -> None:
    """Write down what runs, and add what was typed to what was typed before."""
    write_text(folder.path / "config.yaml", OmegaConf.to_yaml(kept_config(request.config)))
    lines = [*folder.overrides(), *request.overrides]
    write_text(folder.path / "overrides.txt", "".join(f"{line}\n" for line in lines))


def _train(
    request: Request,
    assembly: Assembly,
    folder: RunFolder,
    stopping: Sequence[Hook],
    send: Send,
    summary: Summary,
) -> Training[None]:
    """Train until the end or a stop, and note in `summary` how far that was."""
    state, settings, clock = assembly.state, assembly.settings, assembly.state.clock
    evaluate_every = clock.steps(settings.evaluate_every)
    save = Save(
        folder,
        {**facts(request.name, request.config, assembly), "resumed": _resumed(request)},
        stopping,
        every=clock.steps(settings.save_every),
        evaluate_every=evaluate_every,
        step_of_last=None if request.resume is None else state.step,
    )
    bar = Progress(
        batch_size=settings.batch_size,
        start=state.step,
        total=clock.total_steps,
        unit="images" if assembly.dataset.info.is_image else "examples",
    )
    hooks: list[Hook] = [
        Evaluate(
            assembly.make_batches(assembly.dataset.validation),
            every=evaluate_every,
            batch_size=settings.evaluate_batch_size,
        ),
        *stopping,
        *([] if request.prune is None else [request.prune]),
        Log(folder.metrics, every=clock.steps(settings.log_every), evaluate_every=evaluate_every),
        Samples(folder, every=clock.steps(settings.sample_every)),
        send,
        save,
        bar,
    ]
    first_step, begun = state.step, time.perf_counter()

    def train() -> Training[None]:
        yield from fitting(state, assembly.train, hooks, settings)
        # Stopped between two saves, or never asked to save: what there is must not be lost.
        is_unfinished = state.step < clock.total_steps or state.to_be_done is not None
        if is_unfinished or not folder.best.exists():
            save.save(state)

    try:
        yield from Rollback(state, stopping, folder, save, settings).fit(train)
    finally:
        bar.close()
    seconds = time.perf_counter() - begun
    summary |= progress(assembly, first_step=first_step, seconds=seconds)
    for hook in stopping:
        if isinstance(hook, HealthCheck):
            summary["health"] = hook.course


def _resumed(request: Request) -> dict[str, Any] | None:
    """Where a run went on and what began anew there, for who replays it."""
    resume = request.resume
    if resume is None:
        return None
    return {"step": resume.found.step, "anew": sorted(begin_anew(resume.changes))}


def _new_folder(request: Request) -> RunFolder:
    wanted = request.config.run
    exact = None if wanted.dir is None else Path(wanted.dir).expanduser()
    return RunFolder.create(Path(wanted.root).expanduser(), request.name, exact=exact)


def _objective_value(assembly: Assembly) -> float | None:
    best = assembly.state.best
    return None if best is None else best.metrics[assembly.state.task.objective.metric]


def _explained(
    error: Exception, request: Request, assembly: Assembly, folder: RunFolder
) -> Exception:
    """The error with what a person needs to go on, where there is more to say."""
    go_on = resume_command(folder.path, request.config)
    return in_our_words(error, assembly, folder, go_on) or error
