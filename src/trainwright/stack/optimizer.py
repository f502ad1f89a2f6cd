"""What moves one player of every member: torch's own kernels, called once for many members.

Members with the same numbers (they differ in the seed) and, in this step, the same learning rate
are moved by one call of the kernel over the tensors of all; each other by its own optimizer. Either
way it is the same arithmetic on the same tensors, each of which the kernel moves by itself: to the
bit, a member does not feel who is moved with it.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim import SGD, Adagrad, Adam, AdamW, Optimizer, RMSprop

from trainwright.engine.fused import fused_kernels
from trainwright.engine.no_compiler import step_by_torch
from trainwright.engine.optim import PlayerOptimizer

# Those that treat every tensor by itself, and whose settings are all in their groups.
_SEPARABLE = (SGD, Adam, AdamW, RMSprop, Adagrad)


class StackedOptimizer:
    """Moves K members, whose optimizers it borrows."""

    def __init__(self, members: Sequence[PlayerOptimizer]) -> None:
        self._members = list(members)
        like: dict[str, list[int]] = {}
        for number, member in enumerate(members):
            like.setdefault(_numbers_of(member), []).append(number)
        self._crews = [_Crew(self._members, numbers) for numbers in like.values()]

    @torch.no_grad()
    def step(
        self, gradients: Sequence[Tensor], factors: Sequence[float], moves: Sequence[bool]
    ) -> None:
        """Move the members of which `moves` says so along gradients (K, ...), at their factors."""
        rows = list(zip(*(gradient.unbind() for gradient in gradients), strict=True))
        for crew in self._crews:
            if crew.is_ready(factors, moves):
                crew.step(rows, factors)
                continue
            for number in crew.numbers:
                if moves[number]:
                    self._members[number].step(rows[number], factors[number])


class _Crew:
    """Members of a stack, by their numbers in it, whose optimizers have the same settings."""

    def __init__(self, members: Sequence[PlayerOptimizer], numbers: Sequence[int]) -> None:
        self.numbers = list(numbers)
        self._members = [members[number] for number in numbers]
        self._joint: list[_Joint] | None = None

    def is_ready(self, factors: Sequence[float], moves: Sequence[bool]) -> bool:
        """Whether all can be moved at once: in a like step, when torch has made their states."""
        if len(self.numbers) == 1 or not all(moves[number] for number in self.numbers):
            return False
        if len({factors[number] for number in self.numbers}) > 1:
            return False
        if self._joint is None:
            inner = [optimizer for member in self._members for optimizer in member.optimizers]
            if all(type(o) in _SEPARABLE and len(o.state) > 0 for o in inner):
                num = len(self._members[0].optimizers)
                self._joint = [_Joint(self._members, n) for n in range(num)]
        return self._joint is not None

    def step(self, rows: Sequence[Sequence[Tensor]], factors: Sequence[float]) -> None:
        """Move all along their gradients, those of member k in `rows[k]`."""
        assert self._joint is not None
        laid = []
        for member, number in zip(self._members, self.numbers, strict=True):
            member.set_rate(factors[number])
            laid.append(member.laid_out(rows[number]))
        for joint in self._joint:
            joint.step(laid)


class _Joint:
    """Optimizer number `number` of every member, as one that holds the tensors of all."""

    def __init__(self, members: Sequence[PlayerOptimizer], number: int) -> None:
        self._first = members[0].optimizers[number]
        self._positions = members[0].positions[number]
        make: Callable[[list[dict[str, Any]]], Optimizer] = type(self._first)
        self._optimizer = make(
            [
                {**group, "params": [m.parameters[p] for m in members for p in positions]}
                for group, positions in zip(self._first.param_groups, self._positions, strict=True)
            ]
        )
        for member in members:
            self._optimizer.state.update(member.optimizers[number].state)
        self._kernels = fused_kernels(self._optimizer)

    def step(self, gradients: Sequence[Sequence[Tensor]]) -> None:
        """Move all along `gradients[member][parameter]`."""
        optimizer = self._optimizer
        for group, first in zip(optimizer.param_groups, self._first.param_groups, strict=True):
            group["lr"] = first["lr"]
        ordered = [[own[p] for own in gradients for p in group] for group in self._positions]
        if self._kernels is not None:
            for kernel, along in zip(self._kernels, ordered, strict=True):
                kernel(along)
            return
        for group, along in zip(optimizer.param_groups, ordered, strict=True):
            for parameter, gradient in zip(group["params"], along, strict=True):
                parameter.grad = gradient
        step_by_torch(optimizer)
        optimizer.zero_grad()


def _numbers_of(optimizer: PlayerOptimizer) -> str:
    """Text that is the same for optimizers with the same settings."""
    groups = [
        {key: value for key, value in group.items() if key not in ("params", "lr")}
        for inner in optimizer.optimizers
        for group in inner.param_groups
    ]
    kinds = [type(inner).__name__ for inner in optimizer.optimizers]
    return repr((kinds, groups, optimizer.base_lrs, optimizer.l1))
