"""What a side is asked to do, and a few things that all sides written in plain torch share."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from gate import Gate
from images import Images
from torch import Tensor, nn
from works import Work

Predict = Callable[[Tensor], Tensor]  # images (B, C, H, W) to logits (B, 10)
Generate = Callable[[int], Tensor]  # a number to so many images (B, C, H, W)


@dataclass(frozen=True)
class Job:
    """Train `work` on `images` for `epochs`, and call `gate.step()` at the start of every step.

    `fast`: with the options that the side's documentation names for speed, in fp32; otherwise as
    it comes, with its defaults.
    """

    work: Work
    images: Images
    epochs: int
    fast: bool
    gate: Gate


def watched(model: nn.Module, gate: Gate) -> nn.Module:
    """The model, which now tells the gate of every training step by itself."""
    model.register_forward_pre_hook(lambda module, _: gate.step() if module.training else None)
    return model


def predicts(model: nn.Module) -> Predict:
    """Of a trained torch model."""

    @torch.no_grad()
    def predict(images: Tensor) -> Tensor:
        model.eval()
        logits: Tensor = model(images)
        return logits

    return predict


def generates(generator: nn.Module, latent_dim: int) -> Generate:
    """Of a trained generator."""

    @torch.no_grad()
    def generate(number: int) -> Tensor:
        generator.eval()
        fakes: Tensor = generator(torch.randn(number, latent_dim))
        return fakes

    return generate
