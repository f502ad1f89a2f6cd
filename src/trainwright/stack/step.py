"""One training step of K runs as one program.

What the members' networks hold is moved into tensors of K rows; `torch.func.vmap` makes of one
member's turn the turn of all, and autograd runs around it. Losses, gradients, norms, learning rates
and what is drawn are each member's own, so each moves as it would alone, but for rounding.
"""

import copy
import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from trainwright.data.batches import Batch, at_once
from trainwright.engine.finite import refused_move
from trainwright.engine.moves import Metrics, Move
from trainwright.stack.draws import Draws, Each
from trainwright.stack.layers import prepare
from trainwright.stack.optimizer import StackedOptimizer
from trainwright.stack.rows import stack_, unstack_
from trainwright.tasks.classifier import Classifier
from trainwright.tasks.task import Handed, Task

Result = Metrics | Exception


class Stack:
    """The runs that share a step; all are at the same one."""

    def __init__(self, moves: Sequence[Move]) -> None:
        self._moves = list(moves)
        self._states = [move.state for move in moves]
        first = self._states[0]
        tasks = [state.task for state in self._states]
        self._template = _template(tasks)
        self._parameters = {
            name: stack_([dict(task.named_parameters())[name] for task in tasks])
            for name, _ in first.task.named_parameters()
        }
        self._buffers = {
            name: stack_([dict(task.named_buffers())[name] for task in tasks])
            for name in _buffers_of_players(first.task)
        }
        self._moved: dict[str, list[Tensor]] = {}  # what each player's gradients are for
        self._optimizers: dict[str, StackedOptimizer] = {}
        names = {parameter: name for name, parameter in first.task.named_parameters()}
        for player, optimizer in first.optimizers.items():
            stacked = [self._parameters[names[p]].requires_grad_() for p in optimizer.parameters]
            self._moved[player] = stacked
            members = [state.optimizers[player] for state in self._states]
            self._optimizers[player] = StackedOptimizer(members)
        self._lanes = torch.arange(len(moves), device=first.placement.device)

    def holds(self, moves: Sequence[Move]) -> bool:
        """Whether these are the runs of this stack, in this order."""
        mine = self._states
        return len(moves) == len(mine) and all(
            m.state is s for m, s in zip(moves, mine, strict=True)
        )

    def let_go_but(self, moves: Sequence[Move]) -> None:
        """Give the runs that leave the stack memory of their own."""
        stay = {id(move.state) for move in moves}
        for state in self._states:
            if id(state) in stay:
                continue
            unstack_(state.task.parameters())
            unstack_(state.task.buffers())

    def step(self) -> list[Result]:
        """Every player of every member moves once, in turn.

        Returns what `train_step` does, for each member; an error for one whose numbers went wrong:
        the player that it was about, and those after it, have not moved.
        """
        first = self._states[0]
        step, device = first.step, first.placement.device
        batch = at_once([move.batches for move in self._moves], step)
        factors = [s.schedule.factor(step) * s.recovery.lr_scale for s in self._states]
        handed: Handed = {}
        seen: list[Metrics] = [{} for _ in self._states]
        errors: dict[int, Exception] = {}
        draws = Draws([state.seed for state in self._states], step, device)
        for player in first.task.turns(step):
            with draws:
                losses, metrics, handed = self._turn(player, batch, handed, draws)
            gradients = torch.autograd.grad(
                losses.sum(), self._moved[player], materialize_grads=True, allow_unused=True
            )
            self._move(player, batch, metrics, list(gradients), factors, seen, errors)
        for number, state in enumerate(self._states):
            if state.averaged is not None and number not in errors:
                state.averaged.update(step)
        return [errors.get(number, found) for number, found in enumerate(seen)]

    def _turn(
        self, player: str, batch: Batch, handed: Handed, draws: Draws
    ) -> tuple[Tensor, Metrics, Handed]:
        """Losses (K,), what is to be logged, (K, ...), and what the next turn is handed."""
        first = self._states[0]
        known = {"step": first.step, "progress": first.step / first.clock.total_steps}
        targets = None if batch.targets is None else 0

        def one(
            lane: Tensor, tensors: dict[str, Tensor], batch: Batch, handed: Handed
        ) -> tuple[Tensor, Metrics, Handed]:
            draws.lane = lane
            notes = {**known, **handed}
            with first.placement.autocast():
                loss, seen = functional_call(self._template, tensors, (player, batch, notes))
            return loss, seen, {k: v for k, v in notes.items() if isinstance(v, Tensor)}

        mapped = vmap(one, in_dims=(0, 0, Batch(0, targets), 0), randomness="same")  # type: ignore[arg-type]
        found: tuple[Tensor, Metrics, Handed] = mapped(
            self._lanes, {**self._parameters, **self._buffers}, batch, handed
        )
        return found

    def _move(
        self,
        player: str,
        batch: Batch,
        metrics: Metrics,
        gradients: list[Tensor],
        factors: Sequence[float],
        seen: list[Metrics],
        errors: dict[int, Exception],
    ) -> None:
        """Let all move whose numbers are finite; note what is seen, and errors of the others."""
        squares = [torch.linalg.vector_norm(g.flatten(1), dim=1).square() for g in gradients]
        norms = torch.stack(squares).sum(dim=0).sqrt()
        num = len(self._states)
        losses = metrics["loss"].float()
        read: list[list[float]] = torch.stack([losses, norms]).tolist()  # the only wait for numbers
        for k in range(num):
            if k not in errors and not math.isfinite(read[0][k] + read[1][k]):
                own = [gradient[k] for gradient in gradients]
                errors[k] = refused_move(
                    self._states[k].step,
                    self._states[k].task,
                    player,
                    batch.inputs[k],
                    losses[k],
                    own,
                    read[1][k],
                )
            limit = self._moves[k].settings.clip_norm
            if limit is not None and k not in errors and read[1][k] > limit:
                scale = limit / (read[1][k] + 1e-6)
                torch._foreach_mul_([gradient[k] for gradient in gradients], scale)
        prefix = f"{player}/" if len(self._moved) > 1 else ""
        for name, values in {**metrics, "grad_norm": norms}.items():
            for found, value in zip(seen, values.unbind(), strict=True):
                found[f"{prefix}{name}"] = value
        self._optimizers[player].step(gradients, factors, [k not in errors for k in range(num)])


def _template(tasks: Sequence[Task]) -> Task:
    """The task whose code is run for all, with nothing of its own that matters."""
    task = tasks[0]
    kept: tuple[Any, ...] = (task.judge, task.score_features)
    template = copy.deepcopy(task, memo={id(part): part for part in kept if part is not None})
    prepare(template)
    for shared, *own in zip(*(t.modules() for t in (template, *tasks)), strict=True):
        if isinstance(shared, nn.Dropout):
            shared.p = Each(module.p for module in own)  # type: ignore[assignment]
        elif isinstance(shared, Classifier):
            rates = [module.label_smoothing for module in own]
            if len(set(rates)) > 1:  # else torch has it in one
                shared.label_smoothing = Each(rates)  # type: ignore[assignment]
    return template.train()


def _buffers_of_players(task: Task) -> list[str]:
    """The names of what networks hold besides parameters, such as running statistics."""
    owned = {id(b) for player in task.players.values() for b in player.buffers()}
    return [name for name, buffer in task.named_buffers() if id(buffer) in owned]
