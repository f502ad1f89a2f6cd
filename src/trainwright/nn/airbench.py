"""The network that learns small photographs fastest: whitened patches, three wide blocks, no rest.

After Jordan 2024, "94% on CIFAR-10 in 3.29 Seconds on a Single GPU" (arXiv:2404.00498), and
github.com/KellerJordan/cifar10-airbench, which descends from the ResNets of David Page.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from trainwright.nn.layers import check_positive, check_widths, image_size
from trainwright.nn.whitening import Whitening

NUM_IMAGES = 5000  # whose patches are whitened
# Of the logits, times the number of features. The published network has 1; with this one its output
# layer wants the learning rate of its biases.
LOGIT_SCALE = 32 / 9


class AirbenchNet(nn.Module):
    """A classifier that begins where others get in their first epochs.

    Its first layer whitens the patches of the training images, its convolutions begin by passing
    their inputs on, and its normalisations have no gain. Each block halves the map for as long as
    both sides stay at least 2; the largest value of each last map goes into one linear layer, whose
    logits are small: the mean over the features rather than the sum.

    `train_inputs` gives so many training images, normalised; None where a checkpoint brings what
    was learned from them.
    """

    def __init__(
        self,
        *,
        input_shape: tuple[int, ...],
        num_outputs: int,
        train_inputs: Callable[[int], Tensor] | None = None,
        widths: tuple[int, ...] = (64, 256, 256),
        patch: int = 2,
        batch_norm_momentum: float = 0.4,
    ) -> None:
        super().__init__()
        check_widths("widths", widths)
        check_positive(patch=patch)
        num_channels, *sides = image_size("airbench", input_shape, minimum=patch + 1)
        if not 0 < batch_norm_momentum <= 1:
            raise ValueError(f"batch_norm_momentum={batch_norm_momentum} is not in 0 < value <= 1")
        self.whitening = Whitening(num_channels, kernel_size=patch)
        if train_inputs is not None:
            self.whitening.fit(train_inputs(NUM_IMAGES))
        num_channels = self.whitening.out_channels
        side = min(sides) - patch + 1  # the shorter one of the map
        layers: list[nn.Module] = [nn.GELU()]
        for width in widths:
            for position in range(2):
                layers.append(_passing_on(num_channels, width))
                num_channels = width
                if position == 0 and side >= 4:
                    layers.append(nn.MaxPool2d(2))
                    side //= 2
                layers += [_norm(width, batch_norm_momentum), nn.GELU()]
        self.features = nn.Sequential(*layers)
        self.head = nn.Linear(num_channels, num_outputs, bias=False)
        nn.init.normal_(self.head.weight, std=1 / LOGIT_SCALE)

    def forward(self, images: Tensor) -> Tensor:
        """Map images (B, C, H, W) to logits or values (B, num_outputs)."""
        maps = self.features(self.whitening(images))  # (B, widths[-1], H', W')
        features = maps.amax(dim=(2, 3))
        outputs: Tensor = self.head(features) * (LOGIT_SCALE / features.shape[1])
        return outputs


def _passing_on(in_channels: int, out_channels: int) -> nn.Conv2d:
    """A convolution of which as many filters as can each pass on one channel of the input."""
    convolution = nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False)
    with torch.no_grad():
        nn.init.dirac_(convolution.weight[:in_channels])
    return convolution


def _norm(num_channels: int, momentum: float) -> nn.BatchNorm2d:
    """Batch normalisation without a gain. `momentum` is torch's: the weight of the newest batch."""
    norm = nn.BatchNorm2d(num_channels, momentum=momentum)
    norm.weight.requires_grad_(False)
    return norm
