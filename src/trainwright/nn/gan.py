"""What every GAN here is made of: a generator and a discriminator, and how they see the class.

Where the data has classes both players see them. The generator's first features, or all, get a
gain and a bias by class after their normalisation (de Vries et al. 2017, arXiv:1707.00683). The
discriminator adds an inner product of its features with an embedding of the class (the projection
of Miyato & Koyama 2018, arXiv:1802.05637), or it is not told the class but learns to name it (the
auxiliary classifier of Odena et al. 2017, arXiv:1610.09585). No discriminator has batch
normalisation, so that its logits, and a gradient penalty, treat the examples independently.
"""

from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm as spectrally_normalised

LEAK = 0.2  # the slope below zero, as in DCGAN
_WEIGHTED = nn.Linear | nn.Conv2d | nn.ConvTranspose2d

Conditional = bool | Literal["auto", "projection", "auxiliary"]
ConditionalNorm = Literal["stem", "all"]


class GAN(nn.Module):
    """The two players and what there is to know about their inputs."""

    only_for = "gan"

    def __init__(
        self,
        *,
        generator: "Generator",
        discriminator: "Discriminator",
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


class ClassModulation(nn.Module):
    """A gain and a bias for each of F features, by class: maps * (1 + gain) + bias."""

    def __init__(self, num_classes: int, num_features: int, std: float) -> None:
        super().__init__()
        self.by_class = nn.Embedding(num_classes, 2 * num_features)
        nn.init.normal_(self.by_class.weight, std=std)

    def forward(self, maps: Tensor, classes: Tensor | None) -> Tensor:
        """Map features (B, F) or (B, F, H, W) of the classes (B,) to the same shape."""
        by_class: Tensor = self.by_class(_required(classes)).to(maps.dtype)  # (B, 2 * F)
        by_class = by_class.view(maps.shape[0], -1, *(1 for _ in maps.shape[2:]))
        gain, bias = by_class.chunk(2, dim=1)  # (B, F) or (B, F, 1, 1)
        return torch.addcmul(bias, maps, 1 + gain)


class Generator(nn.Module):
    """A stem on the latents, a gain and a bias by class on its features, and a body.

    The class acts after the stem's normalisation, so that it cannot drown the latents: given
    beside them, as one more input of the stem, it soon does, and each class becomes one image.
    The layers of the body that are a `ClassModulation` see the class too.
    """

    def __init__(
        self,
        *,
        stem: nn.Module,
        body: nn.Sequential,
        num_features: int,
        num_classes: int,
        image_shape: tuple[int, int, int],
    ) -> None:
        super().__init__()
        self.stem = stem
        # Gains and biases are drawn from N(0, 1): were they small, the first images would say
        # nothing of the class, and the discriminator would learn to do without it.
        self.modulation = ClassModulation(num_classes, num_features, 1.0) if num_classes else None
        self.body = body
        self.image_shape = image_shape

    def forward(self, latents: Tensor, classes: Tensor | None = None) -> Tensor:
        """Map latents (B, Z) and classes (B,) to images (B, C, H, W) in [-1, 1]."""
        maps: Tensor = self.stem(latents)  # (B, F) or (B, F, H, W)
        if self.modulation is not None:
            maps = self.modulation(maps, classes)
        for layer in self.body:
            maps = layer(maps, classes) if isinstance(layer, ClassModulation) else layer(maps)
        return torch.tanh(maps.view(-1, *self.image_shape))  # (B, C, H, W)


class Judgement(NamedTuple):
    """What a discriminator says: logits (B,), above 0 for real, and of the classes (B, K)."""

    logits: Tensor
    class_logits: Tensor | None  # of an auxiliary classifier alone


class Discriminator(nn.Module):
    """Features of the image, one linear unit on them, and a projection on the class.

    With `auxiliary` there is a classifier in the projection's place.
    """

    def __init__(
        self, body: nn.Module, num_features: int, num_classes: int, *, auxiliary: bool = False
    ) -> None:
        super().__init__()
        self.body = body
        self.head = nn.Linear(num_features, 1)
        projects, classifies = num_classes and not auxiliary, num_classes and auxiliary
        self.projection = nn.Embedding(num_classes, num_features) if projects else None
        self.classifier = nn.Linear(num_features, num_classes) if classifies else None

    def judge(self, images: Tensor, classes: Tensor | None = None) -> Judgement:
        """Judge images (B, C, H, W) of the classes (B,)."""
        features = self.body(images)  # (B, F)
        logits: Tensor = self.head(features).squeeze(1)
        if self.projection is not None:
            logits = logits + (self.projection(_required(classes)) * features).sum(dim=1)
        named = None if self.classifier is None else self.classifier(features).float()
        return Judgement(logits.float(), named)

    def forward(self, images: Tensor, classes: Tensor | None = None) -> Tensor:
        """Map images (B, C, H, W) and classes (B,) to logits (B,): above 0 says real."""
        return self.judge(images, classes).logits

    def at_best(self, images: Tensor) -> Tensor:
        """Map images (B, C, H, W) to the logits (B,) of the class for which each is most real."""
        features = self.body(images)  # (B, F)
        logits: Tensor = self.head(features).squeeze(1)
        if self.projection is not None:
            logits = logits + (features @ self.projection.weight.T).amax(dim=1)
        return logits.float()


def num_conditions(
    conditional: Conditional, num_classes: int, conditional_norm: ConditionalNorm
) -> int:
    """Return how many classes the players are told of: 0 where they are not.

    Raises ValueError for settings that need classes where there are none.
    """
    if conditional not in (True, False, "auto", "projection", "auxiliary"):
        raise ValueError(
            f"conditional={conditional!r} is not one of true, false, auto, projection, auxiliary"
        )
    if conditional_norm not in get_args(ConditionalNorm):
        raise ValueError(f"conditional_norm={conditional_norm!r} is not one of stem, all")
    if conditional not in (False, "auto") and num_classes == 0:
        wanted = str(conditional).lower()
        raise ValueError(
            f"conditional={wanted} needs data with classes; this has none (auto adapts)"
        )
    num_classes = num_classes if conditional else 0
    if conditional_norm == "all" and not num_classes:
        raise ValueError("conditional_norm=all needs a class-conditional GAN; this one is not")
    return num_classes


def class_modulation(
    conditional_norm: ConditionalNorm, num_classes: int, num_features: int
) -> list[nn.Module]:
    """A gain and a bias by class for a layer of the body, as a list: empty with `stem`.

    Small at first, as in Brock et al. 2019 (arXiv:1809.11096): the stem's say what class it is.
    """
    if conditional_norm == "stem":
        return []
    return [ClassModulation(num_classes, num_features, 0.02)]


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
    for module in generator.modules():
        if isinstance(module, _WEIGHTED):
            _draw(module, generator_std)
    for module in discriminator.modules():
        if isinstance(module, _WEIGHTED):
            _draw(module, None)
    if discriminator.projection is not None:
        nn.init.normal_(discriminator.projection.weight, std=0.02)
    if spectral_norm:  # Miyato et al. 2018, arXiv:1802.05957; of the projection too, as there
        bounded = _WEIGHTED | nn.Embedding
        for module in [m for m in discriminator.modules() if isinstance(m, bounded)]:
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
