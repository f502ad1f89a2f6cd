"""The least time that a training step's arithmetic and memory traffic need on this machine."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode, flop_registry

from trainwright.data.batches import Batches
from trainwright.engine.settings import TrainerSettings
from trainwright.engine.state import TrainState
from trainwright.engine.step import train_step

MEASURED_SECONDS = 0.3  # for each size that is tried
# Operations that neither read nor write their operands.
FREE = {"empty", "empty_like", "empty_strided", "new_empty", "detach", "_unsafe_view", "resize_"}


@dataclass(frozen=True)
class Floor:
    """What one step computes and moves, and the rates measured here."""

    flops: int
    flops_a_second: float
    bytes: int
    bytes_a_second: float

    @property
    def arithmetic(self) -> float:
        """Seconds."""
        return self.flops / self.flops_a_second

    @property
    def memory(self) -> float:
        """Seconds."""
        return self.bytes / self.bytes_a_second


class Traffic(TorchDispatchMode):
    """Counts the bytes that operations other than matrix products read and write."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Let the operation happen, and count."""
        outputs = func(*args, **(kwargs or {}))
        packet = func._overloadpacket
        if not (func.is_view or packet in flop_registry or packet.__name__ in FREE):
            self.bytes += _num_bytes((args, kwargs))
            written = outputs if func._schema.returns else args[:1]  # a fused optimizer's weights
            self.bytes += _num_bytes(written)
        return outputs


def floor(state: TrainState, batches: Batches, settings: TrainerSettings) -> Floor:
    """Make one more step, counting, and measure the machine's rates in the run's own precision."""
    batch = batches.at(state.step)
    with FlopCounterMode(display=False) as arithmetic, Traffic() as traffic:
        train_step(state, batch, settings)
    device = state.placement.device
    types = {"bf16": torch.bfloat16, "fp16": torch.float16}
    dtype = types.get(state.placement.precision, torch.float32)
    return Floor(
        flops=arithmetic.get_total_flops(),
        flops_a_second=_best_matrix_rate(device, dtype),
        bytes=traffic.bytes,
        bytes_a_second=_best_copy_rate(device),
    )


def _best_matrix_rate(device: torch.device, dtype: torch.dtype) -> float:
    """Operations a second of the square matrix product that is best at it."""
    rates = []
    for size in (512, 1024, 2048):
        left, right = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
        out = torch.empty_like(left)
        seconds = _least(lambda left=left, right=right, out=out: torch.mm(left, right, out=out))
        rates.append(2 * size**3 / seconds)
    return max(rates)


def _best_copy_rate(device: torch.device) -> float:
    """Bytes read and written a second by the copy, in or beyond the caches, that is fastest."""
    rates = []
    for megabytes in (1, 4, 16, 64):
        source = torch.ones(megabytes * 2**18, device=device)
        target = torch.empty_like(source)
        seconds = _least(lambda source=source, target=target: target.copy_(source))
        rates.append(2 * source.nbytes / seconds)
    return max(rates)


def _least(function: Callable[[], object]) -> float:
    """Seconds of the fastest of the calls that fit in the time."""
    is_cuda = torch.cuda.is_available()
    best, end = float("inf"), time.perf_counter() + MEASURED_SECONDS
    while time.perf_counter() < end:
        begun = time.perf_counter()
        function()
        if is_cuda:
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - begun)
    return best


def _num_bytes(tree: Any) -> int:
    return sum(leaf.nbytes for leaf in tree_leaves(tree) if isinstance(leaf, Tensor))
