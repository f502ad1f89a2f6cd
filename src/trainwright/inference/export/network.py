"""The network as others use it: raw inputs in, answers out, nothing left to get wrong."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from trainwright.errors import ConfigError
from trainwright.inference.trained import Trained
from trainwright.nn.gan import GAN
from trainwright.tasks.classifier import Classifier
from trainwright.tasks.gan.task import GANTask
from trainwright.tasks.regression import Regression
from trainwright.tasks.views import TestTimeAugmentation, mean_over_views


@dataclass(frozen=True)
class Port:
    """One input or output: its name, shape after the batch dimension, type, and what it means."""

    name: str
    shape: tuple[int, ...]
    dtype: torch.dtype
    meaning: str

    def describe(self) -> dict[str, Any]:
        """As plain JSON types."""
        dtype = str(self.dtype).removeprefix("torch.")
        return {
            "name": self.name,
            "shape": ["batch", *self.shape],
            "dtype": dtype,
            "meaning": self.meaning,
        }


class Portable(nn.Module, ABC):
    """A trained network with its preprocessing inside, in float32."""

    inputs: tuple[Port, ...]
    output: Port
    network: nn.Module

    @abstractmethod
    def example(self, num_examples: int) -> tuple[Tensor, ...]:
        """Inputs for so many examples, drawn with a fixed seed."""


class Predictor(Portable):
    """Raw inputs, normalised inside; logits, or values in the unit of the targets."""

    scale: Tensor
    shift: Tensor

    def __init__(self, trained: Trained, network: nn.Module, output: Port) -> None:
        super().__init__()
        info, task = trained.info, trained.task
        self.network = network
        self.output = output
        is_image = info.is_image
        meaning = "pixels, 0 to 255" if is_image else "the features as in the table"
        dtype = torch.uint8 if is_image else torch.float32
        self.inputs = (Port("inputs", info.input_shape, dtype, meaning),)
        num_dims = 1 + len(info.input_shape)
        scale, shift = task.normalisation.tensors(num_dims, torch.device("cpu"))
        self.register_buffer("scale", scale)
        self.register_buffer("shift", shift)
        self.tta: TestTimeAugmentation = task.tta if isinstance(task, Classifier) else "none"
        self.unit = (info.target_std, info.target_mean) if isinstance(task, Regression) else None

    def forward(self, inputs: Tensor) -> Tensor:
        """Map raw inputs (B, ...) to logits (B, classes) or values (B,)."""
        outputs = mean_over_views(self.network, inputs.float() * self.scale + self.shift, self.tta)
        if self.unit is None:
            return outputs
        std, mean = self.unit
        return outputs.squeeze(1) * std + mean

    def example(self, num_examples: int) -> tuple[Tensor, ...]:
        """Random pixels, or features as far from zero as the data's are."""
        (port,) = self.inputs
        generator = torch.Generator().manual_seed(num_examples)
        shape = (num_examples, *port.shape)
        if port.dtype == torch.uint8:
            return (torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator),)
        return ((torch.randn(shape, generator=generator) - self.shift) / self.scale,)


class Sampler(Portable):
    """Latents, and classes where the GAN has them; images with pixels from 0 to 1."""

    def __init__(self, model: GAN) -> None:
        super().__init__()
        self.network = model.generator
        self.num_classes = model.num_classes
        latents = Port("latents", (model.latent_dim,), torch.float32, "standard normal numbers")
        classes = Port("classes", (), torch.int64, f"0 to {model.num_classes - 1}")
        self.inputs = (latents, classes) if model.num_classes else (latents,)
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


def portable(trained: Trained) -> Portable:
    """What of a run is worth taking elsewhere: its network, or its generator.

    Raises ConfigError for a task of the user's own, whose use we do not know.
    """
    task, info = trained.task, trained.info
    if isinstance(task, GANTask):
        made: Portable = Sampler(task.model)
    elif isinstance(task, Classifier):
        output = Port("logits", (info.num_classes,), torch.float32, "softmax of it: probabilities")
        made = Predictor(trained, task.model, output)
    elif isinstance(task, Regression):
        output = Port("values", (), torch.float32, "in the unit of the targets")
        made = Predictor(trained, task.model, output)
    else:
        raise ConfigError(
            f"runs export knows classifiers, regression and GANs, not {type(task).__name__}\n"
            "  the weights are in the checkpoint, which is a safetensors file"
        )
    for parameter in made.parameters():
        parameter.data = parameter.data.float().contiguous()
    return made.eval()
