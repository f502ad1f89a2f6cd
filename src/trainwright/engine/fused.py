"""The kernels of Adam, AdamW, SGD and Muon, called without what torch does around them.

`torch.optim.Adam(fused=True).step()` finds out anew each step which tensors it holds and how they
are to be grouped: some 60 µs of Python around a kernel that takes 120 µs for a small MLP. A run's
parameters don't change, so they are gathered once. The kernel and its arguments are torch's own
(`torch/optim/adam.py`, `torch/optim/sgd.py`), and so is every bit of the result. Muon's
(`muon.py`) is no single kernel, but asks as little of the host.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.optim import SGD, Adam, AdamW, Optimizer

from trainwright.engine.muon import Muon, moved_by_muon

# Moves the parameters of one group along their gradients, by the group's settings of this moment.
Kernel = Callable[[list[Tensor]], None]


class OnDevice(NamedTuple):
    """What kernels read where they run, at each call, instead of being told by the host.

    `rates`: the learning rate of each group, 0-dim. `found_inf`: 1 where nothing is to be changed,
    else 0, 0-dim float32.
    """

    rates: Sequence[Tensor]
    found_inf: Tensor


def fused_kernels(
    optimizer: Optimizer, *, counts: bool = True, on_device: OnDevice | None = None
) -> list[Kernel] | None:
    """One kernel for each group of an optimizer that has made at least one step.

    None where there is no such kernel, or it was not asked for: then torch's own step moves it.
    Without `counts` the steps in the optimizer's state are counted by who calls the kernels.
    """
    make = _MAKERS.get(type(optimizer))
    if make is None or not is_fused(optimizer):
        return None
    if on_device is None:
        return [make(optimizer, group, counts, None, None) for group in optimizer.param_groups]
    return [
        make(optimizer, group, counts, rate, on_device.found_inf)
        for group, rate in zip(optimizer.param_groups, on_device.rates, strict=True)
    ]


def is_fused(optimizer: Optimizer) -> bool:
    """Whether there are such kernels for an optimizer, and they were asked for."""
    return type(optimizer) in _MAKERS and all(
        group.get("fused", True) for group in optimizer.param_groups
    )


def has_begun(optimizer: Optimizer) -> bool:
    """Whether an optimizer with such kernels has all the state that they work on."""
    if isinstance(optimizer, SGD):
        owners = [p for g in optimizer.param_groups if g["momentum"] != 0 for p in g["params"]]
    else:
        owners = [p for g in optimizer.param_groups for p in g["params"]]
    return all(parameter in optimizer.state for parameter in owners)


def _adam(
    optimizer: Optimizer,
    group: dict[str, Any],
    counts: bool,
    rate: Tensor | None,
    found_inf: Tensor | None,
) -> Kernel:
    parameters = group["params"]
    states = [optimizer.state[parameter] for parameter in parameters]
    steps = [state["step"] for state in states]
    means = [state["exp_avg"] for state in states]
    squares = [state["exp_avg_sq"] for state in states]
    maxima = [state["max_exp_avg_sq"] for state in states] if group["amsgrad"] else []
    kernel = torch._fused_adamw_ if group["decoupled_weight_decay"] else torch._fused_adam_
    beta1, beta2 = group["betas"]

    def move(gradients: list[Tensor]) -> None:
        if counts and found_inf is None:
            torch._foreach_add_(steps, 1)
        elif counts and found_inf is not None:
            torch._foreach_add_(steps, [1 - found_inf] * len(steps))
        kernel(
            parameters,
            gradients,
            means,
            squares,
            maxima,
            steps,
            amsgrad=group["amsgrad"],
            lr=group["lr"] if rate is None else rate,
            beta1=beta1,
            beta2=beta2,
            weight_decay=group["weight_decay"],
            eps=group["eps"],
            maximize=group["maximize"],
            found_inf=found_inf,
        )

    return move


def _sgd(
    optimizer: Optimizer,
    group: dict[str, Any],
    counts: bool,
    rate: Tensor | None,
    found_inf: Tensor | None,
) -> Kernel:
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
            lr=group["lr"] if rate is None else rate,
            dampening=group["dampening"],
            nesterov=group["nesterov"],
            maximize=group["maximize"],
            is_first_step=False,
            found_inf=found_inf,
        )

    return move


def _muon(
    optimizer: Optimizer,
    group: dict[str, Any],
    counts: bool,
    rate: Tensor | None,
    found_inf: Tensor | None,
) -> Kernel:
    parameters = group["params"]
    means = [optimizer.state[parameter]["momentum_buffer"] for parameter in parameters]

    def move(gradients: list[Tensor]) -> None:
        lr = group["lr"] if rate is None else rate
        for parameter, gradient, mean in zip(parameters, gradients, means, strict=True):
            olds, news = (parameter, mean), moved_by_muon(parameter, gradient, mean, group, lr)
            for old, new in zip(olds, news, strict=True):
                old.copy_(new if found_inf is None else torch.where(found_inf != 0, old, new))

    return move


_Maker = Callable[[Optimizer, dict[str, Any], bool, Tensor | None, Tensor | None], Kernel]
_MAKERS: dict[type[Optimizer], _Maker] = {
    Adam: _adam,
    AdamW: _adam,
    SGD: _sgd,
    Muon: _muon,
}
