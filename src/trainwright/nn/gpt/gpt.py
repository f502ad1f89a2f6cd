"""A decoder of tokens: what may come next, at every place of a window."""

from collections.abc import Sequence
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from trainwright.nn.gpt.attention import LayerCache, rotary_angles
from trainwright.nn.gpt.block import Activation
from trainwright.nn.gpt.cache import Memory
from trainwright.nn.gpt.pointwise import RMSNorm
from trainwright.nn.gpt.pretrained import pretrained
from trainwright.nn.gpt.shape import blocks, initialise, shape_of, slowed


class Cache(Protocol):
    """What a decoder remembers of the tokens before, so that it need not see them again."""

    @property
    def length(self) -> int:
        """How many tokens that is."""

    @property
    def layers(self) -> Sequence[LayerCache]:
        """Keys and values, block by block."""


class GPT(nn.Module):
    """A pre-norm decoder with RMSNorm and rotary positions.

    `depth` is the one dial: it is 64 x `depth` wide and has heads of 64 unless `width`, `heads` or
    `hidden` say otherwise, and what learns by AdamW learns the slower the wider it is
    (`learning_rates`). `kv_heads`: fewer heads of keys and values than of queries. `tied`: the
    output's weights are those of the embedding. `checkpoint_blocks`: compute each block once more
    on the way back, which keeps its inner values out of memory.
    """

    reads_tokens: ClassVar[bool] = True

    def __init__(
        self,
        *,
        vocab_size: int,
        input_shape: tuple[int, ...],
        depth: int = 4,
        width: int | None = None,
        heads: int | None = None,
        kv_heads: int | None = None,
        hidden: int | None = None,
        activation: Activation = "relu2",
        qk_norm: bool = True,
        tied: bool = False,
        dropout: float = 0.0,
        rotary_base: float = 10000.0,
        checkpoint_blocks: bool = False,
    ) -> None:
        super().__init__()
        shape = shape_of(depth, width, heads, kv_heads, hidden, activation, dropout)
        if vocab_size < 1:
            raise ValueError("a gpt needs a text, such as data=shakespeare, or data=text")
        self.width, self.heads, self.kv_heads = shape.width, shape.heads, shape.kv_heads
        self.hidden = shape.hidden
        self.vocab_size, self.rotary_base = vocab_size, rotary_base
        self.activation, self.qk_norm, self.tied = activation, qk_norm, tied
        self.checkpoint_blocks = checkpoint_blocks
        self.context = max(1, input_shape[0] - 1)  # a window's last token is only predicted
        self.embedding = nn.Embedding(vocab_size, self.width)
        self.dropout = nn.Dropout(dropout)
        self.blocks = blocks(shape, activation, qk_norm=qk_norm, causal=True, dropout=dropout)
        self.norm = RMSNorm(self.width)
        self.output = None if tied else nn.Linear(self.width, vocab_size, bias=False)
        angles = rotary_angles(self.context, self.width // self.heads, rotary_base)
        self.register_buffer("angles", angles, persistent=False)
        initialise(self)

    def forward(
        self, tokens: Tensor, *, documents: Tensor | None = None, cache: Cache | None = None
    ) -> Tensor:
        """Map tokens (B, T) to the logits (B, T, vocabulary) of what comes after each.

        `documents` (B, T): the number of the document that each is of; none looks into another.
        `cache`: these tokens come after those that it holds, and it takes them in.
        """
        return self.logits(self.features(tokens, documents=documents, cache=cache))

    def features(
        self, tokens: Tensor, *, documents: Tensor | None = None, cache: Cache | None = None
    ) -> Tensor:
        """What `logits` are made of, (B, T, W)."""
        length = tokens.shape[1]
        begin = 0 if cache is None else cache.length
        angles = self._angles(begin + length)[:, begin:]
        mask = None if documents is None else within_documents(documents, causal=True)
        x = self.dropout(self.embedding(tokens))  # (B, T, W)
        for number, block in enumerate(self.blocks):
            layer = None if cache is None else cache.layers[number]
            if self.checkpoint_blocks and self.training and torch.is_grad_enabled():
                x = checkpoint(block, x, angles, mask=mask, use_reentrant=False)
            else:
                x = block(x, angles, mask=mask, cache=layer)
        features: Tensor = self.norm(x)
        return features

    def logits(self, features: Tensor) -> Tensor:
        """Map features (..., W) to (..., vocabulary)."""
        if self.output is None:
            return nn.functional.linear(features, self.embedding.weight)
        logits: Tensor = self.output(features)
        return logits

    def memory(self) -> Memory:
        """A `cache` that holds nothing yet."""
        return Memory(len(self.blocks))

    def as_pretrained(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """Its config and weights as transformers has them. Raises ValueError."""
        sizes = {
            "vocab_size": self.vocab_size,
            "hidden_size": self.width,
            "intermediate_size": self.hidden,
            "num_hidden_layers": len(self.blocks),
            "num_attention_heads": self.heads,
            "num_key_value_heads": self.kv_heads,
            "head_dim": self.width // self.heads,
            "max_position_embeddings": self.context,
        }
        return pretrained(
            self.state_dict(),
            sizes,
            activation=self.activation,
            qk_norm=self.qk_norm,
            rotary_base=self.rotary_base,
        )

    def hidden_weights(self) -> list[nn.Parameter]:
        """The matrices within the blocks, which Muon moves."""
        return [p for p in self.blocks.parameters() if p.dim() >= 2]

    def flops_per_token(self) -> float:
        """Of a training step: 6 a weight, and what attention adds (Chowdhery et al. 2022, B)."""
        blocks = sum(p.numel() for p in self.blocks.parameters())
        return 6.0 * (blocks + self.vocab_size * self.width + 2 * self._attended)

    @property
    def _attended(self) -> int:
        return len(self.blocks) * self.context * self.width

    def learning_rates(self) -> dict[nn.Parameter, float]:
        """The factor on the learning rate of what does not move alike whatever the width."""
        layers = [self.embedding] if self.output is None else [self.embedding, self.output]
        return slowed(layers, self.width)

    def _angles(self, length: int) -> Tensor:
        """Of so many places (2, length, D / 2): more than `context` where a text goes on."""
        angles = self.get_buffer("angles")
        if length <= angles.shape[1]:
            return angles[:, :length]
        made = rotary_angles(length, self.width // self.heads, self.rotary_base)
        return made.to(angles)


def within_documents(documents: Tensor, *, causal: bool) -> Tensor:
    """Which token may look at which, (B, 1, T, T): those of its document, (B, T)."""
    mask = documents[:, None, :, None] == documents[:, None, None, :]
    return mask.tril() if causal else mask
