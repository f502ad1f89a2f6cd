"""How several ranks share the work of a run: which rows each computes, and what they exchange."""

from dataclasses import dataclass, replace

from torch import Tensor

from trainwright.engine.device.device import Placement
from trainwright.engine.ranks.world import World
from trainwright.engine.settings import TrainerSettings
from trainwright.errors import ConfigError
from trainwright.tasks.task import Task


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


def share_among(world: World, options: TrainerSettings, task: Task) -> Shares:
    """Share the batches out, and let batch normalisation see all rows, if that is wanted.

    Raises ConfigError for batches that are too small for so many ranks.
    """
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
    told = ""
    if has_batchnorm(task):
        told = "batch normalisation by each rank"
        if options.sync_batchnorm != "off":
            normalise_over_ranks(task)
            told = "batch normalisation over all"
    return Shares(world.rows(options.batch_size, options.accumulate), world, told)
