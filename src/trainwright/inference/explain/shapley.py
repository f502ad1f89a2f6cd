"""How much each feature of a row adds to what is said of it, shared out fairly.

Shapley 1953, "A value for n-person games"; Štrumbelj and Kononenko 2014, "Explaining prediction
models and individual predictions with feature contributions". Features that are left out have the
values of other rows, whatever the others are: what they add is shared by what the network does, not
by what goes together in the data.
"""

from math import comb

import torch
from torch import Tensor

from trainwright.inference.explain.asked import Asked
from trainwright.inference.explain.subjects import CHUNK, Row
from trainwright.seeds import generator_for

MOST_EXACT = 8  # features, of which all 256 subsets are asked for


def shared(row: Row, asked: Asked, *, samples: int, seed: int) -> Tensor | tuple[Tensor, Tensor]:
    """The Shapley values: exact ones of few features, else sampled ones with standard errors."""
    if row.num_parts <= MOST_EXACT:
        return exact(row, asked)
    return sampled(row, asked, samples=samples, seed=seed)


def exact(row: Row, asked: Asked) -> Tensor:
    """The Shapley values (P,) float64: each subset of the other features weighs in."""
    num = row.num_parts
    numbers = torch.arange(2**num)
    kept = (numbers[:, None] >> torch.arange(num)) % 2 == 1  # (2^P, P)
    scores, sizes = row.scores(asked, kept).double(), kept.sum(1)
    weights = torch.tensor([1 / (num * comb(num - 1, s)) for s in range(num)]).double()
    values = [
        (weights[sizes[~has]] * (scores[numbers[~has] + 2**i] - scores[~has])).sum()
        for i, has in enumerate(kept.T)
    ]
    return torch.stack(values)


@torch.no_grad()
def sampled(row: Row, asked: Asked, *, samples: int, seed: int) -> tuple[Tensor, Tensor]:
    """The Shapley values (P,) float64, and their standard errors, from so many orders at least.

    Features come in a random order and then in its reverse (Castro et al. 2009; Mitchell et al.
    2022 on such pairs), each time in the place of those of one other row. All other rows come
    equally often, so that the values sum to what the row's score differs by from their mean.
    """
    generator = generator_for(seed, "shapley")
    rounds = max(1, -(-samples // (2 * row.times)))
    num = row.num_parts
    added = []
    for other in range(rounds * row.times):
        order = torch.randperm(num, generator=generator)
        pair = torch.stack([order, order.flip(0)])  # (2, P)
        ranks = pair.argsort(1)
        kept = ranks[:, None] < torch.arange(num + 1)[None, :, None]  # (2, P + 1, P)
        others = torch.full((2 * (num + 1),), other % row.times)
        scores = [
            asked.score(row.mixed(some, which)).cpu().double()
            for some, which in zip(
                torch.split(kept.flatten(0, 1), CHUNK), torch.split(others, CHUNK), strict=True
            )
        ]
        steps = torch.cat(scores).view(2, num + 1).diff(dim=1)  # of the feature that came then
        added.append(steps.gather(1, ranks).mean(0))
    values = torch.stack(added)
    return values.mean(0), values.std(0) / len(values) ** 0.5
