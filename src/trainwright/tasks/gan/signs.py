"""What an evaluation shows of a GAN's health: can the players be told apart, do samples vary?"""

from collections.abc import Sequence

import torch
from torch import Tensor

from trainwright.seeds import generator_for

MIN_EXAMPLES = 10  # of a class, before the distances between them say anything


def separation(real_logits: Tensor, fake_logits: Tensor) -> float:
    """The probability that a real image gets a higher logit than a fake: 1/2 is guessing.

    From logits (N,) and (M,); equal ones count half. This is the area under the ROC curve (Mann &
    Whitney 1947), a discriminator's accuracy for all thresholds at once: losses put theirs in
    different places, or nowhere.
    """
    fakes = fake_logits.double().sort().values
    real = real_logits.double()
    below = torch.searchsorted(fakes, real)  # (N,): so many fakes have less
    at_most = torch.searchsorted(fakes, real, right=True)
    return float((below + at_most).double().mean() / (2 * len(fakes)))


def diversity(fakes: Tensor, real: Tensor) -> float:
    """The mean distance between two fakes (N, C, H, W), over that between two real images.

    Pixels, Euclidean, over the same random pairs of places. 1: as varied; 0: all the same.
    """
    order = torch.randperm(len(fakes), generator=generator_for("diversity"))
    fake_distance, real_distance = _mean_distance(fakes, order), _mean_distance(real, order)
    return fake_distance / real_distance if real_distance else 1.0


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
