"""What a run has learned, rebuilt from a checkpoint alone: no dataset, no folder, no optimizer."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from trainwright.config.plan import Plan
from trainwright.config.stored import stored_plan
from trainwright.data.batches import Batches
from trainwright.data.dataset import DataInfo
from trainwright.data.examples import Batch, Split
from trainwright.engine.checkpoint import checkpoint
from trainwright.engine.checkpoint.calibration import (
    Calibration,
    calibration_file,
    read_calibration,
)
from trainwright.engine.checkpoint.metadata import data_info
from trainwright.engine.device.device import Placement
from trainwright.engine.settings import Precision
from trainwright.errors import CheckpointError, ConfigError
from trainwright.nn.views import TestTimeAugmentation
from trainwright.run.assemble.assemble import build_task, move_task, place_task
from trainwright.run.assemble.rehearsal import check_network
from trainwright.run.resume.recover import read
from trainwright.seeds import reseed_global
from trainwright.tasks.task import Task, can, kind_of


@dataclass(frozen=True)
class Trained:
    """A task with its trained weights, averaged where there are averages, ready to be used."""

    path: Path  # of the checkpoint
    step: int
    plan: Plan
    info: DataInfo
    task: Task
    placement: Placement
    metadata: Mapping[str, Any]  # of the checkpoint
    calibration: Calibration | None = None  # what the task divides its logits by
    notes: tuple[str, ...] = ()  # what a person should know of how it was opened


def load_trained(
    path: Path,
    *,
    trust: Iterable[str] = (),
    device: str = "auto",
    precision: Precision | None = None,
    calibrated: bool = True,
) -> Trained:
    """Read a checkpoint and build what it was made by.

    `trust`: classes of the user's own that it may build; `precision`: another than the run's own
    setting; `calibrated`: with the temperature that `runs calibrate` has kept beside it. Raises
    CheckpointError for a file that is damaged or not of a run, ConfigError for a class that is not
    trusted or a device that is not there.
    """
    found = read(path)
    tensors, metadata = found.tensors, found.metadata
    plan = stored_plan(path, metadata, trust)
    info = data_info(metadata)
    # Where it computed then is no matter now: a run may come from another machine.
    if precision is None:
        precision = "auto" if plan.settings.precision == "fp16" else plan.settings.precision
    here = replace(plan.settings, device=device, threads=None, precision=precision)
    plan = replace(plan, settings=here)
    check_network(path, plan, metadata, tensors)
    try:
        task = build_task(plan, info, architecture=metadata.get("architecture", {}))
        task.load_state_dict(checkpoint.under("task", tensors))
        for name in task.averaged_players:
            averaged = checkpoint.under(f"averaged.{name}", tensors)
            if averaged:
                task.players[name].load_state_dict(averaged)
        step = found.step
    except (RuntimeError, MemoryError, KeyError, TypeError, ValueError) as error:
        first = next(iter(str(error).splitlines()), type(error).__name__)
        raise CheckpointError(
            f"{path}: its weights do not fit the network of its config\n  {first[:200]}"
        ) from error
    placement = place_task(plan.settings, task, info, group="")
    move_task(task, placement)
    task.eval()
    calibration, note = read_calibration(path) if calibrated else (None, "")
    if calibration is not None:
        if not can(task, "take_temperature"):
            raise CheckpointError(
                f"{calibration_file(path)}: a {kind_of(task)} has no temperature; delete the file"
            )
        task.take_temperature(calibration.temperature)  # type: ignore[operator]
    notes = (note,) if note else ()
    return Trained(path, step, plan, info, task, placement, metadata, calibration, notes)


def batches_of(trained: Trained, split: Split) -> Batches:
    """The batches of a split as the trained network sees them."""
    placement = trained.placement
    return Batches(
        split,
        trained.task.columns,
        batch_size=trained.plan.settings.batch_size,
        seed=trained.plan.seed,
        device=placement.device,
        memory_format=placement.memory_format,
    )


def in_order(trained: Trained, split: Split, *, limit: int | None = None) -> Iterator[Batch]:
    """The examples of a split once, in its order, in batches for evaluation.

    Of more than `limit` as many, spread evenly.
    """
    batch_size = trained.plan.settings.evaluate_batch_size
    return batches_of(trained, split).in_order(batch_size, limit=limit)


@torch.no_grad()
def told_of_each(
    trained: Trained, tell: Callable[[Batch], Tensor], batches: Iterable[Batch]
) -> Tensor:
    """What is told of each example, (N, ...) float32 on the CPU; the same draws every time."""
    found = []
    for number, batch in enumerate(batches):
        reseed_global(trained.plan.seed, "tell", number, device=trained.placement.device)
        with trained.placement.autocast():
            found.append(tell(batch).float().cpu())
    return torch.cat(found)


def take_views(trained: Trained, tta: TestTimeAugmentation) -> None:
    """Let the task say the mean over these views of each image, whatever it was trained with.

    Raises ConfigError for a task that has no such views, and for data that hold no images.
    """
    if not can(trained.task, "take_views"):
        raise ConfigError(
            f"tta={tta} is for classifiers, and this run is a {kind_of(trained.task)}: leave it out"
        )
    try:
        trained.task.take_views(tta)  # type: ignore[operator]
    except ValueError as error:
        raise ConfigError(str(error)) from None


def ability(trained: Trained, name: str, does: str) -> Any:
    """A method of the task that not every one has; `does`: what it is for, as a verb.

    Raises ConfigError for a task without it.
    """
    if not can(trained.task, name):
        others = [command for ability, command in ABILITIES.items() if can(trained.task, ability)]
        raise ConfigError(
            f"this run does not {does}: it is a {kind_of(trained.task)}\n"
            f"  try: {', or '.join([*others, 'runs evaluate RUN'])}"
        )
    return getattr(trained.task, name)


ABILITIES = {
    "predict": "runs predict RUN FILES...",
    "generate": "runs sample RUN",
}
