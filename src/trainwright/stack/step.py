"""One training step of K runs as one program.

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

from trainwright.data.batches import Batch
from trainwright.data.stacked import StackedBatches
from trainwright.engine.moves import Metrics, Move
from trainwright.engine.nonfinite import refused_move
from trainwright.stack.draws import Draws, Each
from trainwright.stack.layers import by_hand
from trainwright.stack.losses import Apart
from trainwright.stack.optimizer import StackedOptimizer
from trainwright.stack.rows import rows, stack_, unstack_
from trainwright.stack.weights import give_weights
from trainwright.tasks.classifier import Classifier
from trainwright.tasks.gan.task import GANTask
from trainwright.tasks.task import Handed, Task

Result = Metrics | Exception


class Stack:
    """The runs that share a step; all are at the same one."""

    def __init__(self, moves: Sequence[Move]) -> None:
        self._moves = list(moves)
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
        self._step = first.step

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
        """Every player of every member moves once, in turn.

        Returns what `train_step` does, for each member; an error for one whose numbers went wrong:
        the player that it was about, and those after it, have not moved.
        """
        first = self._states[0]
        step = first.step
        self._step = step + 1
        batch = self._batches.at(step)
        factors = [s.schedule.factor(step) * s.recovery.lr_scale for s in self._states]
        handed: Handed = {}
        seen: dict[str, Tensor] = {}
        errors: dict[int, Exception] = {}
        self._draws.begin(step)
        turns = first.task.turns(step)
        for number, player in enumerate(turns):
            self._follow(turns[number:])
            losses, metrics, handed = self._turn(player, batch, handed)
            gradients = torch.autograd.grad(
                losses.sum(), self._moved[player], materialize_grads=True, allow_unused=True
            )
            self._move(player, batch, metrics, list(gradients), factors, seen, errors)
        for number, state in enumerate(self._states):
            if state.averaged is not None and number not in errors:
                state.averaged.update(step)
        members = rows(seen, len(self._states))
        return [errors.get(number, member) for number, member in enumerate(members)]

    def _follow(self, players: Sequence[str]) -> None:
        """Let autograd follow the parameters of those who have yet to move in this step."""
        for player, stacked in self._moved.items():
            for tensor in stacked:
                tensor.requires_grad_(player in players)

    def _turn(self, player: str, batch: Batch, handed: Handed) -> tuple[Tensor, Metrics, Handed]:
        """Losses (K,), what is to be logged, (K, ...), and what the next turn is handed."""
        first = self._states[0]
        known = {"step": first.step, "progress": first.step / first.clock.total_steps}
        if not self._needs_vmap:
            with Apart(), first.placement.autocast():
                return *self._template(player, batch, known), {}
        targets = None if batch.targets is None else 0

        def one(
            lane: Tensor, tensors: dict[str, Tensor], batch: Batch, handed: Handed
        ) -> tuple[Tensor, Metrics, Handed]:
            self._draws.lane = lane
            notes = {**known, **handed}
            with first.placement.autocast():
                loss, seen = functional_call(self._template, tensors, (player, batch, notes))
            return loss, seen, {k: v for k, v in notes.items() if isinstance(v, Tensor)}

        mapped = vmap(one, in_dims=(0, 0, Batch(0, targets), 0), randomness="same")  # type: ignore[arg-type]
        with self._draws:
            found: tuple[Tensor, Metrics, Handed] = mapped(
                self._lanes, self._by_vmap, batch, handed
            )
        return found

    def _move(
        self,
        player: str,
        batch: Batch,
        metrics: Metrics,
        gradients: list[Tensor],
        factors: Sequence[float],
        seen: dict[str, Tensor],
        errors: dict[int, Exception],
    ) -> None:
        """Let all move whose numbers are finite; note what is seen, and errors of the others."""
        of_each = [torch.linalg.vector_norm(g.flatten(1), dim=1) for g in gradients]
        norms = torch.linalg.vector_norm(torch.stack(of_each), dim=0)
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
        self._clip(gradients, read[1])
        prefix = f"{player}/" if len(self._moved) > 1 else ""
        seen |= {f"{prefix}{name}": of_all for name, of_all in metrics.items()}
        seen[f"{prefix}grad_norm"] = norms
        self._optimizers[player].step(gradients, factors, [k not in errors for k in range(num)])

    def _clip(self, gradients: list[Tensor], norms: Sequence[float]) -> None:
        """Scale down the gradients (K, ...) of each member whose norm is above its limit."""
        scales = [
            limit / (norm + 1e-6) if limit is not None and norm > limit else 1.0
            for limit, norm in zip(self._clip_norms, norms, strict=True)
        ]
        if any(scale != 1.0 for scale in scales):
            each = torch.tensor(scales, device=gradients[0].device)
            for gradient in gradients:
                gradient.mul_(each.view(-1, *(1 for _ in gradient.shape[1:])))


def _stacked(members: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Of tensors that each member has by the same names one of K rows for each name."""
    return {name: stack_([member[name] for member in members]) for name in members[0]}


def _template(tasks: Sequence[Task], draws: Draws) -> Task:
    """The task whose code is run for all, with nothing of its own that matters."""
    task = tasks[0]
    kept: tuple[Any, ...] = (task.judge, task.score_features)
    template = copy.deepcopy(task, memo={id(part): part for part in kept if part is not None})
    for shared, *own in zip(*(t.modules() for t in (template, *tasks)), strict=True):
        if isinstance(shared, nn.Dropout):
            shared.p = Each(module.p for module in own)  # type: ignore[assignment]
        elif isinstance(shared, Classifier):
            rates = [module.label_smoothing for module in own]
            if len(set(rates)) > 1:  # else torch has it in one
                shared.label_smoothing = Each(rates)  # type: ignore[assignment]
        elif isinstance(shared, GANTask):
            give_weights(shared, own, draws)
    return template.train()


def _buffers_of_players(task: Task) -> dict[str, Tensor]:
    """What networks hold besides parameters, such as running statistics, by name."""
    owned = {id(b) for player in task.players.values() for b in player.buffers()}
    return {name: buffer for name, buffer in task.named_buffers() if id(buffer) in owned}
