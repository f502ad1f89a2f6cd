"""What is trained: the same networks, batches and images for every side."""

import itertools
from dataclasses import dataclass
from typing import Literal

from torch import nn

from trainwright.nn.cnn import CNN
from trainwright.nn.conv_gan import conv_gan
from trainwright.nn.gan import GAN
from trainwright.nn.resnet import ResNet

GREY, COLOUR = (1, 28, 28), (3, 32, 32)
NUM_CLASSES = 10
LATENT_DIM = 64
LR = 1e-3
GAN_BETAS = (0.5, 0.99)


@dataclass(frozen=True)
class Work:
    """One thing to train: a network on images, by Adam at a constant learning rate.

    `num_images` are trained on, `epochs` times, when a whole process is measured. `turn` is the
    number of steps for which a side computes before it waits for the others (see gate.py);
    `widths` are those of an MLP.
    """

    name: str
    network: Literal["mlp", "cnn", "resnet", "gan"]
    batch_size: int
    num_images: int
    epochs: int
    turn: int
    widths: tuple[int, ...] = (512, 256)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of one image, (C, H, W)."""
        return COLOUR if self.network == "resnet" else GREY

    @property
    def num_steps(self) -> int:
        """Steps of a whole run."""
        return -(-self.num_images * self.epochs // self.batch_size)


WORKS = {
    work.name: work
    for work in (
        Work(
            "small64", "mlp", batch_size=64, num_images=55_000, epochs=1, turn=300, widths=(64, 64)
        ),
        Work("mlp64", "mlp", batch_size=64, num_images=55_000, epochs=1, turn=100),
        Work("mlp512", "mlp", batch_size=512, num_images=55_000, epochs=2, turn=30),
        Work("cnn128", "cnn", batch_size=128, num_images=55_000, epochs=1, turn=12),
        Work("gan128", "gan", batch_size=128, num_images=6_400, epochs=1, turn=4),
        Work("resnet128", "resnet", batch_size=128, num_images=2_560, epochs=1, turn=3),
    )
}


def classifier(work: Work) -> nn.Module:
    """A network from images (B, C, H, W) to logits (B, 10), as one would write it by hand."""
    if work.network == "cnn":
        return CNN(input_shape=work.shape, num_outputs=NUM_CLASSES)
    if work.network == "resnet":
        return ResNet(input_shape=work.shape, num_outputs=NUM_CLASSES)
    layers: list[nn.Module] = [nn.Flatten()]
    for fan, width in itertools.pairwise((784, *work.widths)):
        layers += [nn.Linear(fan, width), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(work.widths[-1], NUM_CLASSES))


def gan(work: Work) -> GAN:
    """A small DCGAN without classes: latents (B, 64) to images, images to logits (B,)."""
    return conv_gan(
        input_shape=work.shape, num_classes=0, conditional=False, latent_dim=LATENT_DIM, width=16
    )
