"""Whether an explanation is worth anything: does it depend on the weights, and find what counts?

Adebayo et al. 2018, "Sanity checks for saliency maps" (arXiv:1810.03292); Petsiuk et al. 2018,
"RISE" (arXiv:1806.07421), for deletion.
"""

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.stats import rankdata
from torch import Tensor

from trainwright.inference.explain.asked import Asked
from trainwright.inference.explain.subjects import Subject
from trainwright.seeds import generator_for
from trainwright.tasks.task import Task

SHUFFLED = 3  # networks whose weights are shuffled
ORDERS = 8  # random ones of an example's parts
DELETIONS = 20  # equal steps, in which all parts go
SAME, ALIKE = 0.7, 0.4  # rank correlations from which on a method is told off
WELL = 0.5  # of what is left at random: less is a find


@dataclass(frozen=True)
class Sane:
    """What was found of a method; each number is the mean over the examples."""

    correlation: float  # of ranks, with explanations of networks with shuffled weights
    deletion: float = math.nan  # what is left of the answer while parts go, the first ones first
    at_random: float = math.nan  # the same in random orders

    def plain(self) -> dict[str, Any]:
        """As plain JSON types, without numbers that it has not."""
        known = {name: number for name, number in vars(self).items() if not math.isnan(number)}
        return {**known, "verdict": self.verdict()}

    def verdict(self) -> str:
        """In words."""
        if self.correlation >= SAME:
            return "DOES NOT DEPEND ON THE WEIGHTS: it shows the input, not what was learned"
        if self.deletion >= self.at_random:
            return "marks nothing that counts: to delete at random does as much"
        if self.correlation >= ALIKE:
            return "depends on the weights in part: shuffled ones give much the same"
        if math.isnan(self.deletion):
            return "depends on the weights"
        finds = "what" if self.deletion < WELL * abs(self.at_random) else "some of what"
        return f"depends on the weights, and finds {finds} counts"


def shuffled(task: Task, seed: int) -> Task:
    """The task with the numbers of each of its weights in another order: nothing it has learned.

    So the weights are as large as before, and normalisation finds them so.
    """
    anew = copy.deepcopy(task)
    generator = generator_for(seed, "shuffled weights")
    for parameter in anew.parameters():
        order = torch.randperm(parameter.numel(), generator=generator).to(parameter.device)
        parameter.data = parameter.data.flatten()[order].view(parameter.shape)
    return anew


def rank_correlation(one: Tensor, other: Tensor) -> float:
    """Spearman's, of what is flattened; 0 where one of them is the same everywhere."""
    ranks = [rankdata(values.flatten().double().numpy()) for values in (one, other)]
    if min(np.ptp(r) for r in ranks) == 0:
        return 0.0
    return float(np.corrcoef(*ranks)[0, 1])


def deletion(subject: Subject, asked: Asked, orders: Sequence[Tensor]) -> Tensor:
    """What is left of the answer while the parts go in some orders, (orders, DELETIONS + 1).

    Probabilities; of a value less and less: how far it has gone, as a number below 0.
    """
    num = subject.num_parts
    gone = (torch.arange(DELETIONS + 1) * num + DELETIONS - 1) // DELETIONS  # of so many parts
    kept = torch.stack([order.argsort() >= gone[:, None] for order in orders])  # (O, D + 1, P)
    told = asked.told(subject.scores(asked, kept.flatten(0, 1))).view(len(orders), -1)
    return told if asked.is_probable else -(told - told[:, :1]).abs()


def orders_of(attributions: Tensor, asked: Asked, seed: int) -> list[Tensor]:
    """The parts by what they add, the most first (of a value: or take off); and at random."""
    found = attributions if asked.is_probable else attributions.abs()
    generator = generator_for(seed, "deletion")
    at_random = [torch.randperm(len(found), generator=generator) for _ in range(ORDERS)]
    return [found.argsort(descending=True, stable=True), *at_random]
