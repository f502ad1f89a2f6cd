"""The multilayer perceptron: for tables, and for images when flattened."""

import math

from torch import Tensor, nn

from trainwright.nn.layers import (
    Activation,
    Norm,
    check_dropout,
    check_widths,
    make_activation,
    make_norm_1d,
)


class MLP(nn.Module):
    """Linear layers with an activation, and perhaps normalisation and dropout, between them."""

    def __init__(
        self,
        *,
        input_shape: tuple[int, ...],
        num_outputs: int,
        widths: tuple[int, ...] = (512, 256),
        activation: Activation = "relu",
        dropout: float = 0.0,
        norm: Norm | None = None,
    ) -> None:
        super().__init__()
        check_widths("widths", widths, empty=True)
        check_dropout(dropout)
        layers: list[nn.Module] = [nn.Flatten()]
        fan_in = math.prod(input_shape)
        for width in widths:
            layers.append(nn.Linear(fan_in, width, bias=norm is None))
            layers.extend(make_norm_1d(norm, width))
            layers.append(make_activation(activation))
            if dropout > 0:
                layers.append(nn.Dropout(dropout))
            fan_in = width
        layers.append(nn.Linear(fan_in, num_outputs))
        self.layers = nn.Sequential(*layers)

    def forward(self, inputs: Tensor) -> Tensor:
        """Map inputs (B, *input_shape) to logits or values (B, num_outputs)."""
        outputs: Tensor = self.layers(inputs)
        return outputs
