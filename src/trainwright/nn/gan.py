"""Generator and discriminator pairs, convolutional or of dense layers, sized from the image.

Where the data has classes both players see them. The generator's first features get a gain and
a bias by class after their normalisation (de Vries et al. 2017, arXiv:1707.00683); the
discriminator adds an inner product of its features with an embedding of the class (the projection
of Miyato & Koyama 2018, arXiv:1802.05637). No discriminator has batch normalisation, so that its
logits, and a gradient penalty, treat the examples independently.
"""

import math
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

LEAK = 0.2  # the slope below zero, as in DCGAN
MIN_BASE, MAX_BASE = 4, 16  # the sides of the smallest map
MAX_WIDENING = 8  # channels double where the map halves, up to this many times the width
_WEIGHTED = nn.Linear | nn.Conv2d | nn.ConvTranspose2d


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
    """A stem on the latents, a gain and a bias by class on its features, and a body.

    The class acts after the stem's normalisation, so that it cannot drown the latents: given
    beside them, as one more input of the stem, it soon does, and each class becomes one image.
    """

    def __init__(
        self,
        *,
        stem: nn.Module,
        body: nn.Module,
        num_features: int,
        num_classes: int,
        image_shape: tuple[int, int, int],
    ) -> None:
        super().__init__()
        self.stem = stem
        self.modulation = nn.Embedding(num_classes, 2 * num_features) if num_classes else None
        self.body = body
        self.image_shape = image_shape

    def forward(self, latents: Tensor, classes: Tensor | None = None) -> Tensor:
        """Map latents (B, Z) and classes (B,) to images (B, C, H, W) in [-1, 1]."""
        maps: Tensor = self.stem(latents)  # (B, F) or (B, F, H, W)
        if self.modulation is not None:
            by_class = self.modulation(_required(classes)).to(maps.dtype)  # (B, 2 * F)
            by_class = by_class.view(len(maps), -1, *(1 for _ in maps.shape[2:]))
            gain, bias = by_class.chunk(2, dim=1)  # (B, F) or (B, F, 1, 1)
            maps = torch.addcmul(bias, maps, 1 + gain)
        images: Tensor = self.body(maps)
        return torch.tanh(images.view(-1, *self.image_shape))  # (B, C, H, W)


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
    width: int = 16,
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

    channels = _channels(width, num_halvings)
    generator = Generator(
        stem=nn.Sequential(
            nn.Linear(latent_dim, channels[-1] * base[0] * base[1]),
            nn.Unflatten(1, (channels[-1], *base)),  # (B, C, H, W)
            *make_norm_2d(generator_norm, channels[-1]),
        ),
        body=_growing(channels, image_shape[0], upsampling, generator_norm),
        num_features=channels[-1],
        num_classes=num_classes,
        image_shape=image_shape,
    )
    body, num_features = _shrinking(
        image_shape, base, num_halvings, discriminator_width, discriminator_norm
    )
    discriminator = Discriminator(body, num_features, num_classes)
    return _paired(
        generator,
        discriminator,
        latent_dim,
        num_classes,
        image_shape,
        spectral_norm,
        generator_std=0.02 if generator_norm else None,
    )


def mlp_gan(
    *,
    input_shape: tuple[int, ...],
    num_classes: int,
    generator_widths: tuple[int, ...] = (128, 64),
    discriminator_widths: tuple[int, ...] = (128, 64),
    latent_dim: int = 100,
    conditional: bool | Literal["auto"] = "auto",
    generator_norm: Norm | None = "batch",
    spectral_norm: bool = False,
) -> GAN:
    """Return a pair of multilayer perceptrons, as in Goodfellow et al. 2014 (arXiv:1406.2661)."""
    image_shape = image_size("mlp_gan", input_shape, minimum=1)
    num_classes = _num_conditions(conditional, num_classes)
    check_widths("generator_widths", generator_widths)
    check_widths("discriminator_widths", discriminator_widths)
    check_positive(latent_dim=latent_dim)
    num_pixels = math.prod(image_shape)

    first, *wider = generator_widths
    layers: list[nn.Module] = [nn.LeakyReLU(LEAK)]
    fan_in = first
    for width in wider:
        layers += [nn.Linear(fan_in, width), *make_norm_1d(generator_norm, width)]
        layers.append(nn.LeakyReLU(LEAK))
        fan_in = width
    generator = Generator(
        stem=nn.Sequential(nn.Linear(latent_dim, first), *make_norm_1d(generator_norm, first)),
        body=nn.Sequential(*layers, nn.Linear(fan_in, num_pixels)),
        num_features=first,
        num_classes=num_classes,
        image_shape=image_shape,
    )

    layers = [nn.Flatten()]
    fan_in = num_pixels
    for width in discriminator_widths:
        layers += [nn.Linear(fan_in, width), nn.LeakyReLU(LEAK)]
        fan_in = width
    discriminator = Discriminator(nn.Sequential(*layers), fan_in, num_classes)
    return _paired(
        generator,
        discriminator,
        latent_dim,
        num_classes,
        image_shape,
        spectral_norm,
        generator_std=None,
    )


def _growing(
    channels: list[int], image_channels: int, upsampling: Upsampling, norm: Norm | None
) -> nn.Sequential:
    """Maps (B, channels[-1], h, w) to images (B, C, H, W): a doubling a stage."""
    layers: list[nn.Module] = []
    for wide, narrow in zip(channels[:0:-1], channels[-2::-1], strict=True):
        layers.append(nn.ReLU())
        if upsampling == "transposed":
            layers.append(nn.ConvTranspose2d(wide, narrow, 4, 2, padding=1, bias=norm is None))
        else:
            layers.append(nn.Upsample(scale_factor=2, mode="nearest"))
            layers.append(nn.Conv2d(wide, narrow, 3, padding=1, bias=norm is None))
        layers += make_norm_2d(norm, narrow)
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
    generator_std: float | None,
) -> GAN:
    for module in generator.modules():  # gains and biases by class stay N(0, 1): were they small,
        if isinstance(module, _WEIGHTED):  # the first images would say nothing of the class
            _draw(module, generator_std)
    for module in discriminator.modules():
        if isinstance(module, _WEIGHTED):
            _draw(module, None)
    if discriminator.projection is not None:
        nn.init.normal_(discriminator.projection.weight, std=0.02)
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


def _draw(module: nn.Linear | nn.Conv2d | nn.ConvTranspose2d, std: float | None) -> None:
    """Draw the weights from N(0, std), or after He et al. 2015 (arXiv:1502.01852) if None."""
    if std is None:
        nn.init.kaiming_normal_(module.weight, a=LEAK)
    else:
        nn.init.normal_(module.weight, std=std)
    if module.bias is not None:
        nn.init.zeros_(module.bias)


def _required(classes: Tensor | None) -> Tensor:
    if classes is None:
        raise ValueError("this GAN is class-conditional: it needs the classes (B,)")
    return classes
