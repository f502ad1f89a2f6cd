"""Put a run together from its config: data, task, optimizers, schedule, state."""

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from omegaconf import DictConfig
from torch import Tensor, nn
from torch.optim import Optimizer

from trainwright.config.build import build, check, section, settings
from trainwright.config.from_environment import environment_keys
from trainwright.data.batches import Batches, train_examples
from trainwright.data.dataset import DataInfo, Dataset, Split
from trainwright.data.images.augment import make_augment
from trainwright.engine.checkpoint.tensor_file import unfit
from trainwright.engine.clock import Clock
from trainwright.engine.device.device import Placement, in_format, place
from trainwright.engine.fast.compiled import compile_networks
from trainwright.engine.fast.image_convolutions import quicken_image_convolutions
from trainwright.engine.fast.layout import keep_channels_last
from trainwright.engine.nonfinite import first_nonfinite
from trainwright.engine.optim.averages import AveragedTask
from trainwright.engine.optim.scaling import LossScale
from trainwright.engine.schedule import Schedule
from trainwright.engine.settings import TrainerSettings
from trainwright.engine.state import TrainState
from trainwright.errors import ConfigError
from trainwright.run.assemble.cuda_graph import with_graph
from trainwright.run.assemble.optimization import Slower, build_optimizers, build_schedule
from trainwright.run.assemble.own_network import check_learnable, check_outputs
from trainwright.run.fork.fork import fork_of
from trainwright.run.fork.lineage import Lineage
from trainwright.run.judging.attach import attach_judge
from trainwright.score.judge import Judge
from trainwright.seeds import derive_seed
from trainwright.targets import TRUSTED_TARGETS
from trainwright.tasks.task import Task


@dataclass(frozen=True)
class Assembly:
    """A run that is ready to start."""

    dataset: Dataset
    state: TrainState
    settings: TrainerSettings
    train: Batches
    make_batches: Callable[[Split], Batches]  # for evaluation: not augmented
    judge: Judge | None  # who scores at the evaluations what the task generates
    lineage: Lineage | None = None  # whose weights it began with


def assemble(
    config: DictConfig,
    *,
    allow: Collection[str] | None = None,
    dataset: Dataset | None = None,
    again: Mapping[str, Any] | None = None,
) -> Assembly:
    """Check a composed config and build everything that it describes; nothing is written yet.

    `allow`: the only targets that may be built, for a config that was read from a run folder.
    `dataset`: what the config's data section describes, if that is in memory already.
    `again`: the metadata of a checkpoint of this run, where it goes on and has begun before.
    Raises ConfigError, DataError, or CheckpointError for a run to begin with that is not there.
    """
    seed = config.seed
    if not isinstance(seed, int) or isinstance(seed, bool):
        raise ConfigError(f"seed={seed!r}: it must be a whole number")
    options = settings(TrainerSettings, config.trainer, key="trainer")
    _check_settings(options)
    data_node, reserved = section(config, "data", "augment")
    _check_before_data(config, allow)
    fork = fork_of(config, again)
    if dataset is None:
        dataset = build(Dataset, data_node, key="data", facts={}, allow=allow)
    if "data.path" in environment_keys(config):  # its last part is what the data are called by
        dataset = replace(dataset, info=replace(dataset.info, name="data"))
    _check_splits(dataset)
    as_found = dataset
    dataset = dataset if fork is None else fork.normalised(dataset)
    # What goes on has its network from its checkpoint, whatever that once learned from the data.
    train_inputs = None if again is not None else partial(train_examples, dataset)
    task = build_task(config, dataset.info, seed, allow, train_inputs)
    if fork is not None:
        fork.begin(task, dataset.info, lambda info: build_task(config, info, seed, allow))
    check_learnable(task)
    _check_keepable(task)
    _check_parts(options, task)
    placement = place_task(options, task, dataset.info)
    move_task(task, placement)
    if placement.memory_format == torch.channels_last and not options.compile:
        quicken_image_convolutions(task)
    clock = _clock(options, dataset)
    slower = None if fork is None else Slower(fork.old_parameters(task), fork.settings.old_lr)
    optimizers = build_optimizers(config, task.players, placement, allow, slower)
    state = TrainState(
        task=task,
        optimizers=optimizers,
        schedule=build_schedule(config, options, task.objective, clock, allow),
        clock=clock,
        placement=replace(with_graph(placement, options, optimizers), compiled=options.compile),
        seed=seed,
        averaged=None if options.ema is None else AveragedTask(task, options.ema),
        scale=LossScale.for_precision(placement.precision),
    )

    if options.compile:
        compile_networks(task)

    def make_batches(split: Split, augment_node: Mapping[str, Any] | None = None) -> Batches:
        # What black becomes; on the device, so that no batch has to wait for it.
        shift = torch.tensor(task.normalisation.shift, device=placement.device)
        augment = make_augment(augment_node, input_shape=dataset.info.input_shape, fill=shift)
        return Batches(
            split,
            task.normalisation,
            batch_size=options.batch_size,
            seed=seed,
            device=placement.device,
            memory_format=placement.memory_format,
            augment=augment,
        )

    train = make_batches(dataset.train, reserved["augment"])
    if config.model.get("_target_") not in TRUSTED_TARGETS:
        check_outputs(task, train, placement, dataset.info.num_outputs)
    # Last of all, since it may take a minute: nothing that can be refused comes after it. It is the
    # judge of this data whoever generates: what a fork is normalised by is no concern of its.
    judged = (task, state.evaluated_task)
    judge = attach_judge(
        judged, as_found, num_samples=options.score_samples, device=placement.device
    )
    lineage = None if fork is None else fork.lineage
    return Assembly(dataset, state, options, train, make_batches, judge, lineage)


def check_variant(config: Mapping[str, Any], known: Assembly) -> Clock:
    """Check a config with the same data, model and task as `known`, building only what differs.

    Returns its clock. Raises ConfigError as `assemble` does.
    """
    options = settings(TrainerSettings, config["trainer"], key="trainer")
    _check_settings(options)
    _check_before_data(config, None)
    clock = _clock(options, known.dataset)
    task = known.state.task
    build_optimizers(config, task.players, known.state.placement, None)
    build_schedule(config, options, task.objective, clock, None)
    return clock


def _clock(options: TrainerSettings, dataset: Dataset) -> Clock:
    """The clock of a run on this data. Raises ConfigError for a length that it cannot have."""
    if options.batch_size > len(dataset.train):
        raise ConfigError(
            f"trainer.batch_size={options.batch_size}: there are only {len(dataset.train)} "
            f"training examples in {dataset.info.name}\n  it can be at most that"
        )
    clock = Clock.of_run(
        num_examples=len(dataset.train),
        batch_size=options.batch_size,
        epochs=options.epochs,
        steps=options.steps,
    )
    check_durations(options, clock)
    return clock


def _check_settings(options: TrainerSettings) -> None:
    if options.steps is None and options.epochs is None:
        raise ConfigError("trainer.epochs and trainer.steps are both null: one must say how long")
    if options.batch_size % options.accumulate:
        raise ConfigError(
            f"trainer.accumulate={options.accumulate}: it must divide "
            f"trainer.batch_size={options.batch_size}, so that all parts are equal"
        )


def _check_splits(dataset: Dataset) -> None:
    for name, split in (("validation", dataset.validation), ("test", dataset.test)):
        if len(split) == 0:
            raise ConfigError(
                f"data.{name}: the {name} split of {dataset.info.name} is empty\n"
                f"  it needs at least one example: data.{name}=1, or a share such as 0.1"
            )


def _check_before_data(config: Mapping[str, Any], allow: Collection[str] | None) -> None:
    """Find wrong keys and types in every section before the data is fetched and read."""
    facts = ("input_shape", "num_outputs", "num_classes", "train_inputs")
    check(nn.Module, config["model"], key="model", given=facts, allow=allow)
    check(Task, config["task"], key="task", given=(*facts, "model", "info", "seed"), allow=allow)
    check(Schedule, config["schedule"], key="schedule", given=("clock", "mode"), allow=allow)
    node, _ = section(config, "optimizer", "players")
    others = node.pop("others", None)
    node.pop("l1", None)
    check(Optimizer, node, key="optimizer", given=("params", "fused"), allow=allow)
    if others is not None:
        check(Optimizer, others, key="optimizer.others", given=("params", "fused"), allow=allow)


def check_durations(options: TrainerSettings, clock: Clock) -> None:
    """Raise ConfigError for a cadence that is no duration."""
    for name in (
        "schedule_from",
        "schedule_until",
        "log_every",
        "evaluate_every",
        "sample_every",
        "save_every",
    ):
        try:
            clock.steps(getattr(options, name))
        except ValueError as error:
            raise ConfigError(f"trainer.{name}: {error}") from None


def build_task(
    config: DictConfig,
    info: DataInfo,
    seed: int,
    allow: Collection[str] | None,
    train_inputs: Callable[[int], Tensor] | None = None,
) -> Task:
    """The network, initialised from the seed, inside its task.

    `train_inputs`: for a network that also begins with something of the training examples; None
    where a checkpoint brings that.
    """
    torch.manual_seed(derive_seed(seed, "initialisation"))
    facts = {
        "input_shape": info.input_shape,
        "num_outputs": info.num_outputs,
        "num_classes": info.num_classes,
        "train_inputs": train_inputs,
    }
    model = build(nn.Module, config.model, key="model", facts=facts, allow=allow)
    facts = {**facts, "model": model, "info": info, "seed": seed}
    return build(Task, config.task, key="task", facts=facts, allow=allow)


def _check_parts(options: TrainerSettings, task: Task) -> None:
    """Batch normalisation of vectors needs two examples to have a variance at all."""
    if options.batch_size > options.accumulate:
        return
    if any(isinstance(module, nn.BatchNorm1d) for module in task.modules()):
        raise ConfigError(
            f"trainer.batch_size={options.batch_size}: batch normalisation needs at least 2 "
            "examples at a time\n"
            f"  make it at least {2 * options.accumulate}, or choose another model norm"
        )


def _check_keepable(task: Task) -> None:
    """Raise ConfigError for a network that no checkpoint could hold, which holds finite numbers."""
    state = task.state_dict()
    problem = unfit(state, room=4)  # with averages, and what an optimizer remembers
    if problem is not None:
        raise ConfigError(
            f"model: no checkpoint could hold it\n  {problem}\n"
            "  what need not be kept: register_buffer(..., persistent=False)"
        )
    found = first_nonfinite(state)
    if found is not None:
        raise ConfigError(
            f"model: a number of its is not finite before training\n  {found}\n"
            "  for a constant mask, use register_buffer(..., persistent=False)"
        )


def place_task(options: TrainerSettings, task: Task, info: DataInfo) -> Placement:
    """Where and how the task computes. Raises ConfigError for what this machine does not have."""
    convolutions = (nn.Conv2d, nn.ConvTranspose2d)
    try:
        return place(
            options,
            wants_fp32=task.wants_fp32,
            has_convolutions=any(isinstance(m, convolutions) for m in task.modules()),
            num_values=math.prod(info.input_shape),
            num_weights=sum(p.numel() for p in task.parameters()),
        )
    except ValueError as error:
        raise ConfigError(f"trainer.{error}") from None


def move_task(task: Task, placement: Placement) -> None:
    """To the device, with the weights of convolutions laid out as their maps are to be."""
    task.to(placement.device)
    for parameter in task.parameters():
        if parameter.dim() == 4:
            parameter.data = in_format(parameter.data, placement.memory_format)
    if placement.memory_format == torch.channels_last:
        keep_channels_last(task)
