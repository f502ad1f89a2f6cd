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


class Blocks(NamedTuple):
    """The convolution that makes blocks of pixels, each pixel a channel."""

    side: int
    stride: Pair
    padding: Pair
    taps: Tensor  # (side, side, rows, columns): kH * kW where no tap takes that map to that pixel


@lru_cache
def in_blocks(geometry: Geometry, num_channels: int) -> Blocks | None:
    """How images of so many channels are made in blocks; None where they cannot be."""
    for side in (4, 2):
        reaches = [_reach(*along, side) for along in zip(*geometry, strict=True)]
        if num_channels * side**2 > LANES or None in reaches:
            continue
        found = [reach for reach in reaches if reach is not None]
        return Blocks(
            side,
            stride=tuple(side // step for step in geometry.stride),
            padding=tuple(-reach.start for reach in found),
            taps=_taps(geometry, side, found),
        )
    return None


def to_maps(images: Tensor, weight: Tensor, bias: Tensor | None, geometry: Geometry) -> Tensor:
    """Images (B, C, H, W) to maps (B, M, h, w), and a gradient at the images that comes in blocks.

    The weight is (M, C, kH, kW), the bias (M,). `in_blocks` has to know how; here and below.
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
        blocks = in_blocks(geometry, weight.shape[1])
        assert blocks is not None
        biases = None if bias is None else bias[:, None].expand(-1, blocks.side**2).flatten()
        weights = _of_blocks(weight, blocks)
        pixels = F.conv2d(maps, weights, biases, blocks.stride, blocks.padding)
        return F.pixel_shuffle(pixels, blocks.side)

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


def _taps(geometry: Geometry, side: int, reaches: Sequence[range]) -> Tensor:
    """Which tap takes a map to a pixel of a block, as `Blocks` has it.

    The tap k of the map r meets the pixel r * stride - padding + k.
    """
    along = []
    for _, kernel, stride, padding, reach in zip(*geometry, reaches, strict=True):
        tap = torch.arange(side)[:, None] + padding - stride * torch.tensor(reach)
        along.append(torch.where((tap >= 0) & (tap < kernel), tap, -1))  # (side, rows or columns)
    vertical, horizontal = along[0][:, None, :, None], along[1][None, :, None, :]
    height, width = geometry.kernel
    is_none = (vertical < 0) | (horizontal < 0)
    return torch.where(is_none, height * width, vertical * width + horizontal)


def _of_blocks(weight: Tensor, blocks: Blocks) -> Tensor:
    """The weight (C * side^2, M, rows, columns) of the convolution that makes blocks of pixels."""
    num_maps, num_channels = weight.shape[:2]
    by_tap = weight.permute(1, 2, 3, 0).flatten(1, 2)  # (C, kH * kW, M)
    by_tap = F.pad(by_tap, (0, 0, 0, 1))  # one more, of zeros
    spread = by_tap.index_select(1, blocks.taps.flatten())
    rows, columns = blocks.taps.shape[2:]
    return spread.view(num_channels * blocks.side**2, rows, columns, num_maps).permute(0, 3, 1, 2)


def _last(weight: Tensor) -> Tensor:
    """The weight channels last in its strides too: for one channel torch would not see to that."""
    return (
        weight.permute(0, 2, 3, 1).clone(memory_format=torch.contiguous_format).permute(0, 3, 1, 2)
    )
