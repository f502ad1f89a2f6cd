"""What moves one player of every member: torch's own kernels, over rows that share their numbers.

Neighbouring members with the same settings (they differ in the seed) and the same learning rate
are moved by one call over their rows; each other by its own optimizer, on its rows. Either way the
arithmetic is torch's, and each member's state is where its own optimizer keeps it.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim import SGD, Adagrad, Adam, AdamW, Optimizer, RMSprop

from trainwright.engine.fused import fused_kernels
from trainwright.engine.no_compiler import step_by_torch
from trainwright.engine.optim import PlayerOptimizer
from trainwright.stack.rows import stack_

# Each number of a parameter is moved by itself: rows of one tensor are moved as if alone.
_ELEMENTWISE = (SGD, Adam, AdamW, RMSprop, Adagrad)


def settings_of(optimizer: PlayerOptimizer) -> str:
    """Text that is the same for optimizers with the same numbers."""
    groups = [
        {k: v for k, v in group.items() if k not in ("params", "lr")}
        for inner in optimizer.optimizers
        for group in inner.param_groups
    ]
    kinds = [type(inner).__name__ for inner in optimizer.optimizers]
    return repr((kinds, groups, optimizer.base_lrs, optimizer.l1))


class StackedOptimizer:
    """Moves K members' `parameters`, each (K, ...), of which their own are the rows."""

    def __init__(self, members: Sequence[PlayerOptimizer], parameters: Sequence[Tensor]) -> None:
        self._members = list(members)
        self._parameters = [parameter.detach() for parameter in parameters]
        self._runs = [_Run(self._members, self._parameters, a, b) for a, b in _alike(members)]

    @torch.no_grad()
    def step(
        self, gradients: Sequence[Tensor], factors: Sequence[float], moves: Sequence[bool]
    ) -> None:
        """Move the members of which `moves` says so along gradients (K, ...), at their factors."""
        laid = [_laid_out(p, g) for p, g in zip(self._parameters, gradients, strict=True)]
        for run in self._runs:
            here = range(run.begin, run.end)
            if all(moves[k] and factors[k] == factors[run.begin] for k in here) and run.is_ready():
                run.step(laid, factors[run.begin])
                continue
            for k in here:
                if moves[k]:
                    self._members[k].step([gradient[k] for gradient in laid], factors[k])


class _Run:
    """Members `begin` to `end` (not included) of a stack, which share their optimizer's numbers."""

    def __init__(
        self,
        members: Sequence[PlayerOptimizer],
        parameters: Sequence[Tensor],
        begin: int,
        end: int,
    ) -> None:
        self.begin, self.end = begin, end
        self._members = members[begin:end]
        self._rows = [parameter[begin:end] for parameter in parameters]
        self._moved: list[_Moved] | None = None

    def is_ready(self) -> bool:
        """Whether all can be moved at once: from the second step on, when torch has made states."""
        if self.end - self.begin == 1:
            return False
        if self._moved is None:
            inner = [optimizer for member in self._members for optimizer in member.optimizers]
            if all(type(o) in _ELEMENTWISE and len(o.state) > 0 for o in inner):
                num = len(self._members[0].optimizers)
                self._moved = [_Moved(self._members, n, self._rows) for n in range(num)]
        return self._moved is not None

    def step(self, gradients: Sequence[Tensor], factor: float) -> None:
        """Move all along gradients (K, ...), laid out as the parameters are."""
        assert self._moved is not None
        for member in self._members:
            member.set_rate(factor)
        first = self._members[0]
        rows = [gradient[self.begin : self.end] for gradient in gradients]
        if first.l1:
            rows = [
                g + first.l1 * p.sign() if own.dim() >= 2 else g
                for g, p, own in zip(rows, self._rows, first.parameters, strict=True)
            ]
        for moved in self._moved:
            moved.step(rows)


class _Moved:
    """What the members' optimizers number `number` hold between them, moved by one like them."""

    def __init__(
        self, members: Sequence[PlayerOptimizer], number: int, rows: Sequence[Tensor]
    ) -> None:
        first = members[0]
        self._like = first.optimizers[number]
        self._positions = first.positions[number]
        make: Callable[[list[dict[str, Any]]], Optimizer] = type(self._like)
        self._optimizer = make(
            [
                {**_settings(group), "params": [rows[position] for position in positions]}
                for group, positions in zip(self._like.param_groups, self._positions, strict=True)
            ]
        )
        self._counts: list[Tensor] = []
        for position in (p for positions in self._positions for p in positions):
            states = [m.optimizers[number].state[m.parameters[position]] for m in members]
            self._optimizer.state[rows[position]] = self._stacked(states)
        self._kernels = fused_kernels(self._optimizer)

    def _stacked(self, states: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """One state for the rows of a parameter. Counts of steps are the same in all of them."""
        stacked: dict[str, Any] = {}
        for name, value in states[0].items():
            if value is None:
                stacked[name] = None
                continue
            together = stack_([state[name] for state in states])
            if name == "step":
                self._counts.append(together)
                together = together[0].clone()
            stacked[name] = together
        return stacked

    def step(self, rows: Sequence[Tensor]) -> None:
        """Move the rows of all members along these gradients."""
        optimizer = self._optimizer
        for group, like in zip(optimizer.param_groups, self._like.param_groups, strict=True):
            group["lr"] = like["lr"]
        if self._kernels is None:
            for group, positions in zip(optimizer.param_groups, self._positions, strict=True):
                for parameter, position in zip(group["params"], positions, strict=True):
                    parameter.grad = rows[position]
            step_by_torch(optimizer)
            optimizer.zero_grad()
        else:
            for kernel, positions in zip(self._kernels, self._positions, strict=True):
                kernel([rows[position] for position in positions])
        if self._counts:
            torch._foreach_add_(self._counts, 1)


def _settings(group: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in group.items() if key != "params"}


def _alike(members: Sequence[PlayerOptimizer]) -> list[tuple[int, int]]:
    """The runs of neighbours with the same settings, as (begin, end)."""
    found: list[tuple[int, int]] = []
    before = None
    for number, member in enumerate(members):
        settings = settings_of(member)
        if settings == before:
            found[-1] = (found[-1][0], number + 1)
        else:
            found.append((number, number + 1))
        before = settings
    return found


def _laid_out(parameter: Tensor, gradient: Tensor) -> Tensor:
    """The gradient (K, ...) in its parameter's layout, through which fused kernels walk."""
    if gradient.stride() == parameter.stride():
        return gradient
    return torch.empty_strided(
        parameter.shape, parameter.stride(), dtype=parameter.dtype, device=parameter.device
    ).copy_(gradient)
