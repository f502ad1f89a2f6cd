"""What every GAN here is made of: a generator and a discriminator, and how they see the class.

Where the data has classes both players see them. The generator's first features get a gain and
a bias by class after their normalisation (de Vries et al. 2017, arXiv:1707.00683); the
discriminator adds an inner product of its features with an embedding of the class (the projection
of Miyato & Koyama 2018, arXiv:1802.05637). No discriminator has batch normalisation, so that its
logits, and a gradient penalty, treat the examples independently.
"""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm as spectrally_normalised

LEAK = 0.2  # the slope below zero, as in DCGAN
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


def num_conditions(conditional: bool | Literal["auto"], num_classes: int) -> int:
    """Return how many classes the players are told of: 0 where they are not.

    Raises ValueError for `conditional=true` on data without classes.
    """
    if conditional not in (True, False, "auto"):
        raise ValueError(f"conditional={conditional!r} is none of true, false, auto")
    if conditional is True and num_classes == 0:
        raise ValueError("conditional=true needs data with classes; this has none (auto adapts)")
    return num_classes if conditional else 0


def paired(
    generator: Generator,
    discriminator: Discriminator,
    latent_dim: int,
    num_classes: int,
    image_shape: tuple[int, int, int],
    spectral_norm: bool,
    generator_std: float | None,
) -> GAN:
    """Draw the first weights and put the two players together.

    `generator_std` is the standard deviation of the generator's weights; None: after He et al.
    The discriminator's are always drawn after He et al.
    """
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
