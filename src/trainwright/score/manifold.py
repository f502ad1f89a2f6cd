"""Precision and recall, density and coverage: does each set lie where the other one is dense?

Precision and recall: Kynkäänniemi et al. 2019 (arXiv:1904.06991), with their k = 3. Density and
coverage: Naeem et al. 2020 (arXiv:2002.09797), with their k = 5. All depend on how many examples
there are on either side: compare only values with the same numbers.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from trainwright.score.figure import Figure, mean_of
from trainwright.score.neighbours import squared_distances, squared_radii

PRECISION_K = 3
DENSITY_K = 5


@dataclass(frozen=True)
class Manifold:
    """Real features (M, F) and the squared radii (M,) to their 3rd and 5th nearest neighbours."""

    points: Tensor
    third: Tensor
    fifth: Tensor

    @classmethod
    def of(cls, points: Tensor) -> "Manifold":
        """Raises ValueError for fewer than 6 points."""
        return cls(points, squared_radii(points, PRECISION_K), squared_radii(points, DENSITY_K))


def manifold_figures(features: Tensor, real: Manifold) -> dict[str, Figure]:
    """Precision, recall, density and coverage of features (N, F), N at least 4.

    Precision is the share of them within reach of a real example (its 3rd nearest real neighbour
    is no nearer), recall the share of real examples within reach of one of them. Density counts
    the real examples within whose reach (5th neighbour) each lies, over 5; it may exceed 1.
    Coverage is the share of real examples with one of them within reach. Standard errors are of
    means over examples.
    """
    own = squared_radii(features, PRECISION_K)  # (N,)
    precise, dense = [], []
    recalled = torch.zeros(len(real.points), dtype=torch.bool, device=features.device)
    covered = recalled.clone()
    for start, block in squared_distances(features, real.points):  # (B, M)
        precise.append((block <= real.third).any(dim=1))
        dense.append((block <= real.fifth).sum(dim=1).double() / DENSITY_K)
        recalled |= (block <= own[start : start + len(block), None]).any(dim=0)
        covered |= block.amin(dim=0) <= real.fifth
    return {
        "precision": mean_of(torch.cat(precise)),
        "recall": mean_of(recalled),
        "density": mean_of(torch.cat(dense)),
        "coverage": mean_of(covered),
    }
