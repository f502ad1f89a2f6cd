"""What a classifier makes of generated examples: how sure it is, and which classes it finds."""

import torch
from torch import Tensor

from trainwright.score.figure import Figure, jackknifed, mean_of

CONFIDENT = 0.9


def class_figures(probabilities: Tensor, asked: Tensor | None) -> dict[str, Figure]:
    """Figures from class probabilities (N, C), and the classes asked for (N,) where they were.

    `confident`: the share to which the classifier gives one class over 0.9. `as_asked`: the share
    that it takes for the class asked for. `class_entropy`: the entropy of the shares of the classes
    it finds, over that of equal shares: 1 where all are equally frequent, 0 where there is but
    one. `smallest_class`: the share of the rarest class, times C: 1 where all are equal, 0 where
    one is missing. Entropy and smallest share have the jackknife's standard error.
    """
    num_classes = probabilities.shape[1]
    likeliest, found = probabilities.cpu().max(dim=1)

    def shares(mask: Tensor) -> Tensor:
        return torch.bincount(found[mask], minlength=num_classes).double() / int(mask.sum())

    figures = {"confident": mean_of(likeliest > CONFIDENT)}
    if asked is not None:
        figures["as_asked"] = mean_of(found == asked.cpu())
    if num_classes > 1:
        figures["class_entropy"] = jackknifed(lambda m: entropy(shares(m)), len(found))
        figures["smallest_class"] = jackknifed(
            lambda m: num_classes * float(shares(m).min()), len(found)
        )
    return figures


def entropy(shares: Tensor) -> float:
    """The entropy of shares (C,) that sum to 1, C at least 2, over its maximum log C."""
    total = torch.special.entr(shares.double()).sum()
    return float(total / torch.tensor(float(len(shares)), dtype=torch.float64).log())


def in_proportion(counts: Tensor, num_examples: int, generator: torch.Generator) -> Tensor:
    """Classes (N,) in proportion to `counts` (C,) to within one example, shuffled."""
    edges = counts.double().cumsum(0) / counts.sum()  # (C,)
    places = (torch.arange(num_examples).double() + 0.5) / num_examples
    classes = torch.searchsorted(edges, places, right=True).clamp(max=len(counts) - 1)
    return classes[torch.randperm(num_examples, generator=generator)]
