"""A user's module: an image and the numbers of a row, to a class; by a network of two inputs."""

import torch
from torch import Tensor, nn

from trainwright.data.columns import Numbers
from trainwright.data.dataset import Dataset
from trainwright.data.splits import split_arrays

KINDS = ("dark dry", "dark wet", "bright dry", "bright wet")


def leaves(*, num: int = 120, split_seed: int = 0) -> Dataset:
    """Pictures (3, 8, 8) dark or bright, and two measures, one of which says wet or dry."""
    generator = torch.Generator().manual_seed(split_seed)
    kinds = torch.randint(0, 4, (num,), generator=generator)
    light = (64 + 96 * (kinds // 2)).reshape(num, 1, 1, 1)
    pixels = light + torch.randint(-40, 40, (num, 3, 8, 8), generator=generator)
    water = 20 + 50 * (kinds % 2) + 5 * torch.randn(num, generator=generator)
    mass = 3 + torch.rand(num, generator=generator)
    return split_arrays(
        "leaves",
        {"picture": pixels.to(torch.uint8), "measures": torch.stack([water, mass], dim=1)},
        {"leaf": kinds},
        class_names=KINDS,
        columns={"measures": Numbers(names=("water", "mass"))},
        split_seed=split_seed,
    )


class Both(nn.Module):
    """Looks at the picture, reads the measures, and says what both are of."""

    def __init__(self, *, columns: dict, num_outputs: int, width: int = 8) -> None:
        super().__init__()
        channels = columns["picture"].shape[0]
        (num_measures,) = columns["measures"].shape
        self.look = nn.Sequential(
            nn.Conv2d(channels, width, 3, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(1)
        )
        self.read = nn.Sequential(nn.Linear(num_measures, width), nn.ReLU())
        self.say = nn.Linear(2 * width, num_outputs)

    def forward(self, picture: Tensor, measures: Tensor) -> Tensor:
        """Map images (B, C, H, W) and numbers (B, F) to logits (B, classes)."""
        return self.say(torch.cat([self.look(picture).flatten(1), self.read(measures)], dim=1))
