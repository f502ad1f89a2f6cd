"""A variational autoencoder (Kingma and Welling 2014, arXiv:1312.6114): data, networks and task."""

import math
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional

from trainwright.data.dataset import DataInfo, Dataset
from trainwright.data.splits import split_arrays
from trainwright.tasks.metrics.metric import Gathered, Metric
from trainwright.tasks.ports import Port, Portable
from trainwright.tasks.show import Images, Samples
from trainwright.tasks.task import Objective, Task


def discs(*, num_examples: int = 240, size: int = 8, split_seed: int = 0) -> Dataset:
    """Soft white discs somewhere on black, (N, 1, size, size), and no labels."""
    generator = torch.Generator().manual_seed(split_seed)
    centre = size * (0.25 + 0.5 * torch.rand(num_examples, 2, 1, 1, generator=generator))
    radius = size * (0.15 + 0.15 * torch.rand(num_examples, 1, 1, generator=generator))
    y, x = torch.meshgrid(torch.arange(size) + 0.5, torch.arange(size) + 0.5, indexing="ij")
    distance = ((y - centre[:, 0]) ** 2 + (x - centre[:, 1]) ** 2).sqrt()
    images = (radius - distance + 0.5).clamp(0, 1)[:, None]
    return split_arrays("discs", images, None, split_seed=split_seed)


class VAE(nn.Module):
    """An encoder to the mean and log variance of a code, and a decoder from codes to pixels."""

    def __init__(self, *, input_shape: tuple[int, ...], width: int = 32, code: int = 4) -> None:
        super().__init__()
        if code < 1:
            raise ValueError(f"code={code} is not at least 1")
        self.code = code
        size = math.prod(input_shape)
        self.encoder = nn.Sequential(
            nn.Flatten(), nn.Linear(size, width), nn.ReLU(), nn.Linear(width, 2 * code)
        )
        self.decoder = nn.Sequential(
            nn.Linear(code, width),
            nn.ReLU(),
            nn.Linear(width, size),
            nn.Unflatten(1, input_shape),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Reconstruct images (B, C, H, W) from their mean codes, as logits of their pixels."""
        mean, _ = self.encoder(images).chunk(2, dim=1)
        return self.decoder(mean)


class Variational(Task):
    """Learns to reproduce images from codes that are nearly normal, and to make up new ones."""

    objective = Objective("loss", higher_is_better=False)

    def __init__(self, *, model: VAE, info: DataInfo, beta: float = 1.0) -> None:
        super().__init__()
        if not info.is_image:
            raise ValueError(f"task=variational needs images, and {info.name} has none")
        self.model, self.beta = model, beta
        self.columns = {"inputs": replace(info.input, scaling="unit")}  # pixels from 0 to 1
        self.shown: Images | None = None

    @property
    def players(self) -> dict[str, nn.Module]:
        return {"model": self.model}

    def parts(self, images: Tensor, *, draws: bool) -> tuple[Tensor, Tensor, Tensor]:
        """Reconstructions, and what they and the code cost each image, (B,) nats each."""
        mean, log_variance = self.model.encoder(images).float().chunk(2, dim=1)
        code = mean
        if draws:
            code = mean + torch.randn_like(mean) * (0.5 * log_variance).exp()
        logits = self.model.decoder(code).float()
        cost = functional.binary_cross_entropy_with_logits(logits, images, reduction="none")
        divergence = 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance).sum(dim=1)
        return logits.sigmoid(), cost.flatten(1).sum(dim=1), divergence

    def forward(self, player: str, batch: dict, carry: dict) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the negative evidence bound of a batch, and its two parts (B,)."""
        _, reconstruction, divergence = self.parts(batch["inputs"], draws=True)
        loss = (reconstruction + self.beta * divergence).mean()
        logged = {"reconstruction": reconstruction, "divergence": divergence}
        return loss, {"loss": loss.detach(), **{k: v.detach() for k, v in logged.items()}}

    def evaluate(self, batch: dict) -> dict[str, Tensor]:
        """The two parts of each image's loss (B,), at its mean code."""
        images = batch["inputs"]
        pixels, reconstruction, divergence = self.parts(images, draws=False)
        self.shown = Images(torch.cat([images[:8], pixels[:8]]), columns=8)
        return {"reconstruction": reconstruction, "divergence": divergence}

    def metrics(self) -> Metric:
        return Bound(self.beta)

    def showcase(self) -> Images | None:
        """Eight originals above their reconstructions (16, C, H, W) in [0, 1]."""
        return self.shown

    def generate(self, num: int, *, seed: int, classes: Sequence[int] = ()) -> Samples:
        """`num` images of normal codes."""
        generator = torch.Generator().manual_seed(seed)
        codes = torch.randn(num, self.model.code, generator=generator)
        device = next(self.model.parameters()).device
        return Samples(self.model.decoder(codes.to(device)).float().sigmoid().cpu())

    def portable(self) -> Portable:
        """Codes in, images out."""
        return Decoder(self.model, self.columns["inputs"].shape)


class Bound(Gathered):
    """The two parts of the loss, and their weighted sum."""

    def __init__(self, beta: float) -> None:
        super().__init__()
        self.beta = beta

    def update(self, batch: dict, answers: dict) -> None:
        self.keep(answers)

    def of(self, values: dict) -> dict[str, float]:
        parts = {name: float(value.double().mean()) for name, value in values.items()}
        return {"loss": parts["reconstruction"] + self.beta * parts["divergence"], **parts}


class Decoder(Portable):
    """Codes to images with pixels from 0 to 1."""

    does = "vae"

    def __init__(self, model: VAE, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.network = model.decoder
        self.inputs = (Port("codes", (model.code,), torch.float32, "standard normal numbers"),)
        self.output = Port("images", shape, torch.float32, "pixels, 0 to 1")

    def forward(self, codes: Tensor) -> Tensor:
        return self.network(codes).sigmoid()

    def example(self, num_examples: int) -> tuple[Tensor, ...]:
        generator = torch.Generator().manual_seed(num_examples)
        return (torch.randn(num_examples, *self.inputs[0].shape, generator=generator),)
