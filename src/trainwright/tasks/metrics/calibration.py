"""Whether a classifier is as often right as it says: calibration."""

from typing import NamedTuple

import torch
from torch import Tensor


class Bin(NamedTuple):
    """Examples whose confidence lies in (low, high]: how many, how sure, how often right."""

    low: float
    high: float
    num_examples: int
    confidence: float  # mean; 0 where there are none
    accuracy: float  # 0 where there are none


def reliability(confidence: Tensor, correct: Tensor, *, num_bins: int = 15) -> list[Bin]:
    """Sort examples into bins of equal width by how sure the classifier is of its answer.

    `confidence` (N,) is the probability of the likeliest class, `correct` (N,) whether that is it.
    """
    confidence, correct = confidence.cpu().double(), correct.cpu().double()
    edges = torch.linspace(0, 1, num_bins + 1, dtype=torch.float64)
    # Of a value on an edge the bin below has it; rounding may make a probability a hair over 1.
    place = (torch.bucketize(confidence, edges) - 1).clamp(0, num_bins - 1)
    counts = torch.bincount(place, minlength=num_bins)
    sure = torch.bincount(place, weights=confidence, minlength=num_bins) / counts.clamp(min=1)
    right = torch.bincount(place, weights=correct, minlength=num_bins) / counts.clamp(min=1)
    return [
        Bin(float(edges[i]), float(edges[i + 1]), int(counts[i]), float(sure[i]), float(right[i]))
        for i in range(num_bins)
    ]


def expected_calibration_error(bins: list[Bin]) -> float:
    """The gap between confidence and accuracy, averaged over the examples; 0 is calibrated.

    Guo, Pleiss, Sun and Weinberger 2017, arXiv:1706.04599.
    """
    total = sum(b.num_examples for b in bins)
    return sum(b.num_examples * abs(b.confidence - b.accuracy) for b in bins) / max(total, 1)


def brier_scores(probabilities: Tensor, targets: Tensor) -> Tensor:
    """The squared distance (N,) from probabilities (N, C) to the truth (N,); 0 to 2.

    Brier 1950, "Verification of forecasts expressed in terms of probability".
    """
    truth = torch.nn.functional.one_hot(targets, probabilities.shape[1]).to(probabilities.dtype)
    return (probabilities - truth).square().sum(dim=1)
