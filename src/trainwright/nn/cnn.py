"""A plain convolutional classifier: stages of 3x3 convolutions with pooling between them."""

from typing import ClassVar

from torch import Tensor, nn

from trainwright.nn.layers import (
    Activation,
    Norm,
    check_dropout,
    check_positive,
    check_widths,
    image_size,
    make_activation,
    make_norm_1d,
    make_norm_2d,
)


class CNN(nn.Module):
    """Stages of convolution, normalisation and activation; then dense layers.

    Pooling halves the map after each stage for as long as both sides stay at least 2, so the
    same channels serve 8x8 and 64x64 images. It comes before the activation, which is then
    a quarter of the work (and the same function, where the activation is monotone).
    """

    prunable: ClassVar[tuple[str, ...]] = ("channels", "dense")  # widths, layer by layer

    def __init__(
        self,
        *,
        input_shape: tuple[int, ...],
        num_outputs: int,
        channels: tuple[int, ...] = (32, 64, 64),
        convs_per_stage: int = 1,
        dense: tuple[int, ...] = (64,),
        activation: Activation = "relu",
        dropout: float = 0.0,
        norm: Norm | None = None,
    ) -> None:
        super().__init__()
        num_channels, height, width = image_size("cnn", input_shape, minimum=4)
        check_widths("channels", channels)
        check_widths("dense", dense, empty=True)
        check_positive(convs_per_stage=convs_per_stage)
        check_dropout(dropout)

        layers: list[nn.Module] = []
        for stage_channels in channels:
            for position in range(convs_per_stage):
                layers.append(
                    nn.Conv2d(num_channels, stage_channels, 3, padding=1, bias=norm is None)
                )
                num_channels = stage_channels
                if position == convs_per_stage - 1 and min(height, width) >= 4:
                    layers.append(nn.MaxPool2d(2))
                    height, width = height // 2, width // 2
                layers.extend(make_norm_2d(norm, stage_channels))
                layers.append(make_activation(activation))
        self.features = nn.Sequential(*layers)

        head: list[nn.Module] = [nn.Flatten()]  # (B, C, H, W) -> (B, C * H * W)
        fan_in = num_channels * height * width
        for dense_width in dense:
            if dropout > 0:
                head.append(nn.Dropout(dropout))
            head.append(nn.Linear(fan_in, dense_width, bias=norm is None))
            head.extend(make_norm_1d(norm, dense_width))
            head.append(make_activation(activation))
            fan_in = dense_width
        if dropout > 0:
            head.append(nn.Dropout(dropout))
        head.append(nn.Linear(fan_in, num_outputs))
        self.head = nn.Sequential(*head)

    def forward(self, images: Tensor) -> Tensor:
        """Map images (B, C, H, W) to logits or values (B, num_outputs)."""
        outputs: Tensor = self.head(self.features(images))
        return outputs
