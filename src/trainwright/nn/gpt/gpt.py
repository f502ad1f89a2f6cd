"""A decoder of tokens: what may come next, at every place of a window."""

import math
from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from trainwright.nn.gpt.attention import LayerCache, rotary_angles
from trainwright.nn.gpt.block import Activation, Block
from trainwright.nn.gpt.pointwise import RMSNorm

HEAD = 64  # the width of a head, where nothing else is said
ADDED = 0.05  # of what is added up or put out, at first, beside what came in
REFERENCE_WIDTH = 256  # at which embeddings learn as fast as the optimizer's `lr` says


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
        if depth < 1:
            raise ValueError(f"depth={depth} is below 1")
        width = width or HEAD * depth
        heads = heads or max(1, width // HEAD)
        kv_heads = kv_heads or heads
        _check(width, heads, kv_heads, dropout)
        if vocab_size < 1:
            raise ValueError("a gpt needs a text, such as data=shakespeare, or data=text")
        self.hidden = hidden or _hidden(width, activation)
        self.width, self.heads, self.kv_heads = width, heads, kv_heads
        self.vocab_size, self.rotary_base = vocab_size, rotary_base
        self.activation, self.qk_norm, self.tied = activation, qk_norm, tied
        self.checkpoint_blocks = checkpoint_blocks
        self.context = max(1, input_shape[0] - 1)  # a window's last token is only predicted
        self.embedding = nn.Embedding(vocab_size, width)
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(
            Block(
                width,
                heads=heads,
                kv_heads=kv_heads,
                hidden=self.hidden,
                activation=activation,
                qk_norm=qk_norm,
                causal=True,
                dropout=dropout,
            )
            for _ in range(depth)
        )
        self.norm = RMSNorm(width)
        self.output = None if tied else nn.Linear(width, vocab_size, bias=False)
        angles = rotary_angles(self.context, width // heads, rotary_base)
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
        """The factor on the learning rate of what is not moved alike whatever the width.

        Adam moves every number of a vector as far, so that logits move the more the wider a network
        is (Yang et al. 2022, arXiv:2203.03466).
        """
        factor = math.sqrt(REFERENCE_WIDTH / self.width)
        layers = [self.embedding] if self.output is None else [self.embedding, self.output]
        return {parameter: factor for layer in layers for parameter in layer.parameters()}

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


def initialise(network: nn.Module) -> None:
    """Draw weights such that a block adds little yet, and every next token is about as likely."""
    for name, module in network.named_modules():
        if isinstance(module, nn.Linear):
            is_added = name.endswith(("attention.out", "feed.down")) or name == "output"
            scale = ADDED if is_added else 1.0
            nn.init.normal_(module.weight, std=scale * module.in_features**-0.5)
        elif isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=0.02 if getattr(network, "tied", False) else 1.0)


def _hidden(width: int, activation: Any) -> int:
    """4 x width; of SwiGLU, which has three matrices, two thirds of that, a multiple of 8."""
    return 4 * width if activation != "swiglu" else 8 * math.ceil(width / 3)


def _check(width: int, heads: int, kv_heads: int, dropout: float) -> None:
    for name, value in (("width", width), ("heads", heads), ("kv_heads", kv_heads)):
        if value < 1:
            raise ValueError(f"{name}={value} is below 1")
    if width % heads or width // heads % 2:
        raise ValueError(
            f"heads={heads}: each needs an even share of width={width}; try {max(1, width // HEAD)}"
        )
    if heads % kv_heads:
        raise ValueError(f"kv_heads={kv_heads} does not divide heads={heads}")
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout={dropout} is not in 0 <= value < 1")
