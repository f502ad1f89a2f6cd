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

from trainwright.engine.optim.muon import Muon, moved_by_muon

# Moves the parameters of one group along their gradients, by the group's settings of this moment.
Kernel = Callable[[list[Tensor]], None]


class OnDevice(NamedTuple):
    """What kernels read where they run, at each call, instead of being told by the host.

    `rates`: the learning rate of each group, 0-dim. `found_inf`: 1 where nothing is to be changed,
    else 0, 0-dim float32.
    """

    rates: Sequence[Tensor]
    found_inf: Tensor


class _Group(NamedTuple):
    """What a kernel is made of: a group of an optimizer, and what is read on the device instead."""

    optimizer: Optimizer
    settings: dict[str, Any]
    counts: bool
    rate: Tensor | None = None
    found_inf: Tensor | None = None

    @property
    def lr(self) -> float | Tensor:
        """The learning rate: the device's where there is one, else the host's."""
        return self.settings["lr"] if self.rate is None else self.rate

    def state(self, name: str) -> list[Tensor]:
        """What the optimizer keeps under a name, a parameter after the other."""
        return [self.optimizer.state[parameter][name] for parameter in self.settings["params"]]


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
    groups = optimizer.param_groups
    if on_device is None:
        return [make(_Group(optimizer, group, counts)) for group in groups]
    return [
        make(_Group(optimizer, group, counts, rate, on_device.found_inf))
        for group, rate in zip(groups, on_device.rates, strict=True)
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


def _adam(group: _Group) -> Kernel:
    settings, found_inf = group.settings, group.found_inf
    steps, means, squares = (group.state(name) for name in ("step", "exp_avg", "exp_avg_sq"))
    maxima = group.state("max_exp_avg_sq") if settings["amsgrad"] else []
    kernel = torch._fused_adamw_ if settings["decoupled_weight_decay"] else torch._fused_adam_
    beta1, beta2 = settings["betas"]

    def move(gradients: list[Tensor]) -> None:
        if group.counts and found_inf is None:
            torch._foreach_add_(steps, 1)
        elif group.counts and found_inf is not None:
            torch._foreach_add_(steps, [1 - found_inf] * len(steps))
        kernel(
            settings["params"],
            gradients,
            means,
            squares,
            maxima,
            steps,
            amsgrad=settings["amsgrad"],
            lr=group.lr,
            beta1=beta1,
            beta2=beta2,
            weight_decay=settings["weight_decay"],
            eps=settings["eps"],
            maximize=settings["maximize"],
            found_inf=found_inf,
        )

    return move


def _sgd(group: _Group) -> Kernel:
    settings = group.settings
    buffers = group.state("momentum_buffer") if settings["momentum"] != 0 else []

    def move(gradients: list[Tensor]) -> None:
        torch._fused_sgd_(
            settings["params"],
            gradients,
            buffers,
            weight_decay=settings["weight_decay"],
            momentum=settings["momentum"],
            lr=group.lr,
            dampening=settings["dampening"],
            nesterov=settings["nesterov"],
            maximize=settings["maximize"],
            is_first_step=False,
            found_inf=group.found_inf,
        )

    return move


def _muon(group: _Group) -> Kernel:
    settings, found_inf = group.settings, group.found_inf
    means = group.state("momentum_buffer")

    def move(gradients: list[Tensor]) -> None:
        moved = moved_by_muon(settings["params"], gradients, means, settings, group.lr)
        for old, new in moved:
            old.copy_(new if found_inf is None else torch.where(found_inf != 0, old, new))

    return move


_MAKERS: dict[type[Optimizer], Callable[[_Group], Kernel]] = {
    Adam: _adam,
    AdamW: _adam,
    SGD: _sgd,
    Muon: _muon,
}
