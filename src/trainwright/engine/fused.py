"""The fused kernels of Adam, AdamW and SGD, called without what torch does around them.

`torch.optim.Adam(fused=True).step()` finds out anew each step which tensors it holds and how they
are to be grouped: some 60 µs of Python around a kernel that takes 120 µs for a small MLP. A run's
parameters don't change, so they are gathered once. The kernel and its arguments are torch's own
(`torch/optim/adam.py`, `torch/optim/sgd.py`), and so is every bit of the result.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim import SGD, Adam, AdamW, Optimizer

# Moves the parameters of one group along their gradients, by the group's settings of this moment.
Kernel = Callable[[list[Tensor]], None]


def fused_kernels(optimizer: Optimizer, *, counts: bool = True) -> list[Kernel] | None:
    """One kernel for each group of an optimizer that has made at least one step.

    None where there is no such kernel, or it was not asked for: then torch's own step moves it.
    Without `counts` the steps in the optimizer's state are counted by who calls the kernels.
    """
    make = _MAKERS.get(type(optimizer))
    if make is None or not all(group["fused"] for group in optimizer.param_groups):
        return None
    return [make(optimizer, group, counts) for group in optimizer.param_groups]


def _adam(optimizer: Optimizer, group: dict[str, Any], counts: bool) -> Kernel:
    parameters = group["params"]
    states = [optimizer.state[parameter] for parameter in parameters]
    steps = [state["step"] for state in states]
    means = [state["exp_avg"] for state in states]
    squares = [state["exp_avg_sq"] for state in states]
    maxima = [state["max_exp_avg_sq"] for state in states] if group["amsgrad"] else []
    kernel = torch._fused_adamw_ if group["decoupled_weight_decay"] else torch._fused_adam_
    beta1, beta2 = group["betas"]

    def move(gradients: list[Tensor]) -> None:
        if counts:
            torch._foreach_add_(steps, 1)
        kernel(
            parameters,
            gradients,
            means,
            squares,
            maxima,
            steps,
            amsgrad=group["amsgrad"],
            lr=group["lr"],
            beta1=beta1,
            beta2=beta2,
            weight_decay=group["weight_decay"],
            eps=group["eps"],
            maximize=group["maximize"],
        )

    return move


def _sgd(optimizer: Optimizer, group: dict[str, Any], counts: bool) -> Kernel:
    parameters = group["params"]
    has_momentum = group["momentum"] != 0
    buffers = [optimizer.state[p]["momentum_buffer"] for p in parameters] if has_momentum else []

    def move(gradients: list[Tensor]) -> None:
        torch._fused_sgd_(
            parameters,
            gradients,
            buffers,
            weight_decay=group["weight_decay"],
            momentum=group["momentum"],
            lr=group["lr"],
            dampening=group["dampening"],
            nesterov=group["nesterov"],
            maximize=group["maximize"],
            is_first_step=False,
        )

    return move


_MAKERS: dict[type[Optimizer], Callable[[Optimizer, dict[str, Any], bool], Kernel]] = {
    Adam: _adam,
    AdamW: _adam,
    SGD: _sgd,
}
