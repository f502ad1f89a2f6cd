"""What docs/own-model.md shows, as the page of 0.1 has it: code of a user of that version."""

import math

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from trainwright.data.dataset import Dataset
from trainwright.data.splits import split_arrays
from trainwright.engine.clock import Clock, Duration
from trainwright.engine.schedule import Schedule


class PatchAttention(nn.Module):
    """Cuts an image into patches, lets them look at each other once, and classifies the mean."""

    def __init__(
        self,
        *,
        input_shape: tuple[int, ...],
        num_outputs: int,
        patch: int = 2,
        width: int = 32,
        heads: int = 4,
    ) -> None:
        super().__init__()
        if len(input_shape) != 3 or input_shape[1] % patch or input_shape[2] % patch:
            raise ValueError(f"patch={patch} does not divide images of shape {input_shape}")
        channels, image_height, image_width = input_shape
        num_patches = (image_height // patch) * (image_width // patch)
        self.embed = nn.Conv2d(channels, width, kernel_size=patch, stride=patch)
        self.position = nn.Parameter(0.02 * torch.randn(1, num_patches, width))
        self.norm = nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.head = nn.Sequential(
            nn.LayerNorm(width),
            nn.Linear(width, 4 * width),
            nn.GELU(),
            nn.Linear(4 * width, num_outputs),
        )

    def forward(self, inputs: Tensor) -> Tensor:
        """Map images (B, C, H, W) to logits (B, num_outputs)."""
        patches = self.embed(inputs).flatten(2).transpose(1, 2)  # (B, patches, width)
        patches = patches + self.position
        seen = self.norm(patches)
        mixed = patches + self.attention(seen, seen, seen, need_weights=False)[0]
        return self.head(mixed.mean(dim=1))


def spirals(
    *, num_examples: int = 1000, turns: float = 1.5, noise: float = 0.05, split_seed: int = 0
) -> Dataset:
    """Two spirals about the origin, one a class: (N, 2) and classes (N,)."""
    generator = torch.Generator().manual_seed(split_seed)
    along = torch.rand(num_examples, generator=generator).sqrt()
    classes = torch.arange(num_examples) % 2
    angle = 2 * math.pi * turns * along + math.pi * classes
    points = torch.stack([along * angle.cos(), along * angle.sin()], dim=1)
    points += noise * torch.randn(points.shape, generator=generator)
    return split_arrays(
        "spirals", points, classes, class_names=["inner", "outer"], split_seed=split_seed
    )


class Lion(Optimizer):
    """Evolved sign momentum (Chen et al. 2023, arXiv:2302.06675, algorithm 2)."""

    def __init__(
        self,
        params: list,
        lr: float = 1e-4,
        betas: tuple[float, float] = (0.9, 0.99),
        weight_decay: float = 0.0,
    ) -> None:
        if lr <= 0:
            raise ValueError(f"lr={lr} is not above 0")
        super().__init__(params, {"lr": lr, "betas": betas, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self) -> None:
        """Move every parameter by lr against the sign of its interpolated momentum."""
        for group in self.param_groups:
            fast, slow = group["betas"]
            for parameter in group["params"]:
                state, gradient = self.state[parameter], parameter.grad
                momentum = state.setdefault("momentum", torch.zeros_like(parameter))
                direction = (fast * momentum + (1 - fast) * gradient).sign()
                parameter.mul_(1 - group["lr"] * group["weight_decay"])
                parameter.sub_(group["lr"] * direction)
                momentum.lerp_(gradient, 1 - slow)


class Triangle(Schedule):
    """Down and up again in straight lines, once every `period` (Smith 2017, arXiv:1506.01186)."""

    def __init__(
        self, *, clock: Clock, warmup: Duration = 0, period: Duration = "50%", low: float = 0.1
    ) -> None:
        super().__init__(clock=clock, warmup=warmup)
        self.period = clock.steps(period)
        if self.period <= 0:
            raise ValueError(f"period={period} is no positive duration")
        self.low = low

    def shape(self, progress: float, step: float) -> float:
        """Return 1 at the ends of a period, `low` in its middle."""
        phase = step % self.period / self.period
        return self.low + (1 - self.low) * abs(2 * phase - 1)
