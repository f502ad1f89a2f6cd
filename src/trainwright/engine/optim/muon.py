"""Muon: momentum, orthogonalised; for matrices, and for the filters of convolutions."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import islice
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor
from torch.optim import Optimizer

from trainwright.engine.device.bf16 import multiplies_bf16

Polynomials = Literal["fixed", "optimal"]
FIXED = (3.4445, -4.7750, 2.0315)  # of a x + b x^3 + c x^5, in each step; the post's
LEAST = 0.01  # of a matrix's norm: the singular values that `optimal` polynomials bring near 1
SAFETY = 1.01  # their intervals are so much wider, since bf16 rounds
MOST_AT_ONCE = 2**21  # numbers in matrices that are orthogonalised at a time


class Muon(Optimizer):
    """Moves each weight by its momentum with all singular values brought near 1.

    Jordan et al. 2024, https://kellerjordan.github.io/posts/muon/. A weight of more dimensions is
    the matrix of its first by all the others: a row for each filter. As torch.optim.Muon, which
    takes matrices alone, the learning rate of a matrix with more rows than columns is larger by the
    square root of their ratio.

    With `fixed_norm` each weight's norm is set to the square root of its rows before every move,
    in the place of weight decay: right where a normalisation follows, which undoes the norm.
    `polynomials`: of the iteration; three `optimal` ones come as near as five of `fixed`.
    """

    def __init__(
        self,
        params: Any,
        *,
        lr: float = 0.02,
        momentum: float = 0.95,
        nesterov: bool = True,
        weight_decay: float = 0.01,
        ns_steps: int = 5,
        fixed_norm: bool = False,
        polynomials: Polynomials = "fixed",
    ) -> None:
        if lr < 0:
            raise ValueError(f"lr={lr} is below 0")
        if not 0 <= momentum < 1:
            raise ValueError(f"momentum={momentum} is not in 0 <= value < 1")
        if weight_decay < 0:
            raise ValueError(f"weight_decay={weight_decay} is below 0")
        if polynomials not in get_args(Polynomials):
            raise ValueError(
                f"polynomials={polynomials!r} is none of {', '.join(get_args(Polynomials))}"
            )
        if ns_steps < 1:
            raise ValueError(f"ns_steps={ns_steps} is below 1")
        if fixed_norm and weight_decay:
            raise ValueError(
                f"weight_decay={weight_decay} has no effect, since fixed_norm resets the norm: "
                "set weight_decay=0"
            )
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "nesterov": nesterov,
            "weight_decay": weight_decay,
            "ns_steps": ns_steps,
            "fixed_norm": fixed_norm,
            "polynomials": polynomials,
        }
        super().__init__(params, defaults)
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.dim() < 2:
                    raise ValueError(
                        f"Muon moves weights of at least 2 dimensions, not {parameter.dim()}"
                    )

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Move every parameter that has a gradient. Without a look at any number."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            moving = [p for p in group["params"] if p.grad is not None]
            for parameter in moving:
                state = self.state[parameter]
                if "momentum_buffer" not in state:
                    state["momentum_buffer"] = torch.zeros_like(parameter)
            means = [self.state[parameter]["momentum_buffer"] for parameter in moving]
            gradients = [parameter.grad for parameter in moving]
            for old, new in moved_by_muon(moving, gradients, means, group, group["lr"]):
                old.copy_(new)
        return loss


def moved_by_muon(
    parameters: Sequence[Tensor],
    gradients: Sequence[Tensor],
    means: Sequence[Tensor],
    group: Mapping[str, Any],
    lr: float | Tensor,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Each weight and each momentum, and what it comes to in one step by its group's settings.

    `lr` may be a 0-dim tensor, on the device where the others are: then no number is read.
    """
    for alike in _alike(parameters):
        mine = [parameters[number] for number in alike]
        along, before = [gradients[n] for n in alike], [means[n] for n in alike]
        after = torch._foreach_lerp(before, along, 1 - group["momentum"])
        yield from zip(before, after, strict=True)
        if group["nesterov"]:
            after = torch._foreach_lerp(along, after, group["momentum"])
        stacked = torch.stack([_wide(direction.flatten(1)) for direction in after])
        updates = orthogonalised(
            stacked, num_steps=group["ns_steps"], polynomials=group.get("polynomials", "fixed")
        )
        for parameter, update in zip(mine, updates.to(mine[0].dtype), strict=True):
            rows, columns = parameter.flatten(1).shape
            if group["fixed_norm"]:
                kept = parameter * (math.sqrt(rows) / parameter.norm().clamp(min=1e-7))
            else:
                kept = parameter * (1 - lr * group["weight_decay"])
            rate = lr * math.sqrt(max(1, rows / columns))
            moved = update.T if rows > columns else update
            yield parameter, kept - moved.reshape(parameter.shape) * rate


def _alike(parameters: Sequence[Tensor]) -> Iterator[list[int]]:
    """The numbers of weights whose matrices have the same sides, some at a time."""
    by_sides: dict[tuple[int, ...], list[int]] = {}
    for number, parameter in enumerate(parameters):
        sides = sorted((parameter.shape[0], parameter[0].numel()))
        by_sides.setdefault(tuple(sides), []).append(number)
    for (rows, columns), numbers in by_sides.items():
        rest = iter(numbers)
        while some := list(islice(rest, max(1, MOST_AT_ONCE // (rows * columns)))):
            yield some


def _wide(matrix: Tensor) -> Tensor:
    return matrix.T if matrix.shape[0] > matrix.shape[1] else matrix


def orthogonalised(
    matrices: Tensor, *, num_steps: int, polynomials: Polynomials = "fixed"
) -> Tensor:
    """About U V^T of each matrix U S V^T in (N, rows, columns), rows <= columns.

    By a Newton-Schulz iteration: a few products of matrices, in bf16 where the hardware multiplies
    it, else in fp32. Singular values come out between 0.7 and 1.3 rather than as 1, unless they are
    tiny beside the norm.
    """
    x = matrices.bfloat16() if multiplies_bf16(matrices.device.type) else matrices.float()
    x = x / torch.linalg.vector_norm(x, dim=(-2, -1), keepdim=True).clamp(min=1e-7)
    # No singular value is above 1.
    for a, b, c in [FIXED] * num_steps if polynomials == "fixed" else optimal(num_steps):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x


@lru_cache
def optimal(num_steps: int) -> list[tuple[float, float, float]]:
    """Polynomials of which each is the best after those before it (Amsel et al. 2025, 2505.16932).

    That is, the a x + b x^3 + c x^5 that is nearest to 1 all over the interval in which singular
    values from LEAST to 1 are by then, found by Remez's algorithm.
    """
    low, high = LEAST, 1.0
    found = []
    for _ in range(num_steps):
        low, high = low / SAFETY, high * SAFETY
        inner = (3 * low + high) / 4, (low + 3 * high) / 4
        for _ in range(50):  # the error is as large, with signs in turn, at four points
            points = np.array([low, *inner, high])
            powers = [points, points**3, points**5, np.array([1, -1, 1, -1])]
            a, b, c, error = map(float, np.linalg.solve(np.stack(powers, axis=1), np.ones(4)))
            root = math.sqrt(9 * b * b - 20 * a * c)
            inner = math.sqrt((-3 * b - root) / (10 * c)), math.sqrt((-3 * b + root) / (10 * c))
        # The same on all processors, which round the solution differently.
        found.append((round(a, 5), round(b, 5), round(c, 5)))
        low, high = 1 - abs(error), 1 + abs(error)
    return found
