"""The FT-Transformer: the features of a table as tokens (Gorishniy et al. 2021, arXiv:2106.11959).

It costs much more than an MLP, and as much more again with twice as many features.
"""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from trainwright.nn.layers import check_dropout, check_positive
from trainwright.nn.tables.features import Features, InputFacts, NumberFeatures


class FTTransformer(nn.Module):
    """A token a feature and one for the answer look at each other in each of `blocks` blocks.

    Normalisation comes first in a branch, but not in the very first one; the answer's token goes
    through normalisation, ReLU and a linear layer (their section 3.3). `hidden`: the width inside
    the feed-forward branch, a share of `width`, gated by ReLU (ReGLU, Shazeer 2020).
    """

    def __init__(
        self,
        *,
        inputs: Mapping[str, InputFacts],
        num_outputs: int,
        train_inputs: Callable[..., Tensor] | None = None,
        blocks: int = 3,
        width: int = 96,
        heads: int = 8,
        hidden: float = 4 / 3,
        attention_dropout: float = 0.2,
        dropout: float = 0.1,
        numbers: NumberFeatures = "plain",
        resolution: int = 32,
        sigma: float = 0.1,
    ) -> None:
        super().__init__()
        check_positive(blocks=blocks, width=width, heads=heads, hidden=round(hidden * width))
        check_dropout(dropout)
        check_dropout(attention_dropout)
        if width % heads:
            raise ValueError(f"heads={heads} does not divide width={width}")
        self.embed = Features(
            "ft_transformer",
            inputs,
            numbers=numbers,
            width=width,
            resolution=resolution,
            sigma=sigma,
            train_inputs=train_inputs,
            as_tokens=True,
        )
        self.answer = nn.Parameter(torch.empty(width).uniform_(-(width**-0.5), width**-0.5))
        self.blocks = nn.ModuleList(
            Block(
                width,
                heads,
                round(hidden * width),
                attention_dropout=attention_dropout,
                dropout=dropout,
                is_first=place == 0,
            )
            for place in range(blocks)
        )
        self.head = nn.Sequential(nn.LayerNorm(width), nn.ReLU(), nn.Linear(width, num_outputs))

    def forward(self, *args: Tensor, **columns: Tensor) -> Tensor:
        """Map the only input, or all by name, each (B, F), to logits or values (B, num_outputs)."""
        features = self.embed.tokens(args, columns)  # (B, F, width)
        answer = self.answer.expand(features.shape[0], 1, -1)
        tokens = torch.cat([answer, features], dim=1)  # (B, 1 + F, width)
        for block in self.blocks:
            tokens = block(tokens)
        outputs: Tensor = self.head(tokens[:, 0])
        return outputs


class Block(nn.Module):
    """Attention, then a gated feed-forward layer, each added to what comes in."""

    def __init__(
        self,
        width: int,
        heads: int,
        hidden: int,
        *,
        attention_dropout: float,
        dropout: float,
        is_first: bool,
    ) -> None:
        super().__init__()
        self.heads = heads
        self.attention_dropout = attention_dropout
        self.norm1 = nn.Identity() if is_first else nn.LayerNorm(width)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.mix = nn.Linear(width, width)
        self.norm2 = nn.LayerNorm(width)
        self.widen = nn.Linear(width, 2 * hidden)
        self.dropout = nn.Dropout(dropout)
        self.narrow = nn.Linear(hidden, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """Map (B, T, width) to the same shape."""
        tokens = tokens + self._attention(self.norm1(tokens))
        gate, values = self.widen(self.norm2(tokens)).chunk(2, dim=-1)  # (B, T, hidden) each
        fed: Tensor = self.narrow(self.dropout(gate.relu() * values))
        return tokens + fed

    def _attention(self, tokens: Tensor) -> Tensor:
        batch, length, width = tokens.shape
        parts = self.query_key_value(tokens).view(batch, length, 3, self.heads, -1)
        query, key, value = parts.permute(2, 0, 3, 1, 4)  # each (B, heads, T, width / heads)
        share = self.attention_dropout if self.training else 0.0
        seen = functional.scaled_dot_product_attention(query, key, value, dropout_p=share)
        mixed: Tensor = self.mix(seen.transpose(1, 2).reshape(batch, length, width))
        return mixed
