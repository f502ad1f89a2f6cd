"""The Fréchet distance between two sets of features, taken for Gaussians.

Heusel et al. 2017 (arXiv:1706.08500), equation 6; with features of an ImageNet network it is the
FID. It grows as the sets get smaller (Chong & Forsyth 2020, arXiv:1911.07023): compare only values
with the same numbers of examples.
"""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from trainwright.score.figure import NUM_GROUPS, Figure, jackknife_error


@dataclass(frozen=True)
class Gaussian:
    """Mean (F,) and covariance (F, F) of features, float64."""

    mean: Tensor
    covariance: Tensor

    @classmethod
    def of(cls, features: Tensor) -> "Gaussian":
        """That of examples (N, F), with N - 1 in the denominator. Raises ValueError for N < 2."""
        if features.ndim != 2 or len(features) < 2:
            raise ValueError(f"expected features (N, F), N > 1, got {tuple(features.shape)}")
        mean = features.cpu().double().mean(dim=0)
        centred = features.cpu().double() - mean
        return cls(mean, centred.T @ centred / (len(features) - 1))

    @cached_property
    def root(self) -> Tensor:
        """The symmetric root of the covariance (F, F)."""
        eigenvalues, vectors = torch.linalg.eigh(self.covariance)
        root: Tensor = vectors * eigenvalues.clamp(min=0).sqrt() @ vectors.T
        return root


def frechet_distance(first: Gaussian, second: Gaussian) -> float:
    """|m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)), at least 0 but for rounding.

    The trace of the root is taken of C1^(1/2) C2 C1^(1/2), which has the same eigenvalues and is
    symmetric: they are real, and those that rounding has pushed below 0 count as 0.
    """
    product = first.root @ second.covariance @ first.root
    mixed = torch.linalg.eigvalsh(product).clamp(min=0).sqrt().sum()
    traces = first.covariance.trace() + second.covariance.trace()
    return float((first.mean - second.mean).square().sum() + traces - 2 * mixed)


def frechet(features: Tensor, reference: Gaussian) -> Figure:
    """The distance of features (N, F) to a reference that counts as known, N at least 20.

    The standard error is the delete-a-group jackknife's (see `figure.jackknifed`), with moments
    that are subtracted instead of taken anew.
    """
    features = features.cpu().double()
    centre = features.mean(dim=0)  # moments about it lose no digits
    centred = features - centre
    counts, sums, products = [], [], []
    for group in range(NUM_GROUPS):
        part = centred[group::NUM_GROUPS]
        counts.append(len(part))
        sums.append(part.sum(dim=0))
        products.append(part.T @ part)
    count, total, product = sum(counts), torch.stack(sums).sum(0), torch.stack(products).sum(0)

    def distance(num: int, summed: Tensor, squared: Tensor) -> float:
        mean = summed / num
        covariance = (squared - num * torch.outer(mean, mean)) / (num - 1)
        return frechet_distance(reference, Gaussian(centre + mean, covariance))

    without = [
        distance(count - n, total - s, product - p)
        for n, s, p in zip(counts, sums, products, strict=True)
    ]
    return Figure(distance(count, total, product), jackknife_error(without))
