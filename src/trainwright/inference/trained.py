"""What a run has learned, rebuilt from a checkpoint alone: no dataset, no folder, no optimizer."""

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from trainwright.config.build import settings
from trainwright.config.stored import stored_config, trusted_targets
from trainwright.data.dataset import DataInfo
from trainwright.engine.checkpoint import checkpoint
from trainwright.engine.checkpoint.metadata import data_info
from trainwright.engine.device.device import Placement
from trainwright.engine.settings import TrainerSettings
from trainwright.errors import CheckpointError, ConfigError
from trainwright.run.assemble.assemble import build_task, move_task, place_task
from trainwright.run.assemble.rehearsal import check_network
from trainwright.run.resume.recover import read
from trainwright.tasks.classifier import Classifier
from trainwright.tasks.task import Task
from trainwright.tasks.views import TestTimeAugmentation, check_views


@dataclass(frozen=True)
class Trained:
    """A task with its trained weights, averaged where there are averages, ready to be used."""

    path: Path  # of the checkpoint
    step: int
    config: DictConfig
    allow: frozenset[str]  # what may be built from that config
    info: DataInfo
    task: Task
    settings: TrainerSettings
    placement: Placement
    metadata: Mapping[str, Any]  # of the checkpoint


def load_trained(path: Path, *, trust: Iterable[str] = (), device: str = "auto") -> Trained:
    """Read a checkpoint and build what it was made by.

    `trust`: classes of the user's own that it may build. Raises CheckpointError for a file that is
    damaged or not of a run, ConfigError for a class that is not trusted or a device that is not
    there.
    """
    found = read(path)
    tensors, metadata = found.tensors, found.metadata
    config = stored_config(path, metadata)
    allow = trusted_targets(config, trust)
    info = data_info(metadata)
    options = settings(TrainerSettings, config.trainer, key="trainer")
    # Where it computed then is no matter now: a run may come from another machine.
    precision = "auto" if options.precision == "fp16" else options.precision
    options = dataclasses.replace(options, device=device, threads=None, precision=precision)
    check_network(config, metadata, tensors, allow=allow)
    try:
        task = build_task(config, info, config.seed, allow)
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
    placement = place_task(options, task, info)
    move_task(task, placement)
    task.eval()
    return Trained(path, step, config, allow, info, task, options, placement, metadata)


def take_views(trained: Trained, tta: TestTimeAugmentation) -> None:
    """Let the task say the mean over these views of each image, whatever it was trained with.

    Raises ConfigError for a task that is no classifier, and for data that hold no images.
    """
    if not isinstance(trained.task, Classifier):
        kind = type(trained.task).__name__.removesuffix("Task")
        raise ConfigError(f"tta={tta} is for classifiers, and this run is a {kind}: leave it out")
    try:
        check_views(tta, trained.info.input_shape)
    except ValueError as error:
        raise ConfigError(str(error)) from None
    trained.task.tta = tta
