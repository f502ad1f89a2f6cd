"""What rank 0 of a run tells the others besides its steps, which all make alike."""

from collections.abc import Mapping
from typing import Any

from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from trainwright.config.plan import Plan
from trainwright.engine.checkpoint import checkpoint
from trainwright.engine.device.environment import environment
from trainwright.engine.state import TrainState
from trainwright.errors import ConfigError, DataError
from trainwright.run.assemble.assemble import Assembly
from trainwright.runs.folder import RunFolder

# What must be the same on all ranks, whatever processors they have.
_ALIKE = ("trainwright", "torch", "device", "precision", "memory_format", "data")


def call_together(plan: Plan, assembly: Assembly, again: Mapping[str, Any] | None) -> None:
    """Let the others build the same run. Raises DataError where they find other data.

    `again`: the metadata of the checkpoint that the run goes on from.
    """
    world = assembly.state.world
    if not world.is_shared:
        return
    world.has_begun = True
    world.tell("plan", {"plan": plain(plan), "again": None if again is None else dict(again)})
    own = alike(assembly)
    for rank, message in enumerate(world.answers(), start=1):
        for name, value in own.items():
            if message.plain[name] == value:
                continue
            if name == "data":
                raise DataError(
                    f"{assembly.dataset.info.name}: rank {rank} finds other data than rank 0\n"
                    "  all ranks must read the same files: give them the same folder, or a copy"
                )
            raise ConfigError(
                f"rank {rank} has {name.replace('_', ' ')} {message.plain[name]}, and rank 0 "
                f"{value}\n  all ranks must be alike"
            )
    world.wait_at_most(assembly.settings.rank_timeout)


def share_state(assembly: Assembly, folder: RunFolder) -> None:
    """Let the others be where this one is: weights, averages, optimizers, all of it."""
    state = assembly.state
    if state.world.is_shared:
        told = {"folder": str(folder.path), "progress": checkpoint.progress_metadata(state)}
        # Of weights that are sharded they were told piece by piece, when these were put back.
        tensors = {} if state.shards is not None else checkpoint.state_tensors(state)
        state.world.tell("state", told, tensors)
        state.world.listening = True


def share_weights(state: TrainState, tensors: Mapping[str, Tensor]) -> None:
    """Let the others evaluate with the weights of this checkpoint, which this one has loaded."""
    if state.world.is_shared:
        kept = {name: value for name, value in tensors.items() if not name.startswith("optimizer.")}
        state.world.tell("weights", None, {} if state.shards is not None else kept)


def alike(assembly: Assembly) -> dict[str, str]:
    """What must be the same on all ranks, by name."""
    found, shards = environment(assembly.state.placement, assembly.dataset), assembly.state.shards
    weights = {} if shards is None else {"initial_weights": shards.begun_with[:12]}
    return {**{name: found[name] for name in _ALIKE}, **weights}


def plain(plan: Plan) -> dict[str, Any]:
    """A plan as JSON has it; what it takes from the environment is not in it."""
    return {
        "config": OmegaConf.to_container(DictConfig(plan.config), resolve=False),
        "name": plan.name,
        "overrides": list(plan.overrides),
        "allow": None if plan.allow is None else sorted(plan.allow),
    }


def plan_of(told: Mapping[str, Any]) -> Plan:
    """What `plain` has written."""
    return Plan.of(
        DictConfig(told["config"]),
        name=told["name"],
        overrides=told["overrides"],
        allow=told["allow"],
    )
