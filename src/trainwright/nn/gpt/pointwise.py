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


def _rate(x: Tensor) -> Tensor:
    """One over the root of the mean square (..., 1); in bf16 it is taken in float32."""
    wide = torch.promote_types(x.dtype, torch.float32)
    size = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=wide)
    rate: Tensor = size.square_().div_(x.shape[-1]).add_(EPSILON).rsqrt_().to(x.dtype)
    return rate


def _before(grad: Tensor, normal: Tensor, rate: Tensor) -> Tensor:
    """The gradient of what was normalised, from that of the `normal` it became."""
    along = torch.linalg.vecdot(grad, normal).unsqueeze(-1).div_(normal.shape[-1])
    return torch.addcmul(grad, normal, along, value=-1).mul_(rate)


class _RMSNorm(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, gain: Tensor) -> Tensor:
        rate = _rate(x)
        normal = x * rate
        ctx.save_for_backward(normal, rate, gain)
        return normal * gain

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor]:
        normal, rate, gain = ctx.saved_tensors
        of_gain = (grads[0] * normal).flatten(0, -2).sum(dim=0)
        return _before(grads[0] * gain, normal, rate), of_gain


def _swapped(x: Tensor) -> Tensor:
    first, second = x.chunk(2, dim=-1)
    return torch.cat([second, first], dim=-1)


class _Turned(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, cos: Tensor, sin: Tensor, normalise: bool) -> Tensor:
        rate = _rate(x) if normalise else None
        normal = x if rate is None else x * rate
        ctx.save_for_backward(None if rate is None else normal, rate, cos, sin)
        return (normal * cos).addcmul_(_swapped(normal), sin)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None]:
        normal, rate, cos, sin = ctx.saved_tensors
        grad = (grads[0] * cos).addcmul_(_swapped(grads[0]), sin, value=-1)  # turned back
        return grad if rate is None else _before(grad, normal, rate), None, None, None


def squared_relu(x: Tensor) -> Tensor:
    """max(x, 0)² (So et al. 2021, arXiv:2109.08668)."""
    result: Tensor = _SquaredReLU.apply(x)  # type: ignore[no-untyped-call]
    return result


def normed(x: Tensor, gain: Tensor) -> Tensor:
    """The last dimension with a mean square of 1, times a gain (Zhang & Sennrich 2019)."""
    result: Tensor = _RMSNorm.apply(x, gain)  # type: ignore[no-untyped-call]
    return result


def turned(x: Tensor, angles: Tensor, *, normalise: bool) -> Tensor:
    """Heads (B, T, H, D) turned by the angles (2, T, D / 2) of their places.

    The first half of a head is paired with the second. `normalise`: to a mean square of 1 before.
    """
    # Each (T, H, D): to multiply whole rows is quicker than head by head.
    cos, sin = angles.to(x.dtype)[:, :, None].expand(-1, -1, x.shape[2], -1)
    both = torch.cat([cos, cos], dim=-1), torch.cat([-sin, sin], dim=-1)
    result: Tensor = _Turned.apply(x, *both, normalise)  # type: ignore[no-untyped-call]
    return result


class RMSNorm(nn.Module):
    """`normed` with gains that are learned, (width,)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., W) to (..., W)."""
        return normed(x, self.weight)
