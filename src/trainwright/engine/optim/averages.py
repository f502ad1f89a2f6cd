"""Averaged weights: an exponential moving average of what is trained, used to evaluate."""

import copy

import torch
from torch import Tensor

from trainwright.engine.ranks.world import held
from trainwright.tasks.task import Task


class AveragedTask:
    """A copy of the task whose averaged players hold moving averages of the trained weights.

    The other players are shared with the original, not copied. Buffers (the statistics of batch
    normalisation) are taken over as they are. Early on the average is over few steps, so that it
    does not remember the initialisation: the decay in step t is min(decay, (1 + t) / (10 + t)).
    """

    def __init__(self, task: Task, decay: float) -> None:
        averaged = set(task.averaged_players)
        shared = {id(m): m for name, m in task.players.items() if name not in averaged}
        self.task = copy.deepcopy(task, memo=dict(shared))
        self.players = {name: self.task.players[name] for name in task.averaged_players}
        self._decay = decay
        self._originals = [task.players[name] for name in self.players]
        self.take_hold()

    def take_hold(self) -> None:
        """Average what this rank holds of the players as they now are."""
        originals, copies = self._originals, self.players.values()
        self._trained: list[Tensor] = [held(p) for player in originals for p in player.parameters()]
        self._means: list[Tensor] = [held(p) for player in copies for p in player.parameters()]
        self._trained_buffers = [b for player in originals for b in player.buffers()]
        self._buffers = [b for player in copies for b in player.buffers()]

    def update(self, step: int) -> None:
        """Move the averages towards the weights as step number `step` (from 0) has left them."""
        self.move(self.weight(step))

    def weight(self, step: int) -> float:
        """How far the averages move towards the weights after that step."""
        return 1 - min(self._decay, (1 + step) / (10 + step))

    @torch.no_grad()
    def move(self, weight: float | Tensor) -> None:
        """Move the averages that share of the way; a tensor is 0-dim float32 on their device."""
        if isinstance(weight, Tensor):
            torch._foreach_lerp_(self._means, self._trained, [weight] * len(self._means))
        else:
            torch._foreach_lerp_(self._means, self._trained, weight)
        self._take_buffers()

    @torch.no_grad()
    def begin(self) -> None:
        """Take the weights as they are for the average so far."""
        torch._foreach_copy_(self._means, self._trained)
        self._take_buffers()

    def _take_buffers(self) -> None:
        for mine, trained in zip(self._buffers, self._trained_buffers, strict=True):
            mine.copy_(trained)
