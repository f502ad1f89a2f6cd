"""A generator as other programs use it."""

import torch
from torch import Tensor

from trainwright.nn.gan import GAN
from trainwright.tasks.ports import Port, Portable


class Sampler(Portable):
    """Latents, and classes where the GAN has them; images with pixels from 0 to 1."""

    does = "gan"

    def __init__(self, model: GAN) -> None:
        super().__init__()
        self.network = model.generator
        self.num_classes = model.num_classes
        latents = Port("latents", (model.latent_dim,), torch.float32, "standard normal numbers")
        classes = Port("classes", (), torch.int64, f"0 to {model.num_classes - 1}")
        self.inputs = (latents, classes) if model.num_classes else (latents,)
        self.facts = {"num_classes": model.num_classes}
        self.output = Port("images", model.image_shape, torch.float32, "pixels, 0 to 1")

    def forward(self, latents: Tensor, classes: Tensor | None = None) -> Tensor:
        """Map latents (B, Z) and classes (B,) to images (B, C, H, W) in [0, 1]."""
        images: Tensor = self.network(latents, classes)
        return (images + 1) / 2

    def example(self, num_examples: int) -> tuple[Tensor, ...]:
        """Latents, and classes in turn."""
        generator = torch.Generator().manual_seed(num_examples)
        latents = torch.randn(num_examples, *self.inputs[0].shape, generator=generator)
        if not self.num_classes:
            return (latents,)
        return latents, torch.arange(num_examples) % self.num_classes
