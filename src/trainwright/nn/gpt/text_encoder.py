"""An encoder of tokens, each of which sees all others: for classes of texts, and hidden tokens."""

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn

from trainwright.data.columns import Column, Target, Tokens
from trainwright.nn.gpt.attention import rotary_angles
from trainwright.nn.gpt.block import Activation
from trainwright.nn.gpt.pointwise import RMSNorm
from trainwright.nn.gpt.shape import blocks, initialise, shape_of, slowed


class TextEncoder(nn.Module):
    """A pre-norm encoder with RMSNorm and rotary positions; `depth` and the rest as of `GPT`.

    Where data have a target, it puts out as many numbers as that has: of the mean over a text's
    tokens. Where they have none, it says of each token which it may be (`token_logits`), by the
    weights of its embedding. Tokens below 0 are no part of a text.
    """

    reads_tokens: ClassVar[bool] = True

    def __init__(
        self,
        *,
        vocab_size: int,
        input_shape: tuple[int, ...],
        num_outputs: int,
        columns: Mapping[str, Column],
        depth: int = 4,
        width: int | None = None,
        heads: int | None = None,
        hidden: int | None = None,
        activation: Activation = "relu2",
        qk_norm: bool = True,
        dropout: float = 0.1,
        rotary_base: float = 10000.0,
    ) -> None:
        super().__init__()
        shape = shape_of(depth, width, heads, None, hidden, activation, dropout)
        if vocab_size < 1 or sum(isinstance(c, Tokens) for c in columns.values()) != 1:
            raise ValueError("a text_encoder needs one text, such as data=text, as its input")
        self.width, self.vocab_size = shape.width, vocab_size
        self.embedding = nn.Embedding(vocab_size, shape.width)
        self.dropout = nn.Dropout(dropout)
        self.blocks = blocks(shape, activation, qk_norm=qk_norm, causal=False, dropout=dropout)
        self.norm = RMSNorm(shape.width)
        has_target = any(isinstance(column, Target) for column in columns.values())
        self.output = nn.Linear(shape.width, num_outputs) if has_target else None
        # Without a target: what stands in the place of a hidden token, and how likely each is.
        self.hidden_token = None if has_target else nn.Parameter(torch.randn(shape.width))
        self.bias = None if has_target else nn.Parameter(torch.zeros(vocab_size))
        angles = rotary_angles(input_shape[0], shape.width // shape.heads, rotary_base)
        self.register_buffer("angles", angles, persistent=False)
        initialise(self)

    def forward(self, tokens: Tensor) -> Tensor:
        """Map texts (B, T) to (B, outputs)."""
        if self.output is None:
            raise ValueError("these data have nothing to predict: use task=masked_language")
        is_there = (tokens >= 0).unsqueeze(-1)  # (B, T, 1)
        total = (self.features(tokens) * is_there).sum(dim=1)
        outputs: Tensor = self.output(total / is_there.sum(dim=1).clamp(min=1))
        return outputs

    def features(self, tokens: Tensor, is_hidden: Tensor | None = None) -> Tensor:
        """Map texts (B, T) to (B, T, W); which of their tokens are not to be seen: (B, T) bool."""
        x = self.embedding(tokens.clamp(min=0))
        if is_hidden is not None and self.hidden_token is not None:
            x = torch.where(is_hidden.unsqueeze(-1), self.hidden_token.to(x.dtype), x)
        x = self.dropout(x)
        mask = (tokens >= 0)[:, None, None, :]  # (B, 1, 1, T): whom all may look at
        mask = mask | ~mask.any(dim=-1, keepdim=True)  # in an empty text at anybody
        angles = self.get_buffer("angles")[:, : tokens.shape[1]]
        for block in self.blocks:
            x = block(x, angles, mask=mask)
        features: Tensor = self.norm(x)
        return features

    def token_logits(self, features: Tensor) -> Tensor:
        """Map features (..., W) to (..., vocabulary)."""
        scaled = features * self.width**-0.5
        return nn.functional.linear(scaled, self.embedding.weight, self.bias)

    def hidden_weights(self) -> list[nn.Parameter]:
        """The matrices within the blocks, which Muon moves."""
        return [p for p in self.blocks.parameters() if p.dim() >= 2]

    def learning_rates(self) -> dict[nn.Parameter, float]:
        """The factor on the learning rate of what does not move alike whatever the width."""
        layers = [self.embedding] if self.output is None else [self.embedding, self.output]
        return slowed(layers, self.width)
