"""A convolutional network for time series (after Wang et al. 2017, arXiv:1611.06455, their FCN)."""

from typing import ClassVar

from torch import Tensor, nn

from trainwright.nn.layers import (
    Activation,
    Norm,
    check_dropout,
    check_positive,
    check_widths,
    make_activation,
    make_norm_2d,
)


class CNN1D(nn.Module):
    """Convolutions along time, pooling between them, the mean over time, and a linear layer.

    The mean makes it see series of other lengths alike. Pooling halves the length after each stage
    but the last for as long as 4 steps are left.
    """

    prunable: ClassVar[tuple[str, ...]] = ("channels",)  # widths, layer by layer

    def __init__(
        self,
        *,
        input_shape: tuple[int, ...],
        num_outputs: int,
        channels: tuple[int, ...] = (64, 128, 128),
        kernel: int = 7,
        activation: Activation = "relu",
        dropout: float = 0.0,
        norm: Norm | None = "batch",
    ) -> None:
        super().__init__()
        if len(input_shape) != 2:
            raise ValueError(
                f"cnn1d takes time series (T, C), not examples of shape {tuple(input_shape)}"
            )
        check_widths("channels", channels)
        check_positive(kernel=kernel)
        check_dropout(dropout)
        if kernel % 2 == 0:
            raise ValueError(f"kernel={kernel} is even: it has no middle")
        length, num_channels = input_shape
        layers: list[nn.Module] = []
        for place, width in enumerate(channels):
            padding = kernel // 2
            layers.append(
                nn.Conv1d(num_channels, width, kernel, padding=padding, bias=norm is None)
            )
            layers += [_norm_of_maps(layer) for layer in make_norm_2d(norm, width)]
            layers.append(make_activation(activation))
            if place < len(channels) - 1 and length >= 4:
                layers.append(nn.MaxPool1d(2))
                length //= 2
            num_channels = width
        self.features = nn.Sequential(*layers)
        drop = [nn.Dropout(dropout)] if dropout > 0 else []
        self.head = nn.Sequential(*drop, nn.Linear(num_channels, num_outputs))

    def forward(self, series: Tensor) -> Tensor:
        """Map series (B, T, C) to logits or values (B, num_outputs)."""
        maps = self.features(series.transpose(1, 2))  # (B, C, T) -> (B, channels[-1], T')
        outputs: Tensor = self.head(maps.mean(dim=2))
        return outputs


def _norm_of_maps(norm: nn.Module) -> nn.Module:
    """Batch normalisation of (B, C, T); the other normalisation takes any number of dimensions."""
    return nn.BatchNorm1d(norm.num_features) if isinstance(norm, nn.BatchNorm2d) else norm
