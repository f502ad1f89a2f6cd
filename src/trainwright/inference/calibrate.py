"""Temperature scaling: one number, found on validation, makes a classifier as sure as it is right.

Guo, Pleiss, Sun and Weinberger 2017, "On calibration of modern neural networks", arXiv:1706.04599.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from trainwright.data.dataset import Dataset
from trainwright.data.examples import Split
from trainwright.engine.checkpoint.calibration import LARGEST, SMALLEST, Calibration, digest_of
from trainwright.errors import ConfigError, DataError
from trainwright.inference.trained import Trained, in_order
from trainwright.tasks.metrics.calibration import expected_calibration_error, reliability
from trainwright.tasks.task import can, kind_of

SPLITS = ("validation", "test")
HALVINGS = 60  # of the interval of log temperatures, 9.2 wide: to the last digit of a double


class Sureness(NamedTuple):
    """How far a classifier is from being as often right as it says, and how well it tells."""

    calibration_error: float  # expected, 15 bins of equal width
    log_loss: float


class Found(NamedTuple):
    """A temperature, and what it changes: of each split the number of examples, before, after."""

    calibration: Calibration
    splits: dict[str, tuple[int, Sureness, Sureness]]


def calibrate(trained: Trained, dataset: Dataset) -> Found:
    """Find the temperature on the validation split, and measure it there and on the test split.

    `trained`: opened without a calibration. Raises ConfigError for a task that has no temperature,
    DataError where the validation split tells of none.
    """
    task = trained.task
    if not can(task, "take_temperature"):
        raise ConfigError(
            f"this run cannot be calibrated: it is a {kind_of(task)}\n"
            "  a temperature is for classifiers: task=classifier"
        )
    told = {name: _told(trained, dataset.splits[name]) for name in SPLITS}
    temperature = fit_temperature(*told["validation"])
    num_examples = len(told["validation"][0])
    return Found(
        Calibration(temperature, num_examples, digest_of(trained.path)),
        {
            name: (len(logits), _sureness(logits, y), _sureness(logits / temperature, y))
            for name, (logits, y) in told.items()
        },
    )


@torch.no_grad()
def _told(trained: Trained, split: Split) -> tuple[Tensor, Tensor]:
    """Logits (N, C) float64 and true classes (N,) of a split, on the CPU."""
    task, logits, targets = trained.task, [], []
    for batch in in_order(trained, split):
        with trained.placement.autocast():
            logits.append(task.logits(batch).double().cpu())  # type: ignore[operator]
        targets.append(batch[task.target].cpu())  # type: ignore[index]
    return torch.cat(logits), torch.cat(targets)


def fit_temperature(logits: Tensor, targets: Tensor) -> float:
    """The temperature at which logits (N, C) tell most of classes (N,): the least log loss.

    That is convex in 1 / temperature; its slope is zero there. Raises DataError where it is least
    beyond any temperature: every answer is right, or the answers are no better than chance.
    """
    true = logits.gather(1, targets[:, None])[:, 0]

    def is_too_sure(log_temperature: float) -> bool:
        shares = (logits * math.exp(-log_temperature)).softmax(dim=1)
        return float(((shares * logits).sum(dim=1) - true).mean()) > 0

    low, high = math.log(SMALLEST), math.log(LARGEST)
    if not is_too_sure(low):
        raise DataError(
            f"no temperature: the run is right on all {len(logits):,} validation examples, or "
            "nearly\n  how often a sure answer is wrong needs some: data.validation=... with more"
        )
    if is_too_sure(high):
        raise DataError("no temperature: on validation the run is no better than chance")
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if is_too_sure(middle) else (low, middle)
    return math.exp((low + high) / 2)


def _sureness(logits: Tensor, targets: Tensor) -> Sureness:
    confidence, predicted = logits.softmax(dim=1).max(dim=1)
    bins = reliability(confidence, predicted == targets)
    return Sureness(
        expected_calibration_error(bins), float(functional.cross_entropy(logits, targets))
    )
