"""Convolutions of images with few channels, in blocks of pixels; fast where vectors are long.

A CPU's kernel computes sixteen output channels at a time, whether there are as many or not. Where
it makes images, be they the output of a generator's last layer or the gradient at a
discriminator's first, nearly all of that is in vain. So a block of 4x4 grey pixels, or of 2x2
coloured ones, is made at once: its pixels are the channels of a convolution with a larger stride,
whose weights are the same with zeros around them. And the gradient of weights that make images is
that of weights which take them, its two sides exchanged. What is added up is the same, if perhaps
in another order.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

LANES = 16  # that a kernel fills: float32 numbers in a vector of AVX-512, and as many in bf16
Pair = tuple[int, ...]  # vertical, horizontal


class Geometry(NamedTuple):
    """How images (B, C, H, W) and maps (B, M, h, w) belong together.

    By a weight (M, C, kH, kW): maps are the convolution of the images, and images the transposed
    convolution of the maps, of this stride and padding.
    """

    size: Pair  # of the images
    kernel: Pair
    stride: Pair
    padding: Pair

    def block(self, num_channels: int) -> int | None:
        """The side of the blocks in which images of so many channels are made; None: in none."""
        fitting = (side for side in (4, 2) if num_channels * side**2 <= LANES)
        return next((side for side in fitting if self.reaches(side)), None)

    def reaches(self, block: int) -> list[range] | None:
        """Which rows and columns of maps see a block, counted from where it begins."""
        both = [_reach(*side, block) for side in zip(*self, strict=True)]
        found = [reach for reach in both if reach is not None]
        return found if len(found) == len(both) else None


def to_maps(images: Tensor, weight: Tensor, bias: Tensor | None, geometry: Geometry) -> Tensor:
    """Images (B, C, H, W) to maps (B, M, h, w), and a gradient at the images that comes in blocks.

    The weight is (M, C, kH, kW), the bias (M,). `geometry.block(C)` is not None; here and below.
    """
    maps: Tensor = _ToMaps.apply(images, weight, bias, geometry)  # type: ignore[no-untyped-call]
    return maps


def to_images(maps: Tensor, weight: Tensor, bias: Tensor | None, geometry: Geometry) -> Tensor:
    """Maps (B, M, h, w) to images (B, C, H, W), in blocks; the bias is (C,)."""
    images: Tensor = _ToImages.apply(maps, weight, bias, geometry)  # type: ignore[no-untyped-call]
    return images


class _ToMaps(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(images: Tensor, weight: Tensor, bias: Tensor | None, geometry: Geometry) -> Tensor:
        return F.conv2d(images, _last(weight), bias, geometry.stride, geometry.padding)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        images, weight, _, ctx.geometry = inputs
        ctx.save_for_backward(images, weight)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        images, weight = ctx.saved_tensors
        at_images = at_weight = at_bias = None
        if ctx.needs_input_grad[0]:
            at_images = to_images(gradient, weight, None, ctx.geometry)
        if ctx.needs_input_grad[1]:
            at_weight, at_bias = _at_weight(
                images, gradient, weight, ctx.geometry, has_bias=ctx.needs_input_grad[2]
            )
        return at_images, at_weight, at_bias, None


class _ToImages(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(maps: Tensor, weight: Tensor, bias: Tensor | None, geometry: Geometry) -> Tensor:
        block = geometry.block(weight.shape[1])
        reaches = geometry.reaches(block) if block is not None else None
        assert block is not None
        assert reaches is not None
        return F.pixel_shuffle(
            F.conv2d(
                maps,
                _of_blocks(weight, geometry, block, reaches),
                None if bias is None else bias.repeat_interleave(block**2),
                [block // stride for stride in geometry.stride],
                [-reach.start for reach in reaches],
            ),
            block,
        )

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        maps, weight, _, ctx.geometry = inputs
        ctx.save_for_backward(maps, weight)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        maps, weight = ctx.saved_tensors
        at_maps = at_weight = at_bias = None
        if ctx.needs_input_grad[0]:
            at_maps = to_maps(gradient, weight, None, ctx.geometry)
        if ctx.needs_input_grad[1]:
            at_weight, _ = _at_weight(gradient, maps, weight, ctx.geometry, has_bias=False)
        if ctx.needs_input_grad[2]:
            at_bias = gradient.sum(dim=(0, 2, 3))
        return at_maps, at_weight, at_bias, None


def _at_weight(
    images: Tensor, maps: Tensor, weight: Tensor, geometry: Geometry, *, has_bias: bool
) -> tuple[Tensor, Tensor | None]:
    """The gradients of the weight and of the maps' bias: one of the two sides is a gradient."""
    _, at_weight, at_bias = torch.ops.aten.convolution_backward(
        maps,
        images,
        _last(weight),
        [len(weight)] if has_bias else None,
        geometry.stride,
        geometry.padding,
        [1, 1],
        False,
        [0, 0],
        1,
        [False, True, has_bias],
    )
    return at_weight, at_bias


def _reach(size: int, kernel: int, stride: int, padding: int, block: int) -> range | None:
    """Which maps, counted from that where a block begins, see its pixels; along one dimension.

    As many are left out before the first map as behind the last. None: blocks don't make up images.
    """
    if size % block or block % stride or padding >= kernel:
        return None
    num_maps = (size + 2 * padding - kernel) // stride + 1
    step, last = block // stride, (block - 1 + padding) // stride
    before = (kernel - 1 - padding) // stride
    behind = size // stride - step + last + 1 - num_maps
    left_out = max(before, behind)
    num_blocks = (num_maps + left_out - last - 1) // step + 1
    return range(-left_out, last + 1) if num_blocks == size // block else None


def _of_blocks(weight: Tensor, geometry: Geometry, block: int, reaches: Sequence[range]) -> Tensor:
    """The weight (C * block^2, M, rows, columns) of the convolution that makes blocks of pixels."""
    places = _places(geometry.kernel, geometry.stride, geometry.padding, block, *reaches)
    taps = F.pad(weight.flatten(2), (0, 1))  # (M, C, kH * kW + 1), the last of them zero
    spread = taps.index_select(2, places.flatten()).view(*weight.shape[:2], *places.shape)
    spread = spread.permute(1, 2, 3, 4, 5, 0).contiguous()  # (C, block, block, rows, columns, M)
    return spread.flatten(0, 2).permute(0, 3, 1, 2)


@lru_cache
def _places(
    kernel: Pair, stride: Pair, padding: Pair, block: int, rows: range, columns: range
) -> Tensor:
    """Which tap takes a map to a pixel: (block, block, rows, columns), kH * kW where none does.

    The tap k of the map r meets the pixel r * stride - padding + k.
    """
    taps = []
    for size, step, pad, reach in zip(kernel, stride, padding, (rows, columns), strict=True):
        tap = torch.arange(block)[:, None] + pad - step * torch.tensor(reach)
        taps.append(torch.where((tap >= 0) & (tap < size), tap, -1))  # (block, rows or columns)
    vertical, horizontal = taps[0][:, None, :, None], taps[1][None, :, None, :]
    place = vertical * kernel[1] + horizontal
    return torch.where((vertical < 0) | (horizontal < 0), kernel[0] * kernel[1], place)


def _last(weight: Tensor) -> Tensor:
    """The weight channels last in its strides too: for one channel torch would not see to that."""
    return (
        weight.permute(0, 2, 3, 1).clone(memory_format=torch.contiguous_format).permute(0, 3, 1, 2)
    )
