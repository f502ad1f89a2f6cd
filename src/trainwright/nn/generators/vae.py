"""Variational autoencoders: an encoder to a normal distribution of codes, a decoder from codes."""

import math
from collections.abc import Callable
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

from trainwright.nn.generators.unet import even, group_norm, halved
from trainwright.nn.generators.velocity import Conditional, conditions
from trainwright.nn.layers import check_positive, check_widths, image_size

Likelihood = Literal["bernoulli", "gaussian", "logistic"]


class VAE(nn.Module):
    """After Kingma and Welling 2014 (arXiv:1312.6114); told of classes after Sohn et al. 2015.

    What the decoder says of a pixel is a distribution: of `bernoulli` its logit; of `gaussian` and
    `logistic` its mean, from -1 to 1, and there is one `log_scale` a channel, in units of 0..1.
    """

    only_for = "vae"

    def __init__(
        self,
        *,
        encoder: nn.Module,
        decoder: nn.Module,
        num_features: tuple[int, int],
        latent_dim: int,
        num_classes: int,
        image_shape: tuple[int, int, int],
        likelihood: Likelihood,
    ) -> None:
        """`num_features`: that the encoder makes of an image, and the decoder an image of."""
        super().__init__()
        check_positive(latent_dim=latent_dim)
        if likelihood not in get_args(Likelihood):
            known = ", ".join(get_args(Likelihood))
            raise ValueError(f"likelihood={likelihood!r} is not one of {known}")
        self.encoder, self.decoder = encoder, decoder
        self.to_code = nn.Linear(num_features[0] + num_classes, 2 * latent_dim)
        self.from_code = nn.Linear(latent_dim + num_classes, num_features[1])
        self.latent_dim, self.num_classes = latent_dim, num_classes  # 0: unconditional
        self.image_shape, self.likelihood = image_shape, likelihood
        scales = torch.full((image_shape[0], 1, 1), math.log(0.2))
        self.log_scale = None if likelihood == "bernoulli" else nn.Parameter(scales)

    def encode(self, images: Tensor, classes: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Mean and log variance, each (B, Z), of the codes of images (B, C, H, W) in [-1, 1]."""
        found = self.to_code(self._with_class(self.encoder(images), classes)).float()
        mean, log_variance = found.chunk(2, dim=1)
        return mean, log_variance.clamp(-20, 10)

    def decode(self, codes: Tensor, classes: Tensor | None = None) -> Tensor:
        """What is said of each pixel (B, C, H, W), of codes (B, Z)."""
        features = self.from_code(self._with_class(codes, classes))
        said: Tensor = self.decoder(features).view(-1, *self.image_shape)
        return said.float()

    def hidden_weights(self) -> list[nn.Parameter]:
        """All but those that begin with pixels or end in them, for Muon."""
        halves = (*self.encoder.parameters(), *self.decoder.parameters())
        inside = [p for p in halves if p.dim() >= 2][1:-1]
        codes = (*self.to_code.parameters(), *self.from_code.parameters())
        return [*inside, *(p for p in codes if p.dim() >= 2)]

    def _with_class(self, values: Tensor, classes: Tensor | None) -> Tensor:
        if not self.num_classes:
            return values
        if classes is None:
            raise ValueError("this VAE is class-conditional: it needs the classes (B,)")
        told = functional.one_hot(classes, self.num_classes).to(values.dtype)
        return torch.cat([values, told], dim=1)

    def pixels(self, said: Tensor) -> Tensor:
        """The mean of each pixel, in [0, 1], of what the decoder says of it."""
        mean = said.sigmoid() if self.likelihood == "bernoulli" else (said + 1) / 2
        return mean.clamp(0, 1)


def conv_vae(
    *,
    input_shape: tuple[int, ...],
    num_classes: int,
    width: int = 32,
    latent_dim: int = 32,
    likelihood: Likelihood = "bernoulli",
    conditional: Conditional = False,
) -> VAE:
    """Convolutions down to maps of 4 to 7 places a side and back, for images of any size.

    Images whose shorter side has 16 pixels or more are cut into patches of 2x2 first.
    """
    image_shape = image_size("vae", input_shape, minimum=2)
    check_positive(width=width)
    patch, widths, sizes = halved(image_shape[1:], width)
    pixels = image_shape[0] * patch**2
    down: list[nn.Module] = [_Resized(lambda images: even(images, patch)), nn.PixelUnshuffle(patch)]
    for level, wide in enumerate(widths):
        narrow = widths[level - 1] if level else pixels
        down += [nn.Conv2d(narrow, wide, 3, 2 if level else 1, padding=1), group_norm(wide)]
        down.append(nn.SiLU())
    up: list[nn.Module] = [nn.Unflatten(1, (widths[-1], *sizes[-1]))]
    for level in reversed(range(len(widths))):
        up += [nn.Conv2d(widths[level], widths[max(level - 1, 0)], 3, padding=1)]
        up += [group_norm(widths[max(level - 1, 0)]), nn.SiLU()]
        if level:
            up.append(nn.Upsample(sizes[level - 1]))
    height, columns = image_shape[1:]
    up += [nn.Conv2d(width, pixels, 3, padding=1), nn.PixelShuffle(patch)]
    up.append(_Resized(lambda images: images[:, :, :height, :columns]))
    num = widths[-1] * math.prod(sizes[-1])
    return VAE(
        encoder=nn.Sequential(*down, nn.Flatten()),
        decoder=nn.Sequential(*up),
        num_features=(num, num),
        latent_dim=latent_dim,
        num_classes=conditions(conditional, num_classes),
        image_shape=image_shape,
        likelihood=likelihood,
    )


def mlp_vae(
    *,
    input_shape: tuple[int, ...],
    num_classes: int,
    widths: tuple[int, ...] = (512, 256),
    latent_dim: int = 32,
    likelihood: Likelihood = "bernoulli",
    conditional: Conditional = False,
) -> VAE:
    """Dense layers of these widths from pixels to codes, and of the same back."""
    image_shape = image_size("mlp_vae", input_shape, minimum=1)
    check_widths("widths", widths)
    fans = [math.prod(image_shape), *widths]
    down: list[nn.Module] = [nn.Flatten()]
    for number, width in enumerate(widths):
        down += [nn.Linear(fans[number], width), nn.SiLU()]
    up: list[nn.Module] = []
    for number in reversed(range(len(widths))):
        up += [nn.SiLU(), nn.Linear(fans[number + 1], fans[number])]
    return VAE(
        encoder=nn.Sequential(*down),
        decoder=nn.Sequential(*up),
        num_features=(widths[-1], widths[-1]),
        latent_dim=latent_dim,
        num_classes=conditions(conditional, num_classes),
        image_shape=image_shape,
        likelihood=likelihood,
    )


class _Resized(nn.Module):
    """Images in another size."""

    def __init__(self, change: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self._change = change

    def forward(self, images: Tensor) -> Tensor:
        """As the function has it."""
        return self._change(images)
