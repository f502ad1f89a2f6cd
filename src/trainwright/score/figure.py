"""A figure is a value with its standard error, and these are the ways to one."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

NUM_GROUPS = 10


class Figure(NamedTuple):
    """An estimate from a sample and its standard error."""

    value: float
    error: float


def mean_of(values: Tensor) -> Figure:
    """The mean of independent values (N,), N at least 2, and its standard error."""
    values = values.double()
    return Figure(float(values.mean()), float(values.std() / len(values) ** 0.5))


def jackknifed(statistic: Callable[[Tensor], float], num_examples: int) -> Figure:
    """A statistic of all examples, with the delete-a-group jackknife's standard error.

    `statistic` is given a mask (N,) of the examples to use: all of them, then all but a tenth,
    ten times. Every tenth example makes a group, so their order must say nothing. Shao & Wu 1989,
    "A general theory for jackknife variance estimation".
    """
    everything = torch.ones(num_examples, dtype=torch.bool)
    groups = torch.arange(num_examples) % NUM_GROUPS
    without = [statistic(groups != group) for group in range(NUM_GROUPS)]
    return Figure(statistic(everything), jackknife_error(without))


def jackknife_error(without: Sequence[float]) -> float:
    """The standard error of a statistic from its values without each of several equal groups."""
    values = torch.tensor(without, dtype=torch.float64)
    num_groups = len(without)
    return float(((num_groups - 1) / num_groups * (values - values.mean()).square().sum()).sqrt())
