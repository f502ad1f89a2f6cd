"""Dense layers of several members as one batched product, which `vmap` would do at twice the cost.

What is saved is a copy of the gradient: `vmap` of a linear layer has it transposed, where the
optimizer wants it laid out as the weight.
"""

from typing import Any

import torch
from torch import Tensor, nn


def speed_up(network: nn.Module) -> None:
    """Let the dense layers of a network know how to be stacked."""
    for module in network.modules():
        if type(module) is nn.Linear and module.bias is not None:
            module.__class__ = Linear


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
        return torch.nn.functional.linear(inputs, weight, bias)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        """Nothing is kept: `vmap` computes something else."""

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], *tensors: Tensor) -> tuple[Tensor, int]:
        stacked = [
            t.expand(info.batch_size, *t.shape) if dim is None else t.movedim(dim, 0)
            for t, dim in zip(tensors, in_dims, strict=True)
        ]
        return _StackedAffine.apply(*stacked), 0  # type: ignore[no-untyped-call]


class _StackedAffine(torch.autograd.Function):
    """inputs (K, B, in), weights (K, out, in) and biases (K, out) to (K, B, out)."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, weights: Tensor, biases: Tensor) -> Tensor:
        kind = inputs.device.type
        if torch.is_autocast_enabled(kind):
            dtype = torch.get_autocast_dtype(kind)
            inputs, weights, biases = inputs.to(dtype), weights.to(dtype), biases.to(dtype)
        ctx.save_for_backward(inputs, weights)
        with torch.autocast(kind, enabled=False):
            return torch.baddbmm(biases.unsqueeze(1), inputs, weights.mT)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor, Tensor]:
        inputs, weights = ctx.saved_tensors
        of_inputs = torch.bmm(gradient, weights) if ctx.needs_input_grad[0] else None
        return of_inputs, torch.bmm(gradient.mT, inputs), gradient.sum(dim=1)
