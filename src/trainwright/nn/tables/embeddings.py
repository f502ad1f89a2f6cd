"""What stands for a number or a category of a table: vectors that are learned.

After Gorishniy et al. 2021, "Revisiting Deep Learning Models for Tabular Data" (arXiv:2106.11959),
and Gorishniy et al. 2022, "On Embeddings for Numerical Features in Tabular Deep Learning"
(arXiv:2203.05556).
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn


class LinearEmbedding(nn.Module):
    """A vector times the number, plus another: a pair for each feature (2021, section 3.3)."""

    def __init__(self, num_features: int, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(_uniform((num_features, width), fan_in=width))
        self.bias = nn.Parameter(_uniform((num_features, width), fan_in=width))

    def forward(self, numbers: Tensor) -> Tensor:
        """Map (B, F) to (B, F, width)."""
        return torch.addcmul(self.bias, numbers[..., None], self.weight)


class CategoryEmbedding(nn.Module):
    """A vector for each category of each feature, plus one for the feature (2021, section 3.3).

    `sizes`: how many categories each feature has, numbered from 0.
    """

    def __init__(self, sizes: Sequence[int], width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(_uniform((sum(sizes), width), fan_in=width))
        self.bias = nn.Parameter(_uniform((len(sizes), width), fan_in=width))
        starts = torch.tensor([sum(sizes[:place]) for place in range(len(sizes))])
        self.starts: Tensor  # of each feature's rows in `weight`
        self.register_buffer("starts", starts, persistent=False)

    def forward(self, categories: Tensor) -> Tensor:
        """Map (B, F) whole numbers to (B, F, width)."""
        return nn.functional.embedding(categories.long() + self.starts, self.weight) + self.bias


class PiecewiseLinear(nn.Module):
    """How far a number has come through each of a few bins; then a linear layer and ReLU a feature.

    (2022, section 3.2, "Q-LR".) The bins hold equally many of the training examples. `fit` finds
    them: until then, or until a checkpoint brings them, they have no width and say nothing.
    """

    def __init__(self, num_features: int, width: int, *, bins: int) -> None:
        super().__init__()
        self.edges: Tensor  # of bins, rising; from the last bin on that a feature has all are alike
        self.register_buffer("edges", torch.zeros(num_features, bins + 1))
        self.mix = _LinearPerFeature(num_features, bins, width)

    @torch.no_grad()
    def fit(self, numbers: Tensor) -> None:
        """Take the edges from numbers (N, F) as the layer will see them."""
        shares = torch.linspace(0, 1, self.edges.shape[1], dtype=torch.float64)
        for edges, column in zip(self.edges, numbers.T, strict=True):
            quantiles = torch.quantile(column.double(), shares, interpolation="nearest")
            found = torch.unique(quantiles.to(edges.dtype))
            edges.fill_(found[-1])
            edges[: len(found)] = found

    def encoding(self, numbers: Tensor) -> Tensor:
        """Map (B, F) to (B, F, bins): 1 past a bin, 0 before it, the share of its width within.

        Below the first bin it falls below 0, above the last it rises above 1.
        """
        lower, upper = self.edges[:, :-1], self.edges[:, 1:]  # (F, bins)
        has_width = upper > lower
        is_first = torch.arange(lower.shape[1], device=lower.device) == 0
        is_last = has_width & (upper == self.edges[:, -1:])
        slope = torch.where(has_width, 1 / (upper - lower), 0.0)
        share = (numbers[..., None] - lower) * slope
        share = torch.where(is_first, share, share.clamp(min=0))
        return torch.where(is_last, share, share.clamp(max=1))

    def forward(self, numbers: Tensor) -> Tensor:
        """Map (B, F) to (B, F, width)."""
        mixed: Tensor = self.mix(self.encoding(numbers))
        return mixed.relu()


class Periodic(nn.Module):
    """Sines and cosines of frequencies that are learned; then a linear layer and ReLU a feature.

    (2022, section 3.3, "PLR".) The frequencies begin normal with deviation `sigma`.
    """

    def __init__(self, num_features: int, width: int, *, frequencies: int, sigma: float) -> None:
        super().__init__()
        self.frequencies = nn.Parameter(torch.empty(num_features, frequencies))
        nn.init.trunc_normal_(self.frequencies, std=sigma, a=-3 * sigma, b=3 * sigma)
        self.mix = _LinearPerFeature(num_features, 2 * frequencies, width)

    def forward(self, numbers: Tensor) -> Tensor:
        """Map (B, F) to (B, F, width)."""
        angles = 2 * math.pi * self.frequencies * numbers[..., None]  # (B, F, frequencies)
        mixed: Tensor = self.mix(torch.cat([angles.sin(), angles.cos()], dim=-1))
        return mixed.relu()


class _LinearPerFeature(nn.Module):
    """A linear layer for each feature."""

    def __init__(self, num_features: int, fan_in: int, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(_uniform((num_features, fan_in, width), fan_in=fan_in))
        self.bias = nn.Parameter(_uniform((num_features, width), fan_in=fan_in))

    def forward(self, encoded: Tensor) -> Tensor:
        """Map (B, F, fan_in) to (B, F, width)."""
        products = torch.bmm(encoded.transpose(0, 1), self.weight)  # (F, B, width)
        return products.transpose(0, 1) + self.bias


def _uniform(shape: tuple[int, ...], *, fan_in: int) -> Tensor:
    bound = fan_in**-0.5
    return torch.empty(shape).uniform_(-bound, bound)
