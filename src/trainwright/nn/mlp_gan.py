"""A generator and a discriminator of dense layers, for images of any size."""

import math

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
from trainwright.nn.layers import Norm, check_positive, check_widths, image_size, make_norm_1d


def mlp_gan(
    *,
    input_shape: tuple[int, ...],
    num_classes: int,
    generator_widths: tuple[int, ...] = (128, 64),
    discriminator_widths: tuple[int, ...] = (128, 64),
    latent_dim: int = 100,
    conditional: Conditional = "auto",
    conditional_norm: ConditionalNorm = "stem",
    generator_norm: Norm | None = "batch",
    spectral_norm: bool = False,
) -> GAN:
    """Return a pair of multilayer perceptrons, as in Goodfellow et al. 2014 (arXiv:1406.2661)."""
    image_shape = image_size("mlp_gan", input_shape, minimum=1)
    num_classes = num_conditions(conditional, num_classes, conditional_norm)
    check_widths("generator_widths", generator_widths)
    check_widths("discriminator_widths", discriminator_widths)
    check_positive(latent_dim=latent_dim)
    num_pixels = math.prod(image_shape)

    first, *wider = generator_widths
    layers: list[nn.Module] = [nn.LeakyReLU(LEAK)]
    fan_in = first
    for width in wider:
        layers += [nn.Linear(fan_in, width), *make_norm_1d(generator_norm, width)]
        layers += class_modulation(conditional_norm, num_classes, width)
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
    discriminator = Discriminator(
        nn.Sequential(*layers), fan_in, num_classes, auxiliary=conditional == "auxiliary"
    )
    return paired(
        generator,
        discriminator,
        latent_dim,
        num_classes,
        image_shape,
        spectral_norm,
        generator_std=None,
    )
