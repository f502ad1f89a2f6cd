"""The residual network for small images.

After He et al. 2015 (arXiv:1512.03385) section 4.2: a 3x3 convolution, three stages of residual
blocks of which the later two halve the map and double the channels, global average pooling and
one linear layer. With `preactivation` the blocks are those of He et al. 2016 (arXiv:1603.05027).
Where a block changes the shape, its shortcut is a 1x1 convolution (their option B).
"""

import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from trainwright.nn.layers import check_positive, image_size

NUM_STAGES = 3


class ResNet(nn.Module):
    """A residual classifier of 6 * blocks_per_stage + 2 layers."""

    def __init__(
        self,
        *,
        input_shape: tuple[int, ...],
        num_outputs: int,
        blocks_per_stage: int = 3,
        width: int = 16,
        preactivation: bool = False,
    ) -> None:
        super().__init__()
        num_channels, _, _ = image_size("resnet", input_shape, minimum=8)
        check_positive(blocks_per_stage=blocks_per_stage, width=width)

        layers: list[nn.Module] = [_convolution(num_channels, width)]
        if not preactivation:
            layers += [nn.BatchNorm2d(width), nn.ReLU()]
        block = PreActivationBlock if preactivation else ResidualBlock
        num_channels = width
        for stage in range(NUM_STAGES):
            stage_channels = width * 2**stage
            for position in range(blocks_per_stage):
                stride = 2 if stage > 0 and position == 0 else 1
                layers.append(block(num_channels, stage_channels, stride))
                num_channels = stage_channels
        if preactivation:
            layers += [nn.BatchNorm2d(num_channels), nn.ReLU()]
        self.features = nn.Sequential(*layers)
        self.head = nn.Linear(num_channels, num_outputs)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Tensor) -> Tensor:
        """Map images (B, C, H, W) to logits or values (B, num_outputs)."""
        features = self.features(images).mean(dim=(2, 3))  # (B, C, H, W) -> (B, C)
        outputs: Tensor = self.head(features)
        return outputs


class ResidualBlock(nn.Module):
    """Two convolutions beside a shortcut; the last activation comes after the sum."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = _convolution(in_channels, out_channels, stride)
        self.norm1 = nn.BatchNorm2d(out_channels)
        self.conv2 = _convolution(out_channels, out_channels)
        self.norm2 = nn.BatchNorm2d(out_channels)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or in_channels != out_channels:
            self.shortcut = nn.Sequential(
                nn.Conv2d(in_channels, out_channels, 1, stride, bias=False),
                nn.BatchNorm2d(out_channels),
            )

    def forward(self, maps: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, out_channels, H / stride, W / stride)."""
        branch = self.norm2(self.conv2(F.relu(self.norm1(self.conv1(maps)))))
        return F.relu(self.shortcut(maps) + branch)


class PreActivationBlock(nn.Module):
    """Normalisation and activation come before each convolution; the sum stays untouched."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(in_channels)
        self.conv1 = _convolution(in_channels, out_channels, stride)
        self.norm2 = nn.BatchNorm2d(out_channels)
        self.conv2 = _convolution(out_channels, out_channels)
        self.projection: nn.Module | None = None
        if stride != 1 or in_channels != out_channels:
            self.projection = nn.Conv2d(in_channels, out_channels, 1, stride, bias=False)

    def forward(self, maps: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, out_channels, H / stride, W / stride)."""
        active = F.relu(self.norm1(maps))
        shortcut = maps if self.projection is None else self.projection(active)
        branch: Tensor = self.conv2(F.relu(self.norm2(self.conv1(active))))
        return shortcut + branch


def _convolution(in_channels: int, out_channels: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=False)
