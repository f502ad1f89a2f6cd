"""What moves one player of every member: torch's own kernels, called once for many members.

Members with the same numbers (they differ in the seed) and, in this step, the same learning rate
are a crew, moved by one call of the kernel over the tensors of all; there is a call for each crew.
(The same arithmetic as single operations on tensors of K rows, with K numbers each, takes four
times as long as Adam's kernel takes for K calls.) To the bit, a member does not feel who is moved
with it: the kernel moves each tensor by itself, and rows that fill whole vectors of the processor
each element.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim import SGD, Adagrad, Adam, AdamW, Optimizer, RMSprop

from trainwright.engine.optim.fused import fused_kernels
from trainwright.engine.optim.no_compiler import step_by_torch
from trainwright.engine.optim.player_optimizer import PlayerOptimizer
from trainwright.stack.rows import stack_

# Those that treat every element by itself, and whose settings are all in their groups.
_SEPARABLE = (SGD, Adam, AdamW, RMSprop, Adagrad)
_VECTOR = 16  # a row of a multiple of this leaves no element to what comes after whole vectors

Pieces = list[list[Tensor]]  # for each parameter: the rows of a crew's members, or all rows in one


class StackedOptimizer:
    """Moves K members, whose optimizers it borrows. `stacked` are their parameters, (K, ...)."""

    def __init__(self, members: Sequence[PlayerOptimizer], stacked: Sequence[Tensor]) -> None:
        self._members = list(members)
        self._stacked = list(stacked)
        self._crews = self._crews_by([_numbers_of(member) for member in members])

    @torch.no_grad()
    def step(
        self, gradients: Sequence[Tensor], factors: Sequence[float], moves: Sequence[bool]
    ) -> None:
        """Move the members of which `moves` says so along gradients (K, ...), at their factors."""
        laid = [_laid_out(p, g) for p, g in zip(self._stacked, gradients, strict=True)]
        if any(len({factors[number] for number in crew.numbers}) > 1 for crew in self._crews):
            crew_of = {number: k for k, crew in enumerate(self._crews) for number in crew.numbers}
            self._crews = self._crews_by([(crew_of[k], f) for k, f in enumerate(factors)])
        for crew in self._crews:
            if all(moves[number] for number in crew.numbers) and crew.is_ready():
                crew.step(laid, factors[crew.numbers[0]])
                continue
            for number in crew.numbers:
                if moves[number]:
                    own = [gradient[number] for gradient in laid]
                    self._members[number].step(own, factors[number])

    def _crews_by(self, kinds: Sequence[Hashable]) -> list["_Crew"]:
        """A crew for each kind of member."""
        like: dict[Hashable, list[int]] = {}
        for number, kind in enumerate(kinds):
            like.setdefault(kind, []).append(number)
        return [_Crew(self._members, numbers, self._stacked) for numbers in like.values()]


class _Crew:
    """Members of a stack, by their numbers in it, that are moved alike."""

    def __init__(
        self,
        members: Sequence[PlayerOptimizer],
        numbers: Sequence[int],
        stacked: Sequence[Tensor],
    ) -> None:
        self.numbers = list(numbers)
        self._members = [members[number] for number in numbers]
        is_all = len(numbers) == len(members)
        self._whole = [t if is_all and t[0].numel() % _VECTOR == 0 else None for t in stacked]
        self._parameters: Pieces = [
            [member.parameters[p] for member in self._members] if whole is None else [whole]
            for p, whole in enumerate(self._whole)
        ]
        self._joint: list[_Joint] | None = None

    def is_ready(self) -> bool:
        """Whether all can be moved at once: once torch has made their states."""
        if self._joint is None:
            inner = [optimizer for member in self._members for optimizer in member.optimizers]
            if all(type(o) in _SEPARABLE and (o.state or _is_forgetful(o)) for o in inner):
                num = len(self._members[0].optimizers)
                self._joint = [_Joint(self._members, n, self._parameters) for n in range(num)]
        return self._joint is not None

    def step(self, laid: Sequence[Tensor], factor: float) -> None:
        """Move all along their rows of the gradients (K, ...) of all members, at this factor."""
        assert self._joint is not None
        first, *others = self._members
        first.set_rate(factor)
        for member in others:
            member.learning_rate = first.learning_rate
        gradients: Pieces = [
            [gradient[number] for number in self.numbers] if whole is None else [gradient]
            for whole, gradient in zip(self._whole, laid, strict=True)
        ]
        if first.l1:
            for p, parameter in enumerate(first.parameters):
                if parameter.dim() >= 2:
                    pieces = zip(gradients[p], self._parameters[p], strict=True)
                    gradients[p] = [g + first.l1 * own.sign() for g, own in pieces]
        for joint in self._joint:
            joint.step(gradients)


class _Joint:
    """Optimizer number `number` of every member of a crew, as one that holds the tensors of all."""

    def __init__(self, members: Sequence[PlayerOptimizer], number: int, parameters: Pieces) -> None:
        self._first = members[0].optimizers[number]
        self._positions = members[0].positions[number]
        make: Callable[[list[dict[str, Any]]], Optimizer] = type(self._first)
        self._optimizer = make(
            [
                {**group, "params": [piece for p in positions for piece in parameters[p]]}
                for group, positions in zip(self._first.param_groups, self._positions, strict=True)
            ]
        )
        steps = []
        for p in (p for positions in self._positions for p in positions):
            own = [member.optimizers[number].state[member.parameters[p]] for member in members]
            steps += [state["step"] for state in own if "step" in state]
            is_whole = parameters[p][0] is not members[0].parameters[p]
            of_pieces = [_whole(own)] if is_whole else own
            self._optimizer.state.update(zip(parameters[p], of_pieces, strict=True))
        self._counts = stack_(steps) if steps else None  # of all at once
        self._kernels = fused_kernels(self._optimizer, counts=False)

    def step(self, gradients: Pieces) -> None:
        """Move all along `gradients`, in pieces as the parameters are."""
        optimizer = self._optimizer
        for group, first in zip(optimizer.param_groups, self._first.param_groups, strict=True):
            group["lr"] = first["lr"]
        ordered = [[piece for p in group for piece in gradients[p]] for group in self._positions]
        if self._kernels is not None:
            if self._counts is not None:
                self._counts.add_(1)
            for kernel, along in zip(self._kernels, ordered, strict=True):
                kernel(along)
            return
        for group, along in zip(optimizer.param_groups, ordered, strict=True):
            for parameter, gradient in zip(group["params"], along, strict=True):
                parameter.grad = gradient
        step_by_torch(optimizer)
        optimizer.zero_grad()
        if self._counts is not None:
            self._counts.fill_(self._counts.max())  # torch has counted once for each piece


def _whole(states: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The state of a parameter of all members in one, of which that of each becomes a view."""
    return {
        key: stack_([state[key] for state in states])
        if isinstance(value, Tensor) and value.dim() > 0
        else value
        for key, value in states[0].items()
    }


def _is_forgetful(optimizer: Optimizer) -> bool:
    """Whether there is nothing that its steps have to remember."""
    return type(optimizer) is SGD and all(g["momentum"] == 0 for g in optimizer.param_groups)


def _laid_out(stacked: Tensor, gradient: Tensor) -> Tensor:
    """The gradients in their parameters' layout, through which fused kernels walk."""
    if gradient.stride() == stacked.stride():
        return gradient
    return torch.empty_like(stacked).copy_(gradient)


def _numbers_of(optimizer: PlayerOptimizer) -> str:
    """Text that is the same for optimizers with the same settings after as many steps."""
    groups = [
        {key: value for key, value in group.items() if key not in ("params", "lr")}
        for inner in optimizer.optimizers
        for group in inner.param_groups
    ]
    kinds = [type(inner).__name__ for inner in optimizer.optimizers]
    steps = [
        float(s["step"]) for o in optimizer.optimizers for s in o.state.values() if "step" in s
    ]
    return repr((kinds, groups, optimizer.base_lrs, optimizer.l1, steps))
