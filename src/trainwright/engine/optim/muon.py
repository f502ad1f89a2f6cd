"""Muon: momentum, orthogonalised; for matrices, and for the filters of convolutions."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # of the quintic iteration; the post's


class Muon(Optimizer):
    """Moves each weight by its momentum with all singular values brought near 1.

    Jordan et al. 2024, https://kellerjordan.github.io/posts/muon/. A weight of more dimensions is
    the matrix of its first by all the others: a row for each filter. As torch.optim.Muon, which
    takes matrices alone, the learning rate of a matrix with more rows than columns is larger by the
    square root of their ratio.

    With `fixed_norm` each weight's norm is set to the square root of its rows before every move,
    in the place of weight decay: right where a normalisation follows, which undoes the norm.
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
    ) -> None:
        if lr < 0:
            raise ValueError(f"lr={lr} is below 0")
        if not 0 <= momentum < 1:
            raise ValueError(f"momentum={momentum} is not in 0 <= value < 1")
        if weight_decay < 0:
            raise ValueError(f"weight_decay={weight_decay} is below 0")
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
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                if "momentum_buffer" not in state:
                    state["momentum_buffer"] = torch.zeros_like(parameter)
                mean = state["momentum_buffer"]
                moved, mean_moved = moved_by_muon(
                    parameter, parameter.grad, mean, group, group["lr"]
                )
                parameter.copy_(moved)
                mean.copy_(mean_moved)
        return loss


def moved_by_muon(
    parameter: Tensor,
    gradient: Tensor,
    mean: Tensor,
    group: Mapping[str, Any],
    lr: float | Tensor,
) -> tuple[Tensor, Tensor]:
    """What a weight and its momentum come to in one step, by its group's settings.

    `lr` may be a 0-dim tensor, on the device where the others are: then no number is read.
    """
    mean = mean.lerp(gradient, 1 - group["momentum"])
    direction = gradient.lerp(mean, group["momentum"]) if group["nesterov"] else mean
    matrix = direction.flatten(1)  # (rows, columns)
    rows, columns = matrix.shape
    if group["fixed_norm"]:
        kept = parameter * (math.sqrt(rows) / parameter.norm().clamp(min=1e-7))
    else:
        kept = parameter * (1 - lr * group["weight_decay"])
    update = orthogonalised(matrix, num_steps=group["ns_steps"])
    rate = lr * math.sqrt(max(1, rows / columns))
    return kept - update.view_as(direction).to(kept.dtype) * rate, mean


def orthogonalised(matrix: Tensor, *, num_steps: int) -> Tensor:
    """About U V^T of a matrix U S V^T (rows, columns), in bf16, by a Newton-Schulz iteration.

    Its singular values come out between 0.7 and 1.2 rather than as 1, unless they are tiny beside
    the largest, in a few products of matrices.
    """
    a, b, c = COEFFICIENTS
    is_tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.bfloat16()
    if is_tall:
        x = x.T
    x = x / x.norm().clamp(min=1e-7)  # no singular value is above 1
    for _ in range(num_steps):
        gram = x @ x.T
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.T if is_tall else x
