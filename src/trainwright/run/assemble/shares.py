"""How several ranks share the work of a run: which rows each computes, and what they exchange."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from torch import Tensor
from torch.optim import SGD, Adadelta, Adagrad, Adam, Adamax, AdamW, NAdam, RAdam, RMSprop

from trainwright.engine.device.device import Placement
from trainwright.engine.optim.averages import AveragedTask
from trainwright.engine.optim.player_optimizer import PlayerOptimizer
from trainwright.engine.ranks.world import World
from trainwright.engine.settings import TrainerSettings
from trainwright.errors import ConfigError
from trainwright.tasks.task import Task

if TYPE_CHECKING:
    from trainwright.engine.ranks.shards import Shards

# What moves each number by itself, wherever the others of its weight are.
_BY_ITSELF = (Adam, AdamW, NAdam, RAdam, Adamax, SGD, RMSprop, Adagrad, Adadelta)


@dataclass(frozen=True)
class Shares:
    """What a rank has of each batch; `rows`: None of all. `told`: what was chosen, for a person."""

    rows: Tensor | None
    world: World
    told: str

    def placed(self, placement: Placement) -> Placement:
        """The placement, which says that there are several ranks."""
        if not self.world.is_shared:
            return placement
        reason = "several ranks make a step" if placement.device.type == "cuda" else ""
        return replace(
            placement,
            static=False,
            why_not_static=reason,
            ranks=self.world.size,
            why_ranks=self.told,
        )


def share_among(
    world: World, options: TrainerSettings, task: Task, *, goes_on: bool = False
) -> Shares:
    """Share the batches out, and let batch normalisation see all rows, if that is wanted.

    Raises ConfigError for batches that are too small for so many ranks. A run that was sharded may
    go on by itself.
    """
    # A sweep tries its jobs by one process, whatever they are to have.
    is_alone = not world.is_shared and options.devices in (None, "auto", 1)
    if is_alone and options.shard and not goes_on:
        raise ConfigError(
            "trainer.shard=true: one process has nobody to share the weights with\n"
            "  say how many there are to be, such as trainer.devices=2, or leave it out"
        )
    if not world.is_shared:
        return Shares(None, world, "")
    from trainwright.engine.ranks.batchnorm import has_batchnorm, normalise_over_ranks

    smallest = options.batch_size // options.accumulate
    if smallest < world.size:
        raise ConfigError(
            f"trainer.batch_size={options.batch_size}: {world.size} ranks share {smallest} examples"
            " at a time\n  make it at least "
            f"{world.size * options.accumulate}, or use fewer: trainer.devices={smallest}"
        )
    if options.compile:
        raise ConfigError(
            "trainer.compile=true: compiled networks are trained by one process alone\n"
            "  leave out one of trainer.compile and trainer.devices"
        )
    told = "sharded" if options.shard else ""
    if has_batchnorm(task):
        how = "batch normalisation by each rank"
        if options.sync_batchnorm != "off":
            normalise_over_ranks(task)
            how = "batch normalisation over all"
        told = ", ".join(filter(None, [told, how]))
    return Shares(world.rows(options.batch_size, options.accumulate), world, told)


def shard(
    world: World, options: TrainerSettings, task: Task, averaged: AveragedTask | None
) -> "Shards | None":
    """Leave this rank its share of the weights; None where each is to have them all.

    Raises ConfigError for a task, or a network, with which that cannot be done.
    """
    if not (options.shard and world.is_shared):
        return None
    from trainwright.engine.ranks.shards import Shards

    if len(task.players) > 1:
        raise ConfigError(
            f"trainer.shard=true is for tasks with one network, and this has {len(task.players)}: "
            f"{', '.join(task.players)}\n  leave it out: each rank then has all weights"
        )
    for name, parameter in task.named_parameters():
        if parameter.dim() == 0:
            raise ConfigError(
                f"trainer.shard=true: {name} is one number, which has no parts\n"
                "  make it a vector of length 1, or leave trainer.shard out"
            )
    return Shards(world, task, averaged)


def check_by_itself(optimizers: Mapping[str, PlayerOptimizer]) -> None:
    """Raise ConfigError for an optimizer that needs whole matrices where each rank has a part."""
    for optimizer in (one for player in optimizers.values() for one in player.optimizers):
        if type(optimizer) not in _BY_ITSELF:
            raise ConfigError(
                f"optimizer: {type(optimizer).__name__} may need whole matrices, of which each rank"
                " has a part: trainer.shard=true\n"
                "  take optimizer=adamw, adam, sgd, rmsprop or adagrad, or leave trainer.shard out"
            )
