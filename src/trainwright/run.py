"""One run, from a config to a finished folder: what `train` does for each job."""

import logging
import platform
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf

from trainwright import __version__
from trainwright.assemble import Assembly, assemble
from trainwright.engine import checkpoint
from trainwright.engine.hook import Hook
from trainwright.engine.state import Evaluation
from trainwright.engine.trainer import fit
from trainwright.errors import ConfigError, NonFiniteError, OutOfMemoryError, TrainwrightError
from trainwright.finish import finish
from trainwright.hooks.early_stop import EarlyStop
from trainwright.hooks.evaluate import Evaluate
from trainwright.hooks.log import Log, rewind
from trainwright.hooks.progress import Progress
from trainwright.hooks.samples import Samples
from trainwright.hooks.save import Save
from trainwright.report.text import format_count, format_duration, metrics_text
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
    assembly = assemble(request.config, allow=None if resume is None else resume.allow)
    stopping = _early_stop(assembly)
    if resume is None:
        folder = _new_folder(request)
    else:
        folder = resume.folder
        checkpoint.restore(assembly.state, resume.tensors, resume.metadata["progress"])
        for hook in stopping:
            hook.load_state_dict(resume.metadata["hooks"].get(type(hook).__name__, {}))
        rewind(folder.metrics, assembly.state.step)
    summary = _first_summary(request, assembly)
    folder.write_text("config.yaml", OmegaConf.to_yaml(request.config, resolve=True))
    folder.write_text("overrides.txt", "".join(f"{line}\n" for line in request.overrides))
    folder.write_summary(summary)
    handler = logging.FileHandler(folder.log)
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    root = logging.getLogger("trainwright")
    root.addHandler(handler)
    try:
        _announce(request, assembly, folder)
        received = _train(request, assembly, folder, stopping, summary)
        if received is not None:
            folder.write_summary({**summary, "status": "stopped"})
            step = assembly.state.step
            log.info("saved step %d; go on with: train trainer.resume=%s", step, folder.path)
            return Outcome(folder.path, None, received)
        test = finish(assembly, folder)
        summary |= {"status": "finished", "test": test}
        summary["total_seconds"] = round(time.perf_counter() - started, 3)
        folder.write_summary(summary)
        _report(assembly, folder, summary)
        return Outcome(folder.path, _objective_value(assembly))
    except Exception as error:
        folder.write_summary({**summary, "status": "failed", "error": str(error)})
        if isinstance(error, torch.OutOfMemoryError | MemoryError):
            raise _out_of_memory(assembly, folder) from error
        raise
    finally:
        root.removeHandler(handler)
        handler.close()


def _train(
    request: Request,
    assembly: Assembly,
    folder: RunFolder,
    stopping: list[EarlyStop],
    summary: Summary,
) -> int | None:
    """Train until the end or a stop; returns the number of a signal that asked for it."""
    state, settings, clock = assembly.state, assembly.settings, assembly.state.clock
    evaluate_every = clock.steps(settings.evaluate_every)
    save = Save(
        folder,
        _facts(request, assembly),
        stopping,
        every=clock.steps(settings.save_every),
        evaluate_every=evaluate_every,
    )
    progress = Progress(batch_size=settings.batch_size, start=state.step, total=clock.total_steps)
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
    with StopRequests(state) as requests:
        try:
            fit(state, assembly.train, hooks, settings)
        except NonFiniteError as error:
            kept = folder.last if folder.last.exists() else "none yet"
            raise NonFiniteError(f"{error}\n  last good checkpoint: {kept}") from error
        finally:
            progress.close()
        seconds = time.perf_counter() - begun
        if state.step < clock.total_steps:
            save.save(state)
        summary |= {
            "step": state.step,
            "seconds": round(seconds, 3),
            "examples_per_second": round(
                (state.step - first_step) * settings.batch_size / max(seconds, 1e-9), 1
            ),
            "stopped_because": state.stop_reason,
            "best": _evaluation(state.best),
            "last": _evaluation(state.last),
        }
        return requests.received


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
        "parameters": _parameter_counts(assembly),
        "steps": assembly.state.clock.total_steps,
        "placement": assembly.state.placement.describe(),
        "versions": _versions(),
    }


def _parameter_counts(assembly: Assembly) -> dict[str, int]:
    players = assembly.state.task.players
    return {name: sum(p.numel() for p in player.parameters()) for name, player in players.items()}


def _announce(request: Request, assembly: Assembly, folder: RunFolder) -> None:
    """Say what was chosen, and where the run goes."""
    data, state, settings = assembly.dataset, assembly.state, assembly.settings
    shape = "x".join(str(size) for size in data.info.input_shape)
    classes = f", {data.info.num_classes} classes" if data.info.num_classes else ""
    parts = (
        f"{len(data.train):,} train, {len(data.validation):,} validation, {len(data.test):,} test"
    )
    log.info("%s: %s examples of %s%s", data.info.name, parts, shape, classes)
    counts = _parameter_counts(assembly)
    sizes = ", ".join(f"{name} {format_count(count)}" for name, count in counts.items())
    log.info("parameters: %s", sizes)
    log.info("computing on: %s", state.placement.describe())
    total = state.clock.total_steps
    epochs = state.clock.epochs(total)
    log.info("steps: %s of %d (%.3g epochs)", format_count(total), settings.batch_size, epochs)
    if request.resume is not None:
        log.info("resumed at step %d", state.step)
    log.info("folder: %s", folder.path)


def _report(assembly: Assembly, folder: RunFolder, summary: Summary) -> None:
    """Say how it went."""
    metric = assembly.state.task.objective.metric
    for name in ("best", "last"):
        evaluation = summary[name]
        if evaluation is not None:
            text = metrics_text(evaluation["metrics"], objective=metric)
            log.info("%s: step %d, validation %s", name, evaluation["step"], text)
    log.info("test (best weights): %s", metrics_text(summary["test"], objective=metric))
    rate = f"{summary['examples_per_second']:,.0f} examples/s"
    trained, total = format_duration(summary["seconds"]), format_duration(summary["total_seconds"])
    log.info("time: %s training at %s, %s in all", trained, rate, total)
    grids = sorted(folder.samples.glob("*.png"))
    if grids:
        log.info("samples: %s", grids[-1])
    else:
        log.info("folder: %s", folder.path)


def _objective_value(assembly: Assembly) -> float | None:
    best = assembly.state.best
    return None if best is None else best.metrics[assembly.state.task.objective.metric]


def _evaluation(evaluation: Evaluation | None) -> dict[str, Any] | None:
    return None if evaluation is None else asdict(evaluation)


def _out_of_memory(assembly: Assembly, folder: RunFolder) -> TrainwrightError:
    return OutOfMemoryError(
        f"out of memory with trainer.batch_size={assembly.settings.batch_size}\n"
        "  lower it, or compute each batch in parts: trainer.accumulate=2\n"
        f"  run folder: {folder.path}"
    )
