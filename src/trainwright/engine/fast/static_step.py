"""The training step on tensors that stay where they are, and whose numbers nobody reads.

A GPU never waits for the host, and the host never for it: what changes from step to step (the
examples, the learning rates) is copied into tensors made once, and whether the numbers of a move
are finite stays on the device, where the kernels of the optimizers read it and change nothing from
the first move on that went wrong. Who looks at the run asks `settle` first, which raises the error
that a plain step would have raised at once.

So `compute` can be captured as a CUDA graph (`engine/fast/cuda_graph.py`). It runs anywhere.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from trainwright.engine.optim.fused import Kernel, OnDevice, fused_kernels
from trainwright.engine.optim.player_optimizer import PlayerOptimizer
from trainwright.engine.step import (
    Metrics,
    Move,
    Parts,
    gradients,
    in_parts,
    known,
    make_step,
    refused_turn,
)
from trainwright.seeds import reseed_global


class StaticStep:
    """The steps of one run from `state.step` on; all its optimizers have begun (`has_begun`)."""

    def __init__(self, move: Move) -> None:
        self._move = move
        self._state, self._batches, self._settings = move
        state = self._state
        # As tensors have it: `cuda` alone is a device too.
        self.device = device = torch.empty(0, device=state.placement.device).device
        self._first_step = state.step
        material = self._batches.material(state.step)
        self._material = {name: tensor.clone() for name, tensor in material.items()}
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
        for name, new in self._batches.material(step).items():
            self._material[name].copy_(new)
        factor = state.schedule.factor(step) * state.recovery.lr_scale
        for player in state.task.turns(step):
            self._movers[player].set_rate(factor)
        if state.averaged is not None:
            self._average.fill_(state.averaged.weight(step))

    def compute(self, step: int) -> Metrics:
        """Make the step, to the bits of a plain one, on what was fed.

        Reads no number, and waits for nothing, if the task doesn't.
        """
        batch = self._batches.made_of(self._material, self.generator)
        parts = [
            (part, _Watched(known(step, self._state.clock)))
            for part in in_parts(batch, self._settings.accumulate)
        ]
        seen = make_step(self, self._state.task, step, parts)
        self.task_looks = any(carry.are_looked_at for _, carry in parts)
        return self._state.means.add_on_device(seen, self.device)

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
        # Nothing has moved since.
        raise refused_turn(self._move, number)

    def gradients(self, player: str, parts: Parts) -> tuple[list[Tensor], Metrics]:
        """Those of a plain step."""
        return gradients(self._state, player, parts)

    def decide(self, player: str, loss: Tensor, grads: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Note whether a move may be made: its loss and gradient are finite, as all before it."""
        norm = _norm(grads)
        is_wrong = (loss.double().reshape(()) + norm) * 0 != 0  # 0 times infinity is not a number
        torch.logical_or(is_wrong, self._found_inf, out=self._found_inf)
        self._num_good += 1 - self._found_inf
        return norm, norm.float()

    def clip(self, grads: list[Tensor], norm: Tensor) -> None:
        """To the bits of `clip_`, by a factor that nobody has read."""
        max_norm = self._settings.clip_norm
        if max_norm is None:
            return
        limit = torch.full_like(norm, max_norm)
        factor = torch.where(norm > limit, limit / (norm + 1e-6), torch.ones_like(norm)).float()
        if grads[0].is_cuda:
            torch._foreach_mul_(grads, factor)  # one kernel, where on a CPU it reads the factor
        else:
            torch._foreach_mul_(grads, [factor] * len(grads))

    def apply(self, player: str, grads: list[Tensor]) -> None:
        """By kernels that read the learning rates, and what `decide` has noted."""
        self._movers[player].step(grads)

    def finish(self) -> None:
        """Move the averages, unless something went wrong."""
        if self._state.averaged is not None:
            self._state.averaged.move(self._average * (1 - self._found_inf))


class _Watched(dict[str, Any]):
    """What the turns of a step pass on; it notes whether the task looks at what is known."""

    are_looked_at = False

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
