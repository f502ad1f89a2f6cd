"""The training step on tensors that stay where they are, and whose numbers nobody reads.

It computes what `train_step` does, so that a GPU never waits for the host, and the host never for
it: what changes from step to step (the examples, the learning rates) is copied into tensors made
once, and whether the numbers of a move are finite stays on the device, where the kernels of the
optimizers read it and change nothing from the first move on that went wrong. Who looks at the run
asks `settle` first, which raises the error that `train_step` would have raised at once.

So `compute` can be captured as a CUDA graph (`engine/fast/cuda_graph.py`). It runs anywhere.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from trainwright.engine.gradients import global_norm, gradients, in_parts
from trainwright.engine.moves import Metrics, Move
from trainwright.engine.nonfinite import refused_move
from trainwright.engine.optim.fused import Kernel, OnDevice, fused_kernels
from trainwright.engine.optim.player_optimizer import PlayerOptimizer
from trainwright.errors import NonFiniteError
from trainwright.seeds import reseed_global


class StaticStep:
    """The steps of one run from `state.step` on; all its optimizers have begun (`has_begun`)."""

    def __init__(self, move: Move) -> None:
        self._state, self._batches, self._settings = move
        state = self._state
        # As tensors have it: `cuda` alone is a device too.
        self.device = device = torch.empty(0, device=state.placement.device).device
        self._first_step = state.step
        self._material = [t.clone() for t in self._batches.material(state.step)]
        self.generator = self._batches.reseeded(None, state.step)
        # 1 from the first move on that went wrong, in the type that the kernels read.
        self._found_inf = torch.zeros((), dtype=torch.float32, device=device)
        self._num_good = torch.zeros((), dtype=torch.float64, device=device)  # moves before that
        self._average = torch.zeros((), dtype=torch.float32, device=device)
        self._movers = {
            name: _Mover(optimizer, self._found_inf, device)
            for name, optimizer in state.optimizers.items()
        }
        self.task_looks = False  # whether it has read what differs from one step to the next
        state.unread = self

    def feed(self, step: int) -> None:
        """Put what this step computes with where `compute` finds it."""
        state = self._state
        reseed_global(state.seed, "step", step, device=state.placement.device)
        self._batches.reseeded(self.generator, step)
        for mine, new in zip(self._material, self._batches.material(step), strict=True):
            mine.copy_(new)
        factor = state.schedule.factor(step) * state.recovery.lr_scale
        for player in state.task.turns(step):
            self._movers[player].set_rate(factor)
        if state.averaged is not None:
            self._average.fill_(state.averaged.weight(step))

    def compute(self, step: int) -> Metrics:
        """Let the players of this step move in turn, on what was fed.

        Returns what `train_step` does. Reads no number, and waits for nothing, if the task doesn't.
        """
        state, clip_norm = self._state, self._settings.clip_norm
        batch = self._batches.made_of(self._material, self.generator)
        parts = in_parts(batch, self._settings.accumulate)
        handed = [_Handed(step, step / state.clock.total_steps) for _ in parts]
        seen: dict[str, Tensor] = {}
        for player in state.task.turns(step):
            grads, metrics = gradients(
                state.task,
                player,
                state.optimizers[player].parameters,
                parts,
                handed,
                state.placement,
            )
            norm = _norm(grads)
            self._note(metrics["loss"], norm)
            prefix = f"{player}/" if len(state.task.players) > 1 else ""
            seen |= {f"{prefix}{name}": value for name, value in metrics.items()}
            seen[f"{prefix}grad_norm"] = norm.float()
            if clip_norm is not None:
                _clip_(grads, norm, clip_norm)
            self._movers[player].step(grads)
        if state.averaged is not None:
            state.averaged.move(self._average * (1 - self._found_inf))
        self.task_looks = any(notes.are_looked_at for notes in handed)
        return state.means.add_on_device(seen, self.device)

    def settle(self) -> None:
        """Read whether all moves so far went well, waiting for them.

        Raises NonFiniteError for the first that did not, with the run back at that step.
        """
        if not bool(self._found_inf):
            return
        step, number = self._first_step, int(self._num_good)
        while number >= (num_turns := len(self._state.task.turns(step))):
            step, number = step + 1, number - num_turns
        self._state.step, self._state.unread = step, None
        raise self._refused(step, number)

    def _note(self, loss: Tensor, norm: Tensor) -> None:
        """Note whether a move may be made: its loss and gradient are finite, as all before it."""
        is_wrong = (loss.double().reshape(()) + norm) * 0 != 0  # 0 times infinity is not a number
        torch.logical_or(is_wrong, self._found_inf, out=self._found_inf)
        self._num_good += 1 - self._found_inf

    def _refused(self, step: int, number: int) -> NonFiniteError:
        """The error for a move, whose gradients are computed once more; nothing has moved since."""
        state = self._state
        reseed_global(state.seed, "step", step, device=state.placement.device)
        batch = self._batches.at(step)
        parts = in_parts(batch, self._settings.accumulate)
        handed = [_Handed(step, step / state.clock.total_steps) for _ in parts]
        for player in state.task.turns(step)[: number + 1]:
            parameters = state.optimizers[player].parameters
            grads, metrics = gradients(
                state.task, player, parameters, parts, handed, state.placement
            )
        norm = global_norm(grads)
        return refused_move(step, state.task, player, batch.inputs, metrics["loss"], grads, norm)


class _Handed(dict[str, Any]):
    """What a task is handed at the beginning of a step; it notes what the task looks at."""

    def __init__(self, step: int, progress: float) -> None:
        super().__init__(step=step, progress=progress)
        self.are_looked_at = False

    def __getitem__(self, key: str) -> Any:
        self._note(key)
        return super().__getitem__(key)

    def get(self, key: str, default: Any = None) -> Any:
        self._note(key)
        return super().get(key, default)

    def _note(self, key: str) -> None:
        self.are_looked_at |= key in ("step", "progress")


class _Mover:
    """What moves one player at learning rates that are on the device."""

    def __init__(self, optimizer: PlayerOptimizer, found_inf: Tensor, device: torch.device) -> None:
        self._optimizer = optimizer
        # CUDA kernels read a float32; on a CPU it may as well be what Python computes with.
        dtype = torch.float32 if device.type == "cuda" else torch.float64
        self._groups = [g for inner in optimizer.optimizers for g in inner.param_groups]
        self._rates = [torch.zeros((), dtype=dtype, device=device) for _ in self._groups]
        self._positions = [group for inner in optimizer.positions for group in inner]
        self._kernels: list[Kernel] = []
        self._factor: float | None = None
        rates = iter(self._rates)
        for inner in optimizer.optimizers:
            own = OnDevice([next(rates) for _ in inner.param_groups], found_inf)
            kernels = fused_kernels(inner, on_device=own)
            assert kernels is not None
            self._kernels += kernels

    def set_rate(self, factor: float) -> None:
        if factor != self._factor:
            self._factor = factor
            self._optimizer.set_rate(factor)
            for rate, group in zip(self._rates, self._groups, strict=True):
                rate.fill_(group["lr"])

    @torch.no_grad()
    def step(self, gradients: Sequence[Tensor]) -> None:
        laid = self._optimizer.laid_out(gradients)
        for kernel, positions in zip(self._kernels, self._positions, strict=True):
            kernel([laid[position] for position in positions])


def _norm(gradients: Sequence[Tensor]) -> Tensor:
    """What `global_norm` gives, to the bit, as a 0-dim float64 tensor that nobody has read."""
    if gradients[0].is_cuda:
        return torch.nn.utils.get_total_norm(gradients).double()
    flat = [gradient.reshape(-1) for gradient in gradients]
    squares = [torch.dot(g, g).double() for g in flat]
    return sum(squares[1:], start=squares[0]).sqrt()


def _clip_(gradients: list[Tensor], norm: Tensor, max_norm: float) -> None:
    """What `clip_` does, to the bit, by a factor that nobody has read."""
    limit = torch.full_like(norm, max_norm)
    factor = torch.where(norm > limit, limit / (norm + 1e-6), torch.ones_like(norm)).float()
    if gradients[0].is_cuda:
        torch._foreach_mul_(gradients, factor)  # one kernel, where on a CPU it reads the factor
    else:
        torch._foreach_mul_(gradients, [factor] * len(gradients))
