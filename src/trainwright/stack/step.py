"""What of a training step differs where K runs make it as one program.

What the members' networks hold is moved into tensors of K rows; `torch.func.vmap` makes of one
member's turn the turn of all, where `layers.py` knows no better, and autograd runs around it.
Losses, gradients, norms, learning rates and what is drawn are each member's own, so each moves as
it would alone, but for rounding.
"""

import copy
import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from trainwright.data.examples import Batch
from trainwright.data.stacked import StackedBatches
from trainwright.engine.nonfinite import refused_move
from trainwright.engine.step import Metrics, Move, Parts, known, make_step
from trainwright.stack.draws import Draws, PerMember
from trainwright.stack.layers import by_hand
from trainwright.stack.losses import LossPerMember
from trainwright.stack.optimizer import StackedOptimizer
from trainwright.stack.rows import rows, stack_, unstack_
from trainwright.tasks.task import Carry, Task

Result = Metrics | Exception


class Stack:
    """The runs that share a step; all are at the same one."""

    def __init__(self, moves: Sequence[Move]) -> None:
        self._states = [move.state for move in moves]
        self._batches = StackedBatches([move.batches for move in moves])
        self._clip_norms = [move.settings.clip_norm for move in moves]
        first = self._states[0]
        tasks = [state.task for state in self._states]
        device = first.placement.device
        self._draws = Draws([state.seed for state in self._states], device)
        self._template = _template(tasks, self._draws)
        parameters = _stacked([dict(task.named_parameters()) for task in tasks])
        buffers = _stacked([_buffers_of_players(task) for task in tasks])
        self._moved: dict[str, list[Tensor]] = {}  # what each player's gradients are for
        self._optimizers: dict[str, StackedOptimizer] = {}
        names = {parameter: name for name, parameter in first.task.named_parameters()}
        for player, optimizer in first.optimizers.items():
            stacked = [parameters[names[p]] for p in optimizer.parameters]
            self._moved[player] = stacked
            members = [state.optimizers[player] for state in self._states]
            self._optimizers[player] = StackedOptimizer(members, stacked)
        tensors = {**parameters, **buffers}
        by_chains = by_hand(self._template, tensors, self._draws)
        self._by_vmap = {name: t for name, t in tensors.items() if name not in by_chains}
        self._needs_vmap = bool(self._by_vmap) or not first.task.is_one_loss
        self._lanes = torch.arange(len(moves), device=device)
        self._step = first.step  # the next one
        self._factors: list[float] = []  # on the learning rates in the step that is being made
        self._errors: dict[int, Exception] = {}  # in that step, by the number of the member

    def holds(self, moves: Sequence[Move]) -> bool:
        """Whether these are the runs of this stack, in this order, at its next step.

        One that has gone back to a checkpoint has another state than its optimizer had here.
        """
        mine = self._states
        return len(moves) == len(mine) and all(
            m.state is s and s.step == self._step for m, s in zip(moves, mine, strict=True)
        )

    def let_go_but(self, moves: Sequence[Move]) -> None:
        """Give the runs that leave the stack memory of their own."""
        stay = {id(move.state) for move in moves}
        for state in self._states:
            if id(state) in stay:
                continue
            unstack_(state.task.parameters())
            unstack_(state.task.buffers())
            for optimizer in state.optimizers.values():
                unstack_(optimizer.memory())

    def step(self) -> list[Result]:
        """Make the next step of every member.

        Returns what each has seen, or an error for one whose numbers went wrong: the player that it
        was about, and those after it, have not moved.
        """
        first = self._states[0]
        step = first.step
        self._step = step + 1
        self._factors = [s.schedule.factor(step) * s.recovery.lr_scale for s in self._states]
        self._errors = {}
        self._draws.begin(step)
        parts = [(self._batches.at(step), known(step, first.clock))]
        seen = make_step(self, first.task, step, parts)
        members = rows(seen, len(self._states))
        return [self._errors.get(k, member) for k, member in enumerate(members)]

    def gradients(self, player: str, parts: Parts) -> tuple[list[Tensor], Metrics]:
        """Of all members' losses together, and so of each one's: none is in another's rows."""
        first = self._states[0]
        turns = first.task.turns(first.step)
        still_to_move = turns[turns.index(player) :]
        for other, stacked in self._moved.items():
            for tensor in stacked:
                tensor.requires_grad_(other in still_to_move)
        losses, metrics = self._turn(player, *parts[0])
        found = torch.autograd.grad(
            losses.sum(), self._moved[player], materialize_grads=True, allow_unused=True
        )
        return list(found), metrics

    def _turn(self, player: str, batch: Batch, carry: Carry) -> tuple[Tensor, Metrics]:
        """Losses (K,), and what is to be logged, (K, ...); adds what the turn leaves to `carry`."""
        autocast = self._states[0].placement.autocast
        if not self._needs_vmap:
            with LossPerMember(), autocast():
                found: tuple[Tensor, Metrics] = self._template(player, batch, carry)
            return found
        tensors = {name: value for name, value in carry.items() if isinstance(value, Tensor)}

        def one(
            lane: Tensor, held: dict[str, Tensor], batch: Batch, passed_on: Carry
        ) -> tuple[Tensor, Metrics, Carry]:
            self._draws.lane = lane
            notes = {**carry, **passed_on}
            with autocast():
                loss, seen = functional_call(self._template, held, (player, batch, notes))
            return loss, seen, {k: v for k, v in notes.items() if isinstance(v, Tensor)}

        mapped = vmap(one, in_dims=(0, 0, 0, 0), randomness="same")
        with self._draws:
            losses, metrics, passed_on = mapped(self._lanes, self._by_vmap, batch, tensors)
        carry.update(passed_on)
        return losses, metrics

    def decide(self, player: str, loss: Tensor, grads: list[Tensor]) -> tuple[list[float], Tensor]:
        """The norms of all members (K,); one whose numbers are not finite leaves with an error."""
        of_each = [torch.linalg.vector_norm(g.flatten(1), dim=1) for g in grads]
        norms = torch.linalg.vector_norm(torch.stack(of_each), dim=0)
        losses = loss.float()
        read: list[list[float]] = torch.stack([losses, norms]).tolist()  # the only wait for numbers
        for k, (own_loss, norm) in enumerate(zip(*read, strict=True)):
            if k not in self._errors and not math.isfinite(own_loss + norm):
                batch = self._batches.at(self._states[k].step)
                own_batch = {name: of_all[k] for name, of_all in batch.items()}
                own = [of_all[k] for of_all in grads]
                self._errors[k] = refused_move(
                    self._states[k], player, own_batch, losses[k], own, norm
                )
        return read[1], norms

    def clip(self, grads: list[Tensor], norm: Sequence[float]) -> None:
        """Scale down the gradients (K, ...) of each member whose norm is above its limit."""
        scales = [
            limit / (own + 1e-6) if limit is not None and own > limit else 1.0
            for limit, own in zip(self._clip_norms, norm, strict=True)
        ]
        if any(scale != 1.0 for scale in scales):
            each = torch.tensor(scales, device=grads[0].device)
            for gradient in grads:
                gradient.mul_(each.view(-1, *(1 for _ in gradient.shape[1:])))

    def apply(self, player: str, grads: list[Tensor]) -> None:
        """Move the members that have no error, each at its own learning rates."""
        moves = [k not in self._errors for k in range(len(self._states))]
        self._optimizers[player].step(grads, self._factors, moves)

    def finish(self) -> None:
        """Update the averages of the members that have no error."""
        for k, state in enumerate(self._states):
            if state.averaged is not None and k not in self._errors:
                state.averaged.update(state.step)


def _stacked(members: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Of tensors that each member has by the same names one of K rows for each name."""
    return {name: stack_([member[name] for member in members]) for name in members[0]}


def _template(tasks: Sequence[Task], draws: Draws) -> Task:
    """The task whose code is run for all, with nothing of its own that matters."""
    task = tasks[0]
    if task.stackable_numbers is None:
        raise TypeError(
            f"{type(task).__name__} does not say that it can be stacked (stackable_numbers)"
        )
    kept: tuple[Any, ...] = (task.judge, task.score_features)
    template = copy.deepcopy(task, memo={id(part): part for part in kept if part is not None})
    for shared, *own in zip(*(t.modules() for t in (template, *tasks)), strict=True):
        if isinstance(shared, nn.Dropout):
            shared.p = PerMember([module.p for module in own], draws)  # type: ignore[assignment]
    for name in task.stackable_numbers:
        numbers = [getattr(member, name) for member in tasks]
        if len(set(numbers)) > 1:  # else torch has it in one
            setattr(template, name, PerMember(numbers, draws))
    return template.train()


def _buffers_of_players(task: Task) -> dict[str, Tensor]:
    """What networks hold besides parameters, such as running statistics, by name."""
    owned = {id(b) for player in task.players.values() for b in player.buffers()}
    return {name: buffer for name, buffer in task.named_buffers() if id(buffer) in owned}
