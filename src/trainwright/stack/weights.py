"""Weights in a loss of which each member of a stack has its own."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from trainwright.stack.draws import Draws
from trainwright.tasks.gan.task import GANTask


class Weight:
    """Stands in an expression where a task has a number that it multiplies a loss by."""

    def __init__(self, numbers: Sequence[float], draws: Draws) -> None:
        self._numbers = tuple(numbers)
        self._draws = draws

    def __mul__(self, other: Any) -> Any:
        """Times a number, or under `vmap` times a loss: that of the member at hand."""
        if isinstance(other, Tensor):
            return self._draws.of_lane(self._numbers) * other
        return Weight([number * other for number in self._numbers], self._draws)

    __rmul__ = __mul__

    def __truediv__(self, other: float) -> "Weight":
        return Weight([number / other for number in self._numbers], self._draws)


def give_weights(shared: GANTask, members: Sequence[GANTask], draws: Draws) -> None:
    """Let the weights in the loss of the task that computes for all be those of each."""
    for name in ("penalty_weight", "auxiliary_weight"):
        numbers = [getattr(member, name) for member in members]
        if len(set(numbers)) > 1:
            setattr(shared, name, Weight(numbers, draws))
    of_r1 = [member.game.r1 for member in members]
    if len(set(of_r1)) > 1:
        weight: Any = Weight(of_r1, draws)
        shared.game = dataclasses.replace(shared.game, r1=weight)
