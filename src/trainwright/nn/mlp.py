"""The multilayer perceptron: for tables, and for images when flattened."""

import math
from collections.abc import Callable, Mapping
from typing import ClassVar

from torch import Tensor, nn

from trainwright.nn.layers import (
    Activation,
    Norm,
    check_dropout,
    check_widths,
    make_activation,
    make_norm_1d,
)
from trainwright.nn.tables.features import Features, InputFacts, NumberFeatures, check_numbers


class MLP(nn.Module):
    """Linear layers with an activation, and perhaps normalisation and dropout, between them.

    Of a table with categories, several inputs, or other `numbers` than plain ones, they begin with
    what stands for each feature (`nn/tables/features.py`); else with the numbers of the input.
    """

    prunable: ClassVar[tuple[str, ...]] = ("widths",)  # widths, layer by layer

    def __init__(
        self,
        *,
        input_shape: tuple[int, ...],
        num_outputs: int,
        inputs: Mapping[str, InputFacts] | None = None,
        train_inputs: Callable[..., Tensor] | None = None,
        widths: tuple[int, ...] = (512, 256),
        activation: Activation = "relu",
        dropout: float = 0.0,
        norm: Norm | None = None,
        numbers: NumberFeatures = "plain",
        embedding: int = 16,
        resolution: int = 32,
        sigma: float = 0.1,
    ) -> None:
        super().__init__()
        check_widths("widths", widths, empty=True)
        check_dropout(dropout)
        check_numbers(numbers)
        layers: list[nn.Module] = [nn.Flatten()]
        fan_in = math.prod(input_shape)
        self.embed: Features | None = None
        kinds = [column["kind"] for column in (inputs or {}).values()]
        is_one = len(kinds) == 1 and kinds[0] not in ("categories", "tokens")
        if inputs and (numbers != "plain" or not is_one):
            self.embed = Features(
                "mlp",
                inputs,
                numbers=numbers,
                width=embedding,
                resolution=resolution,
                sigma=sigma,
                train_inputs=train_inputs,
            )
            fan_in = self.embed.num_values
        for width in widths:
            layers.append(nn.Linear(fan_in, width, bias=norm is None))
            layers.extend(make_norm_1d(norm, width))
            layers.append(make_activation(activation))
            if dropout > 0:
                layers.append(nn.Dropout(dropout))
            fan_in = width
        layers.append(nn.Linear(fan_in, num_outputs))
        self.layers = nn.Sequential(*layers)

    def forward(self, *args: Tensor, **columns: Tensor) -> Tensor:
        """Map the only input (B, *input_shape), or all by name, to outputs (B, num_outputs)."""
        vector = args[0] if self.embed is None else self.embed.flat(args, columns)
        outputs: Tensor = self.layers(vector)
        return outputs
