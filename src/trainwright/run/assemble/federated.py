"""What a federated run needs: examples dealt out to clients, and optimizers of both sides."""

from collections.abc import Callable
from dataclasses import replace

from torch import Tensor

from trainwright.config.plan import Plan
from trainwright.data.balance import train_targets
from trainwright.data.batches import Batches
from trainwright.data.dataset import Dataset
from trainwright.data.examples import Chosen, all_of
from trainwright.engine.federated.partition import at_random, by_mixtures, mixtures
from trainwright.engine.federated.rounds import (
    Client,
    Federation,
    client_seed,
    server_optimizer,
)
from trainwright.engine.settings import FederatedSettings
from trainwright.engine.state import TrainState
from trainwright.errors import ConfigError
from trainwright.tasks.task import kind_of

FEWEST = 2  # examples of a client: batch normalisation needs as many


def federate(
    plan: Plan, dataset: Dataset, state: TrainState, make_batches: Callable[..., Batches]
) -> None:
    """Let a run's steps be rounds of clients. Raises ConfigError for what cannot be federated.

    `make_batches`: of a split, augmented as a section says, of a size and with a seed.
    """
    options, wanted, task = plan.settings, plan.federated, state.task
    assert wanted is not None
    if len(task.players) > 1:
        raise ConfigError(
            f"trainer=federated: a {kind_of(task)} has {len(task.players)} players, and each "
            "client would play a game of its own\n  only tasks of one network can be federated"
        )
    if FEWEST * wanted.clients > len(dataset.train):
        raise ConfigError(
            f"federated.clients={wanted.clients}: there are only {len(dataset.train):,} "
            f"training examples in {dataset.info.name}\n  it can be at most "
            f"{len(dataset.train) // FEWEST}, so that each has {FEWEST}"
        )
    device = state.placement.device
    parts, held_out = _dealt(wanted, dataset, plan.seed)
    clients, train = [], dataset.train.on(device)
    for number, places in enumerate(parts):
        size = min(options.batch_size, len(places))
        steps = max(1, round(wanted.epochs * len(places) / size))
        seed = client_seed(plan.seed, number)
        batches = make_batches(Chosen(train, places), plan.augment, batch_size=size, seed=seed)
        clients.append(Client(number, batches, steps))
    validation = dataset.validation.on(device)
    measured = [make_batches(Chosen(validation, p)) for p in held_out if len(p)]
    state.rounds = Federation(wanted, clients, measured, state.optimizers)
    state.optimizers = {
        name: server_optimizer(optimizer, task.players[name], wanted.momentum)
        for name, optimizer in state.optimizers.items()
    }
    why = "trainer=federated" if device.type == "cuda" else ""
    state.placement = replace(state.placement, static=False, why_not_static=why)


def _dealt(
    wanted: FederatedSettings, dataset: Dataset, seed: int
) -> tuple[list[Tensor], list[Tensor]]:
    """The training and the validation examples of each client, (n,) int64, alike in classes."""
    splits = {"train": dataset.train, "validation": dataset.validation}
    if wanted.split == "iid":
        train, held_out = (
            at_random(len(split), wanted.clients, seed, name) for name, split in splits.items()
        )
        return train, held_out
    if not dataset.info.num_classes:
        raise ConfigError(
            f"federated.split=dirichlet is for classes, and {dataset.info.name} has "
            f"{dataset.info.target} to predict\n  federated.split=iid is for all"
        )
    shares = mixtures(train_targets(dataset), wanted.clients, wanted.alpha, seed)
    train, held_out = (
        by_mixtures(all_of(split, dataset.info.targets[0]), shares, seed, name)
        for name, split in splits.items()
    )
    return train, held_out
