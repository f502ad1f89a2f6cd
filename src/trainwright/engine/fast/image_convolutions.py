"""Convolutions that take or make images train by `image_blocks.py`, whatever the network."""

import torch
from torch import Tensor, nn

from trainwright.engine.fast.image_blocks import Geometry, Pair, in_blocks, to_images, to_maps

MOST_CHANNELS = 4  # of which a block of pixels fits


def quicken_image_convolutions(network: nn.Module) -> None:
    """Let convolutions of images train faster on a CPU, where maps are channels last.

    A module goes on as one of a subclass, as `torch.nn.utils.parametrize` has it: with its
    parameters, its hooks and its place. Where it doesn't train it computes as ever.
    """
    for module in network.modules():
        quick = _quick(module)
        if quick is not None:
            module.__class__ = quick


def _quick(module: nn.Module) -> type[nn.Module] | None:
    """What the module could be instead; None: as it is."""
    if type(module) not in (nn.Conv2d, nn.ConvTranspose2d):
        return None
    assert isinstance(module, nn.Conv2d | nn.ConvTranspose2d)
    is_plain = module.padding_mode == "zeros" and not isinstance(module.padding, str)
    if not is_plain or module.groups > 1 or set(module.dilation) != {1}:
        return None
    if isinstance(module, nn.ConvTranspose2d):
        return _TransposedToImages if module.out_channels <= MOST_CHANNELS else None
    if module.in_channels <= MOST_CHANNELS:
        return _FromImages
    makes_images = module.out_channels <= MOST_CHANNELS and set(module.stride) == {1}
    return _ToImages if makes_images else None


class _FromImages(nn.Conv2d):
    """Images (B, C, H, W) of few channels to maps; quick where they want a gradient themselves."""

    def forward(self, input: Tensor) -> Tensor:
        geometry = Geometry(input.shape[2:], self.kernel_size, self.stride, _padding(self))
        is_learned_from = input.requires_grad and _trains(self, input)
        if not is_learned_from or in_blocks(geometry, self.in_channels) is None:
            return super().forward(input)
        return to_maps(*_cast(input, self.weight, self.bias), geometry)


class _ToImages(nn.Conv2d):
    """Maps (B, M, h, w) to images of few channels, by steps of one pixel."""

    def forward(self, input: Tensor) -> Tensor:
        # The transposed convolution by the weight turned around, with what padding leaves over.
        left_over = tuple(k - 1 - p for k, p in zip(self.kernel_size, _padding(self), strict=True))
        size = _size(input, self.kernel_size, self.stride, left_over, (0, 0))
        geometry = Geometry(size, self.kernel_size, self.stride, left_over)
        if not _trains(self, input) or in_blocks(geometry, self.out_channels) is None:
            return super().forward(input)
        turned = self.weight.transpose(0, 1).flip(2, 3)  # (M, C, kH, kW)
        return to_images(*_cast(input, turned, self.bias), geometry)


class _TransposedToImages(nn.ConvTranspose2d):
    """Maps (B, M, h, w) to images of few channels."""

    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        padding = _padding(self)
        size = _size(input, self.kernel_size, self.stride, padding, self.output_padding)
        geometry = Geometry(size, self.kernel_size, self.stride, padding)
        is_usual = output_size is None and _trains(self, input)
        if not is_usual or in_blocks(geometry, self.out_channels) is None:
            return super().forward(input, output_size)
        return to_images(*_cast(input, self.weight, self.bias), geometry)


def _trains(module: nn.Module, inputs: Tensor) -> bool:
    on_cpu = inputs.device.type == "cpu"
    return module.training and torch.is_grad_enabled() and on_cpu and inputs.dim() == 4


def _padding(module: nn.Conv2d | nn.ConvTranspose2d) -> Pair:
    assert not isinstance(module.padding, str)
    return module.padding


def _size(maps: Tensor, kernel: Pair, stride: Pair, padding: Pair, more: Pair) -> Pair:
    """The size of the images that a transposed convolution makes of maps."""
    sides = zip(maps.shape[2:], kernel, stride, padding, more, strict=True)
    return tuple((n - 1) * s + k - 2 * p + extra for n, k, s, p, extra in sides)


def _cast(
    inputs: Tensor, weight: Tensor, bias: Tensor | None
) -> tuple[Tensor, Tensor, Tensor | None]:
    """As autocast has them, where it is on: it does not look into functions of our own."""
    kind = inputs.device.type
    if not torch.is_autocast_enabled(kind):
        return inputs, weight, bias
    lower = torch.get_autocast_dtype(kind)
    return inputs.to(lower), weight.to(lower), None if bias is None else bias.to(lower)
