"""What a private run needs: a seed of its own, and gradients of single examples."""

import json

import torch
from omegaconf import OmegaConf

from trainwright.config.plan import Plan
from trainwright.data.batches import Batches
from trainwright.engine.clock import Clock
from trainwright.engine.private import Privacy, per_example
from trainwright.engine.state import TrainState
from trainwright.engine.step import known
from trainwright.errors import ConfigError
from trainwright.run.resume.changes import HARMLESS, KEYS
from trainwright.seeds import derive_seed
from trainwright.tasks.task import Task

# What does not change the steps of a run, and may differ when it goes on.
_APART = ("run", "logger", "trust", "trainer.resume", *HARMLESS, *KEYS)


def privacy_of(plan: Plan, clock: Clock, task: Task) -> Privacy:
    """How the steps of a run are made private, where its plan says that. Raises ConfigError."""
    return Privacy.of(plan.settings.privacy, clock, task, _seed(plan))


def _seed(plan: Plan) -> int:
    """A function of the run's seed and of all that shapes its steps.

    So two runs of one seed, such as a fork or the jobs of a sweep, share no noise: from the
    difference of what they release it would be gone.
    """
    kept = OmegaConf.to_container(plan.kept)
    assert isinstance(kept, dict)
    for key in _APART:
        section, _, name = key.partition(".")
        inner = kept.get(section)
        if not name:
            kept.pop(section, None)
        elif isinstance(inner, dict):
            inner.pop(name, None)
    return derive_seed(plan.seed, "private", json.dumps(kept, sort_keys=True))


def try_single_examples(state: TrainState, train: Batches) -> None:
    """Raise ConfigError for a network that cannot give gradients of single examples.

    It is tried on two. What it is that cannot be done only shows when it is done.
    """
    batch = train.taken(torch.arange(2))
    for player, optimizer in state.optimizers.items():
        carry, autocast = known(state.step, state.clock), state.placement.autocast
        try:
            per_example(state.task, player, optimizer.parameters, batch, carry, autocast)
        except (RuntimeError, NotImplementedError) as error:
            first = next(iter(str(error).splitlines()), type(error).__name__)
            raise ConfigError(
                "trainer.privacy: this network cannot give gradients of single examples\n"
                f"  torch.func.vmap: {first[:150]}\n"
                "  model=mlp, cnn and ft_transformer can"
            ) from error
