"""Generator and discriminator pairs, convolutional or of dense layers, sized from the image.

Where the data has classes both players see them: the generator gets an embedding of the class
beside its latents, and the discriminator adds an inner product of its features with another
embedding (the projection of Miyato & Koyama 2018, arXiv:1802.05637). No discriminator has batch
normalisation, so that its logits, and a gradient penalty, treat the examples independently.
"""

import math
from collections.abc import Callable
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm as spectrally_normalised

from trainwright.nn.layers import (
    Norm,
    check_norm,
    check_positive,
    check_widths,
    image_size,
    make_norm_1d,
    make_norm_2d,
)

Upsampling = Literal["transposed", "nearest"]

MIN_BASE, MAX_BASE = 4, 16  # the sides of the smallest map
MAX_WIDENING = 8  # channels double where the map halves, up to this many times the width
_WEIGHTED = nn.Linear | nn.Conv2d | nn.ConvTranspose2d | nn.Embedding


class GAN(nn.Module):
    """The two players and what there is to know about their inputs."""

    def __init__(
        self,
        *,
        generator: nn.Module,
        discriminator: nn.Module,
        latent_dim: int,
        num_classes: int,
        image_shape: tuple[int, int, int],
    ) -> None:
        super().__init__()
        self.generator = generator
        self.discriminator = discriminator
        self.latent_dim = latent_dim
        self.num_classes = num_classes  # 0: unconditional
        self.image_shape = image_shape


class Generator(nn.Module):
    """Latents, and the embedded class beside them, through a body that ends in tanh."""

    def __init__(
        self, body: nn.Module, image_shape: tuple[int, int, int], num_classes: int, embedding: int
    ) -> None:
        super().__init__()
        self.body = body
        self.image_shape = image_shape
        self.embedding = nn.Embedding(num_classes, embedding) if num_classes else None

    def forward(self, latents: Tensor, classes: Tensor | None = None) -> Tensor:
        """Map latents (B, Z) and classes (B,) to images (B, C, H, W) in [-1, 1]."""
        if self.embedding is not None:
            embedded = self.embedding(_required(classes)).to(latents.dtype)
            latents = torch.cat([latents, embedded], dim=1)  # (B, Z + E)
        images = self.body(latents).unflatten(1, self.image_shape)
        return torch.tanh(images)


class Discriminator(nn.Module):
    """Features of the image, one linear unit on them, and the projection on the class."""

    def __init__(self, body: nn.Module, num_features: int, num_classes: int) -> None:
        super().__init__()
        self.body = body
        self.head = nn.Linear(num_features, 1)
        self.projection = nn.Embedding(num_classes, num_features) if num_classes else None

    def forward(self, images: Tensor, classes: Tensor | None = None) -> Tensor:
        """Map images (B, C, H, W) and classes (B,) to logits (B,): above 0 says real."""
        features = self.body(images)  # (B, F)
        logits: Tensor = self.head(features).squeeze(1)
        if self.projection is not None:
            logits = logits + (self.projection(_required(classes)) * features).sum(dim=1)
        return logits.float()


def conv_gan(
    *,
    input_shape: tuple[int, ...],
    num_classes: int,
    width: int = 32,
    discriminator_width: int | None = None,
    latent_dim: int = 64,
    conditional: bool | Literal["auto"] = "auto",
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
    num_classes = _num_conditions(conditional, num_classes)
    discriminator_width = width if discriminator_width is None else discriminator_width
    check_positive(width=width, discriminator_width=discriminator_width, latent_dim=latent_dim)
    check_norm(generator_norm)
    if discriminator_norm not in (None, "layer"):
        raise ValueError(f"discriminator_norm={discriminator_norm!r} is none of layer, null")
    if upsampling not in get_args(Upsampling):
        raise ValueError(f"upsampling={upsampling!r} is none of {', '.join(get_args(Upsampling))}")

    num_latents = latent_dim + (latent_dim if num_classes else 0)
    generator = Generator(
        _growing(num_latents, image_shape, base, num_halvings, width, upsampling, generator_norm),
        image_shape,
        num_classes,
        latent_dim,
    )
    body, num_features = _shrinking(
        image_shape, base, num_halvings, discriminator_width, discriminator_norm
    )
    discriminator = Discriminator(body, num_features, num_classes)
    for player in (generator, discriminator):
        _for_weights(player, lambda weight: nn.init.normal_(weight, std=0.02))  # as DCGAN
    return _paired(generator, discriminator, latent_dim, num_classes, image_shape, spectral_norm)


def mlp_gan(
    *,
    input_shape: tuple[int, ...],
    num_classes: int,
    generator_widths: tuple[int, ...] = (128, 64),
    discriminator_widths: tuple[int, ...] = (128, 64),
    latent_dim: int = 100,
    conditional: bool | Literal["auto"] = "auto",
    generator_norm: Norm | None = None,
    spectral_norm: bool = False,
) -> GAN:
    """Return a pair of multilayer perceptrons, as in Goodfellow et al. 2014 (arXiv:1406.2661)."""
    image_shape = image_size("mlp_gan", input_shape, minimum=1)
    num_classes = _num_conditions(conditional, num_classes)
    check_widths("generator_widths", generator_widths)
    check_widths("discriminator_widths", discriminator_widths)
    check_positive(latent_dim=latent_dim)
    num_pixels = math.prod(image_shape)

    layers: list[nn.Module] = []
    fan_in = latent_dim + (latent_dim if num_classes else 0)
    for width in generator_widths:
        layers += [
            nn.Linear(fan_in, width),
            *make_norm_1d(generator_norm, width),
            nn.LeakyReLU(0.2),
        ]
        fan_in = width
    layers.append(nn.Linear(fan_in, num_pixels))
    generator = Generator(nn.Sequential(*layers), image_shape, num_classes, latent_dim)

    layers = [nn.Flatten()]
    fan_in = num_pixels
    for width in discriminator_widths:
        layers += [nn.Linear(fan_in, width), nn.LeakyReLU(0.2)]
        fan_in = width
    discriminator = Discriminator(nn.Sequential(*layers), fan_in, num_classes)
    for player in (generator, discriminator):
        _for_weights(player, nn.init.kaiming_normal_)
    return _paired(generator, discriminator, latent_dim, num_classes, image_shape, spectral_norm)


def _growing(
    num_latents: int,
    image_shape: tuple[int, int, int],
    base: tuple[int, int],
    num_halvings: int,
    width: int,
    upsampling: Upsampling,
    norm: Norm | None,
) -> nn.Sequential:
    """Latents (B, Z) to pixels (B, C * H * W): one dense layer, then a doubling a stage."""
    channels = _channels(width, num_halvings)
    layers: list[nn.Module] = [
        nn.Linear(num_latents, channels[num_halvings] * base[0] * base[1], bias=norm is None),
        nn.Unflatten(1, (channels[num_halvings], *base)),  # (B, C, H, W)
    ]
    for level in range(num_halvings, 0, -1):
        wide, narrow = channels[level], channels[level - 1]
        layers += [*make_norm_2d(norm, wide), nn.ReLU()]
        if upsampling == "transposed":
            layers.append(nn.ConvTranspose2d(wide, narrow, 4, 2, padding=1, bias=norm is None))
        else:
            layers.append(nn.Upsample(scale_factor=2, mode="nearest"))
            layers.append(nn.Conv2d(wide, narrow, 3, padding=1, bias=norm is None))
    layers += [*make_norm_2d(norm, channels[0]), nn.ReLU()]
    layers.append(nn.Conv2d(channels[0], image_shape[0], 3, padding=1))
    return nn.Sequential(*layers, nn.Flatten())


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
    for level in range(num_halvings):
        layers.append(nn.Conv2d(num_channels, channels[level + 1], 4, 2, padding=1))
        num_channels = channels[level + 1]
        if level > 0:  # the first layer sees the pixels as they are
            layers += make_norm_2d(norm, num_channels)
        layers.append(nn.LeakyReLU(0.2))
    layers.append(nn.Flatten())
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


def _num_conditions(conditional: bool | Literal["auto"], num_classes: int) -> int:
    """Return how many classes the players are told of: 0 where they are not."""
    if conditional not in (True, False, "auto"):
        raise ValueError(f"conditional={conditional!r} is none of true, false, auto")
    if conditional is True and num_classes == 0:
        raise ValueError("conditional=true needs data with classes; this has none (auto adapts)")
    return num_classes if conditional else 0


def _paired(
    generator: Generator,
    discriminator: Discriminator,
    latent_dim: int,
    num_classes: int,
    image_shape: tuple[int, int, int],
    spectral_norm: bool,
) -> GAN:
    if spectral_norm:  # Miyato et al. 2018, arXiv:1802.05957
        for module in [m for m in discriminator.modules() if isinstance(m, _WEIGHTED)]:
            spectrally_normalised(module)
    return GAN(
        generator=generator,
        discriminator=discriminator,
        latent_dim=latent_dim,
        num_classes=num_classes,
        image_shape=image_shape,
    )


def _for_weights(player: nn.Module, draw: Callable[[Tensor], object]) -> None:
    """Draw each layer's weights anew and zero its bias; the generator's embedding stays N(0, 1)."""
    for name, module in player.named_modules():
        if isinstance(module, _WEIGHTED) and name != "embedding":
            draw(module.weight)
            if not isinstance(module, nn.Embedding) and module.bias is not None:
                nn.init.zeros_(module.bias)


def _required(classes: Tensor | None) -> Tensor:
    if classes is None:
        raise ValueError("this GAN is class-conditional: it needs the classes (B,)")
    return classes
