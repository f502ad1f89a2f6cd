"""Batch normalisation over the rows of all ranks: what one process computes of the whole batch.

Torch's SyncBatchNorm runs on GPUs alone, and cannot be differentiated twice.
"""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from trainwright.engine.ranks.world import noticing


class _Sum(torch.autograd.Function):
    """The sum over all ranks; the gradient of a sum is the sum of the ranks' gradients."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        total = values.clone()
        with noticing():
            dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        total: Tensor = _Sum.apply(gradient.contiguous())  # type: ignore[no-untyped-call]
        return total


class _OverRanks:
    """What takes the place of `forward` in a layer that trains; else it is torch's."""

    def forward(self: Any, inputs: Tensor) -> Tensor:
        """Normalise (B, C, ...) by the mean and variance of each channel over all ranks."""
        if not (self.training or self.running_mean is None):
            normalised: Tensor = super().forward(inputs)  # type: ignore[misc]
            return normalised
        self._check_input_dim(inputs)
        dims = [0, *range(2, inputs.dim())]
        shape = [1, -1, *(1 for _ in inputs.shape[2:])]
        number = inputs.numel() // inputs.shape[1]
        variance, mean = torch.var_mean(inputs, dims, correction=0)  # each (C,)
        # In float64: what is taken from the sum of squares may be nearly all of it.
        variance, mean = variance.double(), mean.double()
        squares = variance + mean.square()
        counts = mean.new_full((1,), number)
        total = _Sum.apply(torch.cat([counts, number * mean, number * squares]))  # type: ignore[no-untyped-call]
        count, sums, squares = total.split([1, len(mean), len(mean)])
        mean = sums / count
        variance = (squares / count - mean.square()).clamp(min=0)
        self._remember(mean.detach(), variance.detach(), count.detach())
        scale = (variance + self.eps).rsqrt()
        mean, scale = mean.to(inputs.dtype), scale.to(inputs.dtype)
        if self.weight is not None:
            scale = scale * self.weight
        outputs: Tensor = (inputs - mean.view(shape)) * scale.view(shape)
        if self.bias is not None:
            outputs = outputs + self.bias.view(shape)
        return outputs

    @torch.no_grad()
    def _remember(self: Any, mean: Tensor, variance: Tensor, count: Tensor) -> None:
        """Move the running statistics as torch does."""
        if not self.track_running_stats or self.running_mean is None:
            return
        self.num_batches_tracked.add_(1)
        momentum = self.momentum
        if momentum is None:
            momentum = 1 / self.num_batches_tracked.double()
        unbiased = variance * (count / (count - 1))
        for kept, new in ((self.running_mean, mean), (self.running_var, unbiased)):
            kept.copy_((1 - momentum) * kept + momentum * new.to(kept.dtype))


_OVER_RANKS: dict[type[nn.Module], type[nn.Module]] = {
    kind: type(kind.__name__, (_OverRanks, kind), {})
    for kind in (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
}


def has_batchnorm(network: nn.Module) -> bool:
    """Whether any layer of it is batch normalisation."""
    return any(type(module) in _OVER_RANKS for module in network.modules())


def normalise_over_ranks(network: nn.Module) -> None:
    """Let its batch normalisation see the rows of all ranks; names and weights stay as they are."""
    for module in network.modules():
        if type(module) in _OVER_RANKS:
            module.__class__ = _OVER_RANKS[type(module)]
