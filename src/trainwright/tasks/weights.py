"""How much the loss of each class weighs."""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from trainwright.wording import printable

MOST_SHOWN = 6


def class_weights_of(
    wanted: str | Sequence[float] | None,
    names: Sequence[str],
    train_targets: Callable[[], Tensor] | None,
) -> Tensor | None:
    """A weight a class (C,), as a config asks for them; None: all weigh the same.

    balanced: examples / (classes * examples of the class), so that the mean over the training
    examples is 1. `train_targets` is None where nothing is trained, and then no count is right or
    wrong. Raises ValueError.
    """
    if wanted is None:
        return None
    if wanted == "balanced":
        weights = torch.ones(len(names))
        if train_targets is not None:
            counts = torch.bincount(train_targets().cpu(), minlength=len(names)).to(weights.dtype)
            found = counts > 0
            weights[found] = counts.sum() / (found.sum() * counts[found])
        return weights
    if isinstance(wanted, str):
        raise ValueError(f"class_weights={wanted!r} is not balanced, a list of numbers, or null")
    numbers = [float(weight) for weight in wanted]
    if not all(math.isfinite(weight) and weight >= 0 for weight in numbers) or not any(numbers):
        raise ValueError(f"class_weights={numbers} must be numbers from 0 on, and not all 0")
    if train_targets is not None and len(numbers) != len(names):
        told = ", ".join(printable(name)[:40] for name in names[:MOST_SHOWN])
        more = ", ..." if len(names) > MOST_SHOWN else ""
        raise ValueError(
            f"class_weights has {len(numbers)} numbers, and there are {len(names)} classes: "
            f"{told}{more}"
        )
    return torch.tensor(numbers)


def shown(weights: Tensor, names: Sequence[str]) -> str:
    """The weights for a person, of many classes the largest and the smallest."""
    pairs = sorted(zip(weights.tolist(), names, strict=True), key=lambda pair: -pair[0])
    if len(pairs) > MOST_SHOWN:
        pairs = [pairs[0], pairs[-1]]
    told = (" to " if len(names) > MOST_SHOWN else ", ").join(
        f"{printable(name)[:40]} {weight:.3g}" for weight, name in pairs
    )
    return f"class weights {told}"
