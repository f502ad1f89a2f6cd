"""Classes that differ in size: how many examples each has, and an order in which none is rare."""

from functools import cached_property

import torch
from torch import Tensor

from trainwright.data.dataset import Dataset
from trainwright.data.examples import all_of
from trainwright.errors import ConfigError
from trainwright.seeds import derive_seed


def train_targets(dataset: Dataset) -> Tensor:
    """What is to be predicted of every training example, (N, ...) as stored; of several the first.

    Raises ValueError where there is nothing to predict.
    """
    if not dataset.info.targets:
        raise ValueError(f"{dataset.info.name} has nothing to predict")
    return all_of(dataset.train, dataset.info.targets[0])


class Balance:
    """An endless stream of examples in which each class is as often as every other.

    `classes` (N,) int64. In a pass of N places each class has its share of them. The examples of a
    class come in shuffled rounds of their own: none a second time before all have come once.
    """

    def __init__(self, classes: Tensor, seed: int) -> None:
        self._classes, self._seed = classes.cpu(), seed

    @cached_property
    def _members(self) -> list[Tensor]:
        """The places of each class's examples, of those classes that have any."""
        by_class = self._classes.argsort(stable=True)
        counts = torch.bincount(self._classes)
        return [members for members in torch.split(by_class, counts.tolist()) if len(members)]

    def order(self, epoch: int) -> Tensor:
        """The examples of one pass, (N,) int64."""
        total, num = len(self._classes), len(self._members)
        parts = []
        for place, members in enumerate(self._members):
            share = total // num + (place < total % num)
            parts.append(self._drawn(place, members, epoch * share, share))
        generator = torch.Generator().manual_seed(derive_seed(self._seed, "order", epoch))
        return torch.cat(parts)[torch.randperm(total, generator=generator)]

    def _drawn(self, place: int, members: Tensor, start: int, num: int) -> Tensor:
        """So many of a class's examples from `start` on in its own stream of rounds."""
        first, last = start // len(members), (start + num - 1) // len(members)
        rounds = [self._round(place, members, number) for number in range(first, last + 1)]
        skipped = start - first * len(members)
        return torch.cat(rounds)[skipped : skipped + num]

    def _round(self, place: int, members: Tensor, number: int) -> Tensor:
        if len(members) == 1:
            return members
        seed = derive_seed(self._seed, "balance", place, number)
        return members[torch.randperm(len(members), generator=torch.Generator().manual_seed(seed))]


def balance_for(dataset: Dataset, seed: int, *, is_wanted: bool) -> Balance | None:
    """The order that `data.balance` asks for, or None.

    Raises ConfigError where there are no classes.
    """
    if not is_wanted:
        return None
    if not dataset.info.num_classes:
        raise ConfigError(
            f"data.balance=true is for classes, and {dataset.info.name} has {dataset.info.target} "
            "to predict\n  leave it out"
        )
    return Balance(train_targets(dataset), seed)
