"""One run, from a config to a finished folder: what `train` does for each job."""

import contextlib
import logging
import platform
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf

from trainwright import __version__
from trainwright.announce import announce, parameter_counts, report
from trainwright.assemble import Assembly, assemble
from trainwright.engine import checkpoint
from trainwright.engine.hook import Hook
from trainwright.engine.state import Evaluation
from trainwright.engine.trainer import fit
from trainwright.errors import ConfigError, OutOfMemoryError, TrainwrightError
from trainwright.finish import finish
from trainwright.hooks.early_stop import EarlyStop
from trainwright.hooks.evaluate import Evaluate
from trainwright.hooks.log import Log, rewind
from trainwright.hooks.progress import Progress
from trainwright.hooks.samples import Samples
from trainwright.hooks.save import Save
from trainwright.rollback import Rollback
from trainwright.runfolder import RunFolder
from trainwright.signals import StopRequests
from trainwright.tasks.task import Objective

log = logging.getLogger(__name__)
Summary = dict[str, Any]


@dataclass(frozen=True)
class Resume:
    """An earlier run, read and checked, and the targets that its config may build."""

    folder: RunFolder
    tensors: dict[str, torch.Tensor]
    metadata: dict[str, Any]
    allow: frozenset[str]


@dataclass(frozen=True)
class Request:
    """What was asked for: the config, what was typed, the run's name, a run to go on with."""

    config: DictConfig
    overrides: Sequence[str]
    name: str
    resume: Resume | None = None


@dataclass(frozen=True)
class Outcome:
    """How a run ended: its folder, its best objective, the number of a signal that stopped it."""

    folder: Path
    objective: float | None
    signal: int | None = None


def run(request: Request) -> Outcome:
    """Train to the end, test once with the best weights, draw, and summarise.

    Everything that can be refused is refused before the run folder is made. Raises
    TrainwrightError; once there is a folder, its summary.json says that the run failed, and why.
    """
    started = time.perf_counter()
    resume = request.resume
    try:
        assembly = assemble(request.config, allow=None if resume is None else resume.allow)
    except Exception as error:
        if _is_out_of_memory(error):
            raise OutOfMemoryError(
                "out of memory while the model was built: make it smaller"
            ) from error
        raise
    stopping = _early_stop(assembly)
    # From the moment there is a folder, a signal stops the run between two steps.
    with contextlib.ExitStack() as until_trained:
        requests = until_trained.enter_context(StopRequests(assembly.state))
        folder = _folder(request, assembly, stopping)
        summary = _first_summary(request, assembly)
        folder.write_summary(summary)
        with _logged_to(folder.log):
            try:
                announce(assembly, folder)
                _train(request, assembly, folder, stopping, summary)
                if requests.received is not None:
                    folder.write_summary({**summary, "status": "stopped"})
                    step = assembly.state.step
                    log.info("saved step %d; go on: train trainer.resume=%s", step, folder.path)
                    return Outcome(folder.path, None, requests.received)
                until_trained.close()
                test = finish(assembly, folder)
                summary |= {"status": "finished", "test": test}
                summary["total_seconds"] = round(time.perf_counter() - started, 3)
                folder.write_summary(summary)
                report(assembly, folder, summary)
                return Outcome(folder.path, _objective_value(assembly))
            except KeyboardInterrupt:
                folder.write_summary({**summary, "status": "stopped"})
                raise
            except Exception as error:
                folder.write_summary({**summary, "status": "failed", "error": str(error)})
                if _is_out_of_memory(error):
                    raise _out_of_memory(assembly, folder) from error
                raise


def _folder(request: Request, assembly: Assembly, stopping: list[EarlyStop]) -> RunFolder:
    """A new folder, or that of the earlier run, whose state is then put in place."""
    resume = request.resume
    if resume is None:
        folder, typed = _new_folder(request), []
    else:
        folder, typed = resume.folder, resume.folder.overrides()
        checkpoint.restore(assembly.state, resume.tensors, resume.metadata["progress"])
        _check_length(assembly)
        for hook in stopping:
            hook.load_state_dict(resume.metadata["hooks"].get(type(hook).__name__, {}))
        rewind(folder.metrics, assembly.state.step)
    folder.write_text("config.yaml", OmegaConf.to_yaml(request.config, resolve=True))
    lines = [*typed, *request.overrides]
    folder.write_text("overrides.txt", "".join(f"{line}\n" for line in lines))
    return folder


@contextlib.contextmanager
def _logged_to(path: Path) -> Iterator[None]:
    """While this context is open, what the console shows is kept in a file too."""
    handler = logging.FileHandler(path)
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    root = logging.getLogger("trainwright")
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)
        handler.close()


def _train(
    request: Request,
    assembly: Assembly,
    folder: RunFolder,
    stopping: list[EarlyStop],
    summary: Summary,
) -> None:
    """Train until the end or a stop, and note in `summary` how far that was."""
    state, settings, clock = assembly.state, assembly.settings, assembly.state.clock
    evaluate_every = clock.steps(settings.evaluate_every)
    save = Save(
        folder,
        _facts(request, assembly),
        stopping,
        every=clock.steps(settings.save_every),
        evaluate_every=evaluate_every,
    )
    progress = Progress(
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
        Log(folder.metrics, every=clock.steps(settings.log_every), evaluate_every=evaluate_every),
        *stopping,
        Samples(folder, every=clock.steps(settings.sample_every)),
        save,
        progress,
    ]
    first_step, begun = state.step, time.perf_counter()

    def train() -> None:
        fit(state, assembly.train, hooks, settings)
        # Stopped between two saves, or never asked to save: what there is must not be lost.
        if state.step < clock.total_steps or not folder.best.exists():
            save.save(state)

    try:
        Rollback(state, stopping, folder, save, settings).fit(train)
    finally:
        progress.close()
    seconds = time.perf_counter() - begun
    summary |= {
        "step": state.step,
        "seconds": round(seconds, 3),
        "examples_per_second": round(
            (state.step - first_step) * settings.batch_size / max(seconds, 1e-9), 1
        ),
        "stopped_because": state.stop_reason,
        "best": _evaluation(state.best),
        "last": _evaluation(state.last),
        "skipped_steps": state.recovery.num_skipped,
        "rollbacks": state.recovery.num_rollbacks,
    }


def _early_stop(assembly: Assembly) -> list[EarlyStop]:
    """The hook that stops early, if that is asked for."""
    wanted, objective = assembly.settings.early_stopping, assembly.state.task.objective
    if wanted.patience is None:
        return []
    if wanted.metric is not None and wanted.metric != objective.metric:
        if wanted.mode is None:
            raise ConfigError(
                f"trainer.early_stopping.metric={wanted.metric}: say which way is better\n"
                "  add trainer.early_stopping.mode=min or =max"
            )
        objective = Objective(wanted.metric, wanted.mode == "max")
    every = assembly.state.clock.steps(assembly.settings.evaluate_every)
    if every <= 0:
        raise ConfigError("trainer.early_stopping needs evaluations: trainer.evaluate_every is 0")
    return [EarlyStop(objective, every=every, patience=wanted.patience, min_delta=wanted.min_delta)]


def _new_folder(request: Request) -> RunFolder:
    wanted = request.config.run
    exact = None if wanted.dir is None else Path(wanted.dir).expanduser()
    return RunFolder.create(Path(wanted.root).expanduser(), request.name, exact=exact)


def _facts(request: Request, assembly: Assembly) -> dict[str, Any]:
    """What a checkpoint needs besides the state, to be used without its dataset or its folder."""
    normalisation = assembly.state.task.normalisation
    return {
        "name": request.name,
        "config": OmegaConf.to_container(request.config, resolve=True),
        "data": asdict(assembly.dataset.info),
        "normalisation": {"scale": normalisation.scale, "shift": normalisation.shift},
        "versions": _versions(),
        "placement": assembly.state.placement.describe(),
    }


def _versions() -> dict[str, str]:
    return {
        "trainwright": __version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def _first_summary(request: Request, assembly: Assembly) -> Summary:
    return {
        "status": "running",
        "name": request.name,
        "objective": assembly.state.task.objective.metric,
        "parameters": parameter_counts(assembly),
        "steps": assembly.state.clock.total_steps,
        "placement": assembly.state.placement.describe(),
        "versions": _versions(),
    }


def _objective_value(assembly: Assembly) -> float | None:
    best = assembly.state.best
    return None if best is None else best.metrics[assembly.state.task.objective.metric]


def _evaluation(evaluation: Evaluation | None) -> dict[str, Any] | None:
    return None if evaluation is None else asdict(evaluation)


def _check_length(assembly: Assembly) -> None:
    """Raise ConfigError for a length that the run has already gone beyond."""
    step, total = assembly.state.step, assembly.state.clock.total_steps
    if step > total:
        raise ConfigError(
            f"trainer.steps={total}: the run has already made {step} steps\n"
            "  it can only be made longer; to end it here, leave it as it is"
        )


def _is_out_of_memory(error: Exception) -> bool:
    """Whether memory ran out; for the memory of the CPU torch has no error of its own."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)


def _out_of_memory(assembly: Assembly, folder: RunFolder) -> TrainwrightError:
    return OutOfMemoryError(
        f"out of memory with trainer.batch_size={assembly.settings.batch_size}\n"
        "  lower it, or compute each batch in parts: trainer.accumulate=2\n"
        f"  run folder: {folder.path}"
    )
