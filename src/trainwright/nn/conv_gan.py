"""A convolutional generator and discriminator, sized from the image."""

from collections.abc import Callable
from typing import Literal, get_args

from torch import nn

from trainwright.nn.gan import (
    GAN,
    LEAK,
    Conditional,
    ConditionalNorm,
    Discriminator,
    Generator,
    class_modulation,
    num_conditions,
    paired,
)
from trainwright.nn.layers import Norm, check_norm, check_positive, image_size, make_norm_2d

Upsampling = Literal["transposed", "nearest"]

MIN_BASE, MAX_BASE = 4, 16  # the sides of the smallest map
MAX_WIDENING = 8  # channels double where the map halves, up to this many times the width


def conv_gan(
    *,
    input_shape: tuple[int, ...],
    num_classes: int,
    width: int = 16,
    discriminator_width: int | None = None,
    latent_dim: int = 64,
    conditional: Conditional = "auto",
    conditional_norm: ConditionalNorm = "stem",
    upsampling: Upsampling = "transposed",
    generator_norm: Norm | None = "batch",
    discriminator_norm: Literal["layer"] | None = None,
    spectral_norm: bool = False,
) -> GAN:
    """Return a convolutional pair after DCGAN (Radford et al. 2015, arXiv:1511.06434).

    `width` is the number of channels at full resolution; each halving of the map doubles it.
    The sides of the image must be 4 to 16 times the same power of two, such as 8, 28, 32 or 64.
    """
    image_shape = image_size("conv_gan", input_shape, minimum=1)
    base, num_halvings = _pyramid(image_shape[1:])
    num_classes = num_conditions(conditional, num_classes, conditional_norm)
    discriminator_width = width if discriminator_width is None else discriminator_width
    check_positive(width=width, discriminator_width=discriminator_width, latent_dim=latent_dim)
    check_norm(generator_norm)
    if discriminator_norm not in (None, "layer"):
        raise ValueError(f"discriminator_norm={discriminator_norm!r} is not one of layer, null")
    if upsampling not in get_args(Upsampling):
        raise ValueError(
            f"upsampling={upsampling!r} is not one of {', '.join(get_args(Upsampling))}"
        )

    channels = _channels(width, num_halvings)
    generator = Generator(
        stem=nn.Sequential(
            nn.Linear(latent_dim, channels[-1] * base[0] * base[1]),
            nn.Unflatten(1, (channels[-1], *base)),  # (B, C, H, W)
            *make_norm_2d(generator_norm, channels[-1]),
        ),
        body=_growing(
            channels,
            image_shape[0],
            upsampling,
            lambda width: [
                *make_norm_2d(generator_norm, width),
                *class_modulation(conditional_norm, num_classes, width),
            ],
            bias=generator_norm is None,
        ),
        num_features=channels[-1],
        num_classes=num_classes,
        image_shape=image_shape,
    )
    body, num_features = _shrinking(
        image_shape, base, num_halvings, discriminator_width, discriminator_norm
    )
    discriminator = Discriminator(
        body, num_features, num_classes, auxiliary=conditional == "auxiliary"
    )
    return paired(
        generator,
        discriminator,
        latent_dim,
        num_classes,
        image_shape,
        spectral_norm,
        generator_std=0.02 if generator_norm else None,
    )


def _growing(
    channels: list[int],
    image_channels: int,
    upsampling: Upsampling,
    make_norm: Callable[[int], list[nn.Module]],
    *,
    bias: bool,
) -> nn.Sequential:
    """Maps (B, channels[-1], h, w) to images (B, C, H, W): a doubling a stage."""
    layers: list[nn.Module] = []
    for wide, narrow in zip(channels[:0:-1], channels[-2::-1], strict=True):
        layers.append(nn.ReLU())
        if upsampling == "transposed":
            layers.append(nn.ConvTranspose2d(wide, narrow, 4, 2, padding=1, bias=bias))
        else:
            layers.append(nn.Upsample(scale_factor=2, mode="nearest"))
            layers.append(nn.Conv2d(wide, narrow, 3, padding=1, bias=bias))
        layers += make_norm(narrow)
    return nn.Sequential(*layers, nn.ReLU(), nn.Conv2d(channels[0], image_channels, 3, padding=1))


def _shrinking(
    image_shape: tuple[int, int, int],
    base: tuple[int, int],
    num_halvings: int,
    width: int,
    norm: Literal["layer"] | None,
) -> tuple[nn.Sequential, int]:
    """Images (B, C, H, W) to features (B, F): a halving a stage; also returns F."""
    channels = _channels(width, num_halvings)
    layers: list[nn.Module] = []
    num_channels = image_shape[0]
    for wide in channels[1:]:
        layers.append(nn.Conv2d(num_channels, wide, 4, 2, padding=1))
        if num_channels > image_shape[0]:  # the first layer's maps keep their brightness
            layers += make_norm_2d(norm, wide)
        layers.append(nn.LeakyReLU(LEAK))
        num_channels = wide
    layers.append(nn.Conv2d(num_channels, num_channels, 3, padding=1))
    layers += [*make_norm_2d(norm, num_channels), nn.LeakyReLU(LEAK), nn.Flatten()]
    return nn.Sequential(*layers), num_channels * base[0] * base[1]


def _channels(width: int, num_halvings: int) -> list[int]:
    """How many channels a map has after each number of halvings."""
    return [width * min(2**level, MAX_WIDENING) for level in range(num_halvings + 1)]


def _pyramid(sides: tuple[int, int]) -> tuple[tuple[int, int], int]:
    """Return the sides of the smallest map and how often they double up to the image."""
    height, width = sides
    num_halvings = 0
    while height % 2 == 0 and width % 2 == 0 and min(height, width) >= 2 * MIN_BASE:
        height, width, num_halvings = height // 2, width // 2, num_halvings + 1
    if num_halvings == 0 or max(height, width) > MAX_BASE:
        raise ValueError(
            f"conv_gan takes images whose sides are {MIN_BASE} to {MAX_BASE} times the same power "
            f"of two, such as 8, 28, 32 or 64, not {sides[0]}x{sides[1]}; mlp_gan takes any size"
        )
    return (height, width), num_halvings
