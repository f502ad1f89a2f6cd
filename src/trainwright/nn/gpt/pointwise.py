"""What is done number by number, with gradients by hand: on a CPU torch's take up to four times.

Each is a formula of one line and its derivative; tests hold both to torch's own in float64.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function

EPSILON = 1e-6  # of every normalisation here


class _SquaredReLU(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        positive = x.relu()
        ctx.save_for_backward(positive)
        return positive * positive

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        (positive,) = ctx.saved_tensors
        slope: Tensor = grads[0] * positive
        return slope.mul_(2)


class _RMSNorm(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, gain: Tensor | None) -> Tensor:
        # In bf16 the sum of squares is taken, and its root drawn, in float32.
        wide = torch.promote_types(x.dtype, torch.float32)
        size = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=wide)
        rate = size.square_().div_(x.shape[-1]).add_(EPSILON).rsqrt_().to(x.dtype)
        normal = x * rate
        ctx.save_for_backward(normal, rate, gain)
        scaled: Tensor = normal if gain is None else normal * gain
        return scaled

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor | None]:
        (grad,) = grads
        normal, rate, gain = ctx.saved_tensors
        of_gain = None
        if gain is not None:
            of_gain = (grad * normal).flatten(0, -2).sum(dim=0)
            grad = grad * gain
        along = torch.linalg.vecdot(grad, normal).unsqueeze(-1).div_(normal.shape[-1])
        return torch.addcmul(grad, normal, along, value=-1).mul_(rate), of_gain


def squared_relu(x: Tensor) -> Tensor:
    """max(x, 0)² (So et al. 2021, arXiv:2109.08668)."""
    result: Tensor = _SquaredReLU.apply(x)  # type: ignore[no-untyped-call]
    return result


def normed(x: Tensor, gain: Tensor | None = None) -> Tensor:
    """The last dimension with a mean square of 1, times a gain (Zhang & Sennrich 2019)."""
    result: Tensor = _RMSNorm.apply(x, gain)  # type: ignore[no-untyped-call]
    return result


class RMSNorm(nn.Module):
    """`normed` with gains that are learned, (width,)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., W) to (..., W)."""
        return normed(x, self.weight)
