"""Who holds which examples: at random, or with classes that differ from client to client."""

import numpy as np
import torch
from torch import Tensor

from trainwright.seeds import derive_seed, generator_for


def at_random(num_examples: int, clients: int, seed: int, name: str) -> list[Tensor]:
    """The examples of each client, (n,) int64, as many as others have; `name`: of the split."""
    generator = generator_for(seed, "clients", name)
    order = torch.randperm(num_examples, generator=generator)
    return [part.sort().values for part in order.tensor_split(clients)]


def mixtures(classes: Tensor, clients: int, alpha: float, seed: int) -> np.ndarray:
    """The share of each class at each client, (clients, C): draws of Dirichlet(alpha * overall).

    Hsu, Qi and Brown 2019, arXiv:1909.06335. A large alpha makes clients alike; near 0 each has one
    class. `classes` (N,): of the training examples.
    """
    overall = np.bincount(classes.numpy()) / len(classes)
    found = np.zeros((clients, len(overall)))
    generator = np.random.default_rng(derive_seed(seed, "mixtures"))
    found[:, overall > 0] = generator.dirichlet(alpha * overall[overall > 0], size=clients)
    return found


def by_mixtures(classes: Tensor, wanted: np.ndarray, seed: int, name: str) -> list[Tensor]:
    """The examples of each client, (n,) int64, as many as others have, by shares (clients, C).

    Classes (N,) are drawn without replacement: of one that is used up, none is left for whoever
    comes later, and the others take its place.
    """
    generator = np.random.default_rng(derive_seed(seed, "clients", name))
    num_classes = max(wanted.shape[1], int(classes.max()) + 1 if len(classes) else 0)
    members = [generator.permutation(np.flatnonzero(classes == c)) for c in range(num_classes)]
    left = np.array([len(places) for places in members])
    parts = []
    for client, size in enumerate(len(p) for p in np.array_split(classes.numpy(), len(wanted))):
        shares = np.zeros(num_classes)
        shares[: wanted.shape[1]] = wanted[client]
        taken: list[np.ndarray] = []
        while (lacking := size - sum(map(len, taken))) > 0:
            odds = np.where(left > 0, shares, 0)
            odds = odds if odds.sum() > 0 else left.astype(float)
            for c, drawn in enumerate(generator.multinomial(lacking, odds / odds.sum())):
                num = min(drawn, left[c])
                taken.append(members[c][left[c] - num : left[c]])
                left[c] -= num
        found = np.sort(np.concatenate([np.zeros(0, dtype=np.int64), *taken]))
        parts.append(torch.from_numpy(found))
    return parts
