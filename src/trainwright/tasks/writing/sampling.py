"""From what a network says of the next token to one that is drawn."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from trainwright.seeds import generator_for


@dataclass(frozen=True)
class Sampling:
    """Which tokens may be drawn, and how likely each is; in this order.

    `repetition_penalty` (Keskar et al. 2019, arXiv:1909.05858): logits of tokens that the text has
    are divided by it, or multiplied below 0. `temperature`: logits are divided by it; 0: the
    likeliest. `top_k`: only so many likeliest. `top_p` (Holtzman et al. 2020, arXiv:1904.09751):
    only the likeliest that together have this share. `min_p` (Nguyen et al. 2024,
    arXiv:2407.01082): none less likely than this share of the likeliest. The likeliest is always
    left. Raises ValueError.
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.temperature < float("inf"):
            raise ValueError(f"temperature={self.temperature:g} must be at least 0")
        if self.top_k is not None and self.top_k < 1:
            raise ValueError(f"top_k={self.top_k} must be at least 1")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top_p={self.top_p:g} must be above 0 and at most 1")
        if not 0 <= self.min_p <= 1:
            raise ValueError(f"min_p={self.min_p:g} must be from 0 to 1")
        if not 0 < self.repetition_penalty < float("inf"):
            raise ValueError(f"repetition_penalty={self.repetition_penalty:g} must be above 0")

    def shares(self, logits: Tensor, text: Tensor) -> Tensor:
        """How likely each token is drawn, (B, V) float64, from logits (B, V) after texts (B, T)."""
        logits = logits.double()
        if self.repetition_penalty != 1:
            told = logits.gather(1, text)
            factor = self.repetition_penalty
            told = torch.where(told > 0, told / factor, told * factor)
            logits = logits.scatter(1, text, told)
        if self.temperature == 0:
            return torch.zeros_like(logits).scatter(1, logits.argmax(1, keepdim=True), 1.0)
        logits = logits - logits.amax(dim=1, keepdim=True)  # or 1e-300 would make NaN of them
        shares = (logits / self.temperature).softmax(dim=1)
        if self.top_k is not None and self.top_k < shares.shape[1]:
            least = shares.topk(self.top_k, dim=1).values[:, -1:]
            shares = _normalised(shares * (shares >= least))
        if self.top_p < 1:
            ordered, order = shares.sort(dim=1, descending=True, stable=True)
            before = ordered.cumsum(dim=1) - ordered  # of those that are likelier
            shares = shares.masked_fill(
                torch.zeros_like(shares, dtype=torch.bool).scatter(1, order, before >= self.top_p),
                0.0,
            )
            shares = _normalised(shares)
        if self.min_p > 0:
            least = self.min_p * shares.amax(dim=1, keepdim=True)
            shares = _normalised(shares * (shares >= least))
        return shares


class Draws:
    """Uniform numbers for texts by their number, the same however many are written at a time."""

    def __init__(self, seed: int, numbers: Sequence[int], most: int) -> None:
        drawn = [
            torch.rand(most, dtype=torch.float64, generator=generator_for(seed, "text", number))
            for number in numbers
        ]
        self._uniform = torch.stack(drawn)  # (B, most)

    def token(self, shares: Tensor, place: int) -> Tensor:
        """The token (B,) at that place of each text, drawn from shares (B, V)."""
        summed = shares.cumsum(dim=1)
        aimed = self._uniform[:, place, None] * summed[:, -1:]
        # The first whose sum is beyond; rounding must not lead past the last that has a share.
        found = torch.searchsorted(summed, aimed, right=True)
        last = shares.shape[1] - 1 - (shares > 0).flip(1).long().argmax(dim=1, keepdim=True)
        return torch.minimum(found, last)[:, 0]


def _normalised(shares: Tensor) -> Tensor:
    return shares / shares.sum(dim=1, keepdim=True)
