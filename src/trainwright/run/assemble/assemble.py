"""Put a run together from its config: data, task, optimizers, schedule, state."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from omegaconf import DictConfig
from torch import Tensor, nn

from trainwright.config.conflicts import check_durations
from trainwright.config.from_environment import environment_keys
from trainwright.config.plan import Plan
from trainwright.data.balance import Balance, balance_for, train_targets
from trainwright.data.batches import Batches, train_examples
from trainwright.data.columns import Tokens
from trainwright.data.dataset import DataInfo, Dataset
from trainwright.data.examples import Split
from trainwright.data.images.augment import augment_for
from trainwright.data.images.mixing import mixing_for
from trainwright.data.splits import require_examples
from trainwright.engine.checkpoint.metadata import data_info
from trainwright.engine.clock import Clock
from trainwright.engine.device.device import Placement, in_format, is_narrow_shortcut, place
from trainwright.engine.device.environment import threads_of
from trainwright.engine.fast.layout import keep_channels_last
from trainwright.engine.optim.averages import AveragedTask
from trainwright.engine.optim.scaling import LossScale
from trainwright.engine.ranks.world import ALONE, World
from trainwright.engine.settings import TrainerSettings
from trainwright.engine.state import TrainState
from trainwright.errors import ConfigError
from trainwright.run.assemble.checks import check_columns, check_keepable, check_parts
from trainwright.run.assemble.cuda_graph import with_graph
from trainwright.run.assemble.optimization import Slower, build_optimizers, build_schedule
from trainwright.run.assemble.own_network import check_learnable, check_outputs
from trainwright.run.assemble.own_task import check_attributes, try_task
from trainwright.run.assemble.shares import check_by_itself, shard, share_among
from trainwright.score.judge import Judge
from trainwright.seeds import derive_seed
from trainwright.tasks.metrics.metric import Metric
from trainwright.tasks.task import Task

if TYPE_CHECKING:
    from trainwright.run.fork.lineage import Lineage


@dataclass(frozen=True)
class Assembly:
    """A run that is ready to start."""

    dataset: Dataset
    state: TrainState
    settings: TrainerSettings
    train: Batches
    make_batches: Callable[[Split], Batches]  # for evaluation: not augmented
    judge: Judge | None  # who scores at the evaluations what the task generates
    lineage: "Lineage | None" = None  # whose weights it began with


def assemble(
    plan: Plan,
    *,
    dataset: Dataset | None = None,
    again: Mapping[str, Any] | None = None,
    world: World = ALONE,
) -> Assembly:
    """Build everything that a plan describes; nothing is written yet.

    `dataset`: what its data section describes, if that is in memory already. `again`: the metadata
    of a checkpoint of this run, where it goes on and has begun before. `world`: who trains it.

    Raises ConfigError, DataError, or CheckpointError for a run to begin with that is not there.
    """
    options = plan.settings
    fork = None
    if plan.fork is not None:
        from trainwright.run.fork.fork import fork_of

        fork = fork_of(plan.fork, again, plan.model.node)
    if dataset is None:
        # What a run has learned to read text by: of its own checkpoint, or of another run.
        known = fork.facts if fork is not None else None if again is None else data_info(again)
        network, _ = plan.model.check(nn.Module)
        dataset = plan.data.build(Dataset, {"known": known, "reads_tokens": can_read(network)})
    if "data.path" in environment_keys(DictConfig(plan.config)):
        # Its last part is what the data are called by.
        dataset = replace(dataset, info=replace(dataset.info, name="data"))
    require_examples(dataset.info.name, dataset.splits)
    check_columns(dataset)
    as_found = dataset
    dataset = dataset if fork is None else fork.normalised(dataset)
    # What goes on has its network from its checkpoint, whatever that once learned from the data.
    train_inputs = None if again is not None else partial(train_examples, dataset)
    architecture = None if again is None else again.get("architecture", {})
    architecture = architecture if fork is None else fork.architecture
    build = partial(build_task, plan, architecture=architecture)
    task = build(dataset.info, train_inputs, partial(train_targets, dataset))
    if fork is not None:
        fork.begin(task, dataset.info, build)
    if not plan.task.is_ours:
        check_attributes(task, dataset.info)
    check_learnable(task)
    check_keepable(task)
    check_parts(options, task)
    shares = share_among(world, options, task, goes_on=again is not None)
    threads = None if again is None else threads_of(again)
    placement = place_task(options, task, dataset.info, threads_before=threads)
    move_task(task, placement)
    clock = _clock(plan, dataset)
    privacy = None
    if options.privacy.epsilon is not None:
        from trainwright.run.assemble.private import privacy_of, try_single_examples

        privacy = privacy_of(plan, clock, task)
    averaged = None if options.ema is None else AveragedTask(task, options.ema)
    shards = shard(world, options, task, averaged)
    slower = None if fork is None else Slower(fork.old_parameters(task), fork.settings.old_lr)
    optimizers = build_optimizers(plan, task.players, placement, slower)
    if shards is not None:
        check_by_itself(optimizers)
    state = TrainState(
        task=task,
        optimizers=optimizers,
        schedule=build_schedule(plan, task.objective, clock),
        clock=clock,
        placement=replace(
            shares.placed(with_graph(placement, options, optimizers)), compiled=options.compile
        ),
        seed=plan.seed,
        world=world,
        shards=shards,
        averaged=averaged,
        scale=LossScale.for_precision(placement.precision),
        privacy=privacy,
    )
    if privacy is not None:
        why = "trainer.privacy" if placement.device.type == "cuda" else ""
        state.placement = replace(state.placement, static=False, why_not_static=why)

    def make_batches(
        split: Split,
        augment_node: Mapping[str, Any] | None = None,
        balance: Balance | None = None,
        rows: Tensor | None = None,
        batch_size: int = options.batch_size,
        seed: int = plan.seed,
        rate: float | None = None,
    ) -> Batches:
        return Batches(
            split,
            task.columns,
            batch_size=batch_size,
            seed=seed,
            device=placement.device,
            memory_format=placement.memory_format,
            augment=augment_for(augment_node, task.columns, placement.device),
            mixing=mixing_for(
                augment_node, task.columns, placement.device, takes_mixed=task.takes_mixed
            ),
            balance=balance,
            rows=rows,
            sampling_rate=rate,
            name=next((name for name, known in dataset.splits.items() if known is split), ""),
        )

    balance = balance_for(dataset, plan.seed, is_wanted=plan.balance)
    own: dict[str, Any] = {} if privacy is None else {"seed": privacy.seed, "rate": privacy.rate}
    train = make_batches(dataset.train, plan.augment, balance, shares.rows, **own)
    if privacy is not None:
        try_single_examples(state, train)
    if plan.federated is not None:
        from trainwright.run.assemble.federated import federate

        federate(plan, dataset, state, make_batches)
    if not plan.model.is_ours:
        check_outputs(task, train, placement)
    if not plan.task.is_ours:
        try_task(task, train, make_batches(dataset.validation), clock, placement)
    if options.compile:
        from trainwright.engine.fast.compiled import compile_networks

        compile_networks(task)
    # Last of all, since it may take a minute: nothing that can be refused comes after it. It is the
    # judge of this data whoever generates: what a fork is normalised by is no concern of its.
    judged = (task, state.evaluated_task)
    judge = None
    if world.leads and task.score_features is not None:
        from trainwright.run.judging.attach import attach_judge

        judge = attach_judge(
            judged, as_found, num_samples=options.score_samples, device=placement.device
        )
    lineage = None if fork is None else fork.lineage
    return Assembly(dataset, state, options, train, make_batches, judge, lineage)


def check_variant(plan: Plan, known: Assembly) -> Clock:
    """Check a plan with the same data, model and task as `known`, building only what differs.

    Returns its clock. Raises ConfigError as `assemble` does.
    """
    clock = _clock(plan, known.dataset)
    build_optimizers(plan, known.state.task.players, known.state.placement)
    build_schedule(plan, known.state.task.objective, clock)
    return clock


def _clock(plan: Plan, dataset: Dataset) -> Clock:
    """The clock of a run on this data. Raises ConfigError for a length that it cannot have."""
    options = plan.settings
    if options.batch_size > len(dataset.train):
        raise ConfigError(
            f"trainer.batch_size={options.batch_size}: there are only {len(dataset.train)} "
            f"training examples in {dataset.info.name}\n"
            f"  take trainer.batch_size={len(dataset.train)}, or fewer"
        )
    try:
        clock = plan.clock(len(dataset.train), dataset.info.num_tokens)
    except ValueError as error:
        raise ConfigError(f"trainer.{error}") from None
    check_durations(options, clock)
    return clock


def build_task(
    plan: Plan,
    info: DataInfo,
    train_inputs: Callable[..., Tensor] | None = None,
    train_targets: Callable[[], Tensor] | None = None,
    architecture: Mapping[str, Any] | None = None,
) -> Task:
    """The network, initialised from the seed, inside its task.

    `train_inputs`: for a network that also begins with something of the training examples; None
    where a checkpoint brings that. `train_targets`: for a loss that depends on them; None where
    nothing is trained. `architecture`: what a checkpoint remembers of the network.
    """
    torch.manual_seed(derive_seed(plan.seed, "initialisation"))
    facts = {**info.facts, "train_inputs": train_inputs, "architecture": architecture}
    model = plan.model.build(nn.Module, facts)
    if isinstance(info.input, Tokens) and plan.model.is_ours and not can_read(model):
        raise ConfigError(
            f"model: {type(model).__name__} reads numbers, and {info.name} is text\n"
            "  use model=gpt, which learns what comes next, or model=text_encoder, for classes"
        )
    facts |= {"model": model, "info": info, "seed": plan.seed, "train_targets": train_targets}
    task = plan.task.build(Task, facts)
    task.own_metrics = {name: own.build(Metric, facts) for name, own in plan.metrics.items()}
    return task


def can_read(model: object) -> bool:
    """Whether a network, or the class of one, is given tokens."""
    return bool(getattr(model, "reads_tokens", False))


def place_task(
    options: TrainerSettings,
    task: Task,
    info: DataInfo,
    *,
    threads_before: int | None = None,
    group: str = "trainer.",
) -> Placement:
    """Where and how the task computes. Raises ConfigError for what this machine does not have.

    `group`: what stands before the keys that were typed.
    """
    convolutions = (nn.Conv2d, nn.ConvTranspose2d)
    try:
        return place(
            options,
            wants_fp32=task.wants_fp32,
            has_convolutions=any(isinstance(m, convolutions) for m in task.modules()),
            num_values=info.num_values,
            num_weights=sum(p.numel() for p in task.parameters()),
            num_tokens=sum(c.length for c in info.columns.values() if isinstance(c, Tokens)),
            threads_before=threads_before,
            has_narrow_shortcut=any(map(is_narrow_shortcut, task.modules())),
        )
    except ValueError as error:
        raise ConfigError(f"{group}{error}") from None


def move_task(task: Task, placement: Placement) -> None:
    """To the device, with the weights of convolutions laid out as their maps are to be."""
    task.to(placement.device)
    for parameter in task.parameters():
        if parameter.dim() == 4:
            parameter.data = in_format(parameter.data, placement.memory_format)
    if placement.memory_format == torch.channels_last:
        keep_channels_last(task)
