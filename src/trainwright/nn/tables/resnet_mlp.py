"""A residual network of dense layers for tables (Gorishniy et al. 2021, arXiv:2106.11959)."""

from collections.abc import Callable, Mapping

from torch import Tensor, nn

from trainwright.nn.layers import check_dropout, check_positive
from trainwright.nn.tables.features import Features, InputFacts, NumberFeatures


class ResNetMLP(nn.Module):
    """A linear layer; blocks that each add to it; normalisation, ReLU and a linear layer.

    A block is batch normalisation, a linear layer to `hidden` times the width, ReLU, dropout, and a
    linear layer back (their section 3.2).
    """

    def __init__(
        self,
        *,
        inputs: Mapping[str, InputFacts],
        num_outputs: int,
        train_inputs: Callable[..., Tensor] | None = None,
        blocks: int = 2,
        width: int = 192,
        hidden: float = 2.0,
        dropout: float = 0.15,
        numbers: NumberFeatures = "plain",
        embedding: int = 16,
        resolution: int = 32,
        sigma: float = 0.1,
    ) -> None:
        super().__init__()
        check_positive(blocks=blocks, width=width, hidden=round(hidden * width))
        check_dropout(dropout)
        self.embed = Features(
            "resnet_mlp",
            inputs,
            numbers=numbers,
            width=embedding,
            resolution=resolution,
            sigma=sigma,
            train_inputs=train_inputs,
        )
        self.first = nn.Linear(self.embed.num_values, width)
        self.blocks = nn.ModuleList(
            _block(width, round(hidden * width), dropout) for _ in range(blocks)
        )
        self.head = nn.Sequential(nn.BatchNorm1d(width), nn.ReLU(), nn.Linear(width, num_outputs))

    def forward(self, *args: Tensor, **columns: Tensor) -> Tensor:
        """Map the only input, or all by name, each (B, F), to logits or values (B, num_outputs)."""
        vector = self.first(self.embed.flat(args, columns))  # (B, width)
        for block in self.blocks:
            vector = vector + block(vector)
        outputs: Tensor = self.head(vector)
        return outputs


def _block(width: int, hidden: int, dropout: float) -> nn.Sequential:
    layers = [nn.BatchNorm1d(width), nn.Linear(width, hidden), nn.ReLU()]
    drop = [nn.Dropout(dropout)] if dropout > 0 else []
    return nn.Sequential(*layers, *drop, nn.Linear(hidden, width))
