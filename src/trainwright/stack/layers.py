"""Layers that `vmap` does not stack well by itself: it finds here what to do instead.

- Dense layers become one batched product. By itself `vmap` gives their gradients transposed, where
  the optimizer wants them laid out as the weights: copies that cost as much as all the rest.
- Batch normalisation becomes one of K times as many channels. By itself `vmap` refuses inputs of
  fewer bits than the statistics have (bf16), and changes those only in a copy.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


def prepare(network: nn.Module) -> None:
    """Let the layers of a network know how they are stacked."""
    for module in network.modules():
        if type(module) is nn.Linear and module.bias is not None:
            module.__class__ = Linear
        elif type(module) in _NORMS and module.momentum is not None:
            module.__class__ = _NORMS[type(module)]


class Linear(nn.Linear):
    """A dense layer that `vmap` turns into one product of (K, B, in) with (K, out, in)."""

    def forward(self, input: Tensor) -> Tensor:
        """Map inputs (B, in) to (B, out)."""
        if input.dim() != 2:
            return super().forward(input)
        outputs: Tensor = _Affine.apply(input, self.weight, self.bias)  # type: ignore[no-untyped-call]
        return outputs


class _Affine(torch.autograd.Function):
    """Of one member, as `vmap` sees it."""

    @staticmethod
    def forward(inputs: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return functional.linear(inputs, weight, bias)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        """Nothing is kept: `vmap` computes something else."""

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], *tensors: Tensor) -> tuple[Tensor, int]:
        stacked = [
            t.expand(info.batch_size, *t.shape) if dim is None else t.movedim(dim, 0)
            for t, dim in zip(tensors, in_dims, strict=True)
        ]
        kind = stacked[0].device.type
        if not torch.is_autocast_enabled(kind):
            return _StackedAffine.apply(*stacked), 0  # type: ignore[no-untyped-call]
        lower = [tensor.to(torch.get_autocast_dtype(kind)) for tensor in stacked]
        with torch.autocast(kind, enabled=False):
            return _StackedAffine.apply(*lower), 0  # type: ignore[no-untyped-call]


class _StackedAffine(torch.autograd.Function):
    """inputs (K, B, in), weights (K, out, in) and biases (K, out) to (K, B, out)."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, weights: Tensor, biases: Tensor) -> Tensor:
        ctx.save_for_backward(inputs, weights)
        return torch.baddbmm(biases.unsqueeze(1), inputs, weights.mT)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor, Tensor]:
        inputs, weights = ctx.saved_tensors
        of_inputs = torch.bmm(gradient, weights) if ctx.needs_input_grad[0] else None
        return of_inputs, torch.bmm(gradient.mT, inputs), gradient.sum(dim=1)


class BatchNorm1d(nn.BatchNorm1d):
    """Normalises by the statistics of a member's own batch."""

    def forward(self, input: Tensor) -> Tensor:
        """Map features (B, F) to the same shape."""
        return _normalised(self, input)


class BatchNorm2d(nn.BatchNorm2d):
    """Normalises by the statistics of a member's own batch."""

    def forward(self, input: Tensor) -> Tensor:
        """Map maps (B, C, H, W) to the same shape."""
        return _normalised(self, input)


_NORMS: dict[type[nn.Module], type[nn.Module]] = {
    nn.BatchNorm1d: BatchNorm1d,
    nn.BatchNorm2d: BatchNorm2d,
}


def _normalised(norm: BatchNorm1d | BatchNorm2d, inputs: Tensor) -> Tensor:
    assert norm.num_batches_tracked is not None
    norm.num_batches_tracked.add_(1)
    held = (norm.running_mean, norm.running_var, norm.weight, norm.bias)
    outputs: Tensor = _Norm.apply(inputs, *held, norm.momentum, norm.eps)  # type: ignore[no-untyped-call]
    return outputs


class _Norm(torch.autograd.Function):
    """Of one member, as `vmap` sees it: inputs (B, C, ...), and four times (C,)."""

    @staticmethod
    def forward(
        inputs: Tensor,
        mean: Tensor,
        var: Tensor,
        weight: Tensor,
        bias: Tensor,
        momentum: float,
        eps: float,
    ) -> Tensor:
        return functional.batch_norm(inputs, mean, var, weight, bias, True, momentum, eps)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        """Nothing is kept: `vmap` computes something else."""

    @staticmethod
    def vmap(
        info: Any, in_dims: tuple[int | None, ...], inputs: Tensor, *rest: Any
    ) -> tuple[Tensor, int]:
        held, (momentum, eps) = rest[:4], rest[4:]
        num, axis = info.batch_size, in_dims[0]
        assert axis is not None
        assert in_dims[1:5] == (0, 0, 0, 0)
        apart = inputs.movedim(axis, 1)  # (B, K, C, ...)
        mean, var, weight, bias = (tensor.view(-1) for tensor in held)
        together = functional.batch_norm(
            apart.flatten(1, 2), mean, var, weight, bias, True, momentum, eps
        )
        return together.view(together.shape[0], num, -1, *together.shape[2:]), 1
