"""What an evaluation shows of a generator's health: do its samples vary, have they contrast?"""

from collections.abc import Sequence

import torch
from torch import Tensor

from trainwright.seeds import generator_for

MIN_EXAMPLES = 10  # of a class, before the distances between them say anything


def diversity(fakes: Tensor, real: Tensor) -> float:
    """The mean distance between two fakes (N, C, H, W), over that between two real images.

    Pixels, Euclidean, over the same random pairs of places. 1: as varied; 0: all the same.
    """
    order = torch.randperm(len(fakes), generator=generator_for("diversity"))
    fake_distance, real_distance = _mean_distance(fakes, order), _mean_distance(real, order)
    return fake_distance / real_distance if real_distance else 1.0


def contrast(fakes: Tensor, real: Tensor) -> float:
    """The mean deviation of the pixels within an image (N, C, H, W), over that of real ones."""
    of_fakes, of_real = (float(i.flatten(1).float().std(dim=1).mean()) for i in (fakes, real))
    return of_fakes / of_real if of_real else 1.0


def class_diversity(
    fakes: Tensor, real: Tensor, classes: Tensor, names: Sequence[str]
) -> dict[str, float]:
    """The diversity within each class (N,) that has examples enough, by the class's name."""
    found = {}
    for number, name in enumerate(names):
        members = classes == number
        if int(members.sum()) >= MIN_EXAMPLES:
            found[name] = diversity(fakes[members], real[members])
    return found


def _mean_distance(images: Tensor, order: Tensor) -> float:
    flat = images.flatten(1).float()[order.to(images.device)]  # (N, D)
    return float((flat - flat.roll(1, dims=0)).norm(dim=1).mean())
