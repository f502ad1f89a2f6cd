"""The sizes of a transformer, which follow from its depth, and how it is made of them."""

import math
from collections.abc import Iterable
from typing import NamedTuple

from torch import nn

from trainwright.nn.gpt.block import Activation, Block

HEAD = 64  # the width of a head, where nothing else is said
ADDED = 0.05  # of what is added up or put out, at first, beside what came in
REFERENCE_WIDTH = 256  # at which embeddings learn as fast as the optimizer's `lr` says


class Shape(NamedTuple):
    """How large it is."""

    depth: int
    width: int
    heads: int
    kv_heads: int
    hidden: int


def shape_of(
    depth: int,
    width: int | None,
    heads: int | None,
    kv_heads: int | None,
    hidden: int | None,
    activation: Activation,
    dropout: float,
) -> Shape:
    """What follows from the depth where nothing else is said. Raises ValueError for what cannot be.

    64 x depth wide, heads of 64, four times as wide between the feed-forward layers; of SwiGLU,
    which has three matrices, two thirds of that, as a multiple of 8.
    """
    if depth < 1:
        raise ValueError(f"depth={depth} is below 1")
    width = HEAD * depth if width is None else width
    heads = max(1, width // HEAD) if heads is None else heads
    kv_heads = heads if kv_heads is None else kv_heads
    if hidden is None:
        hidden = 4 * width if activation != "swiglu" else 8 * math.ceil(width / 3)
    named = {"width": width, "heads": heads, "kv_heads": kv_heads, "hidden": hidden}
    for name, value in named.items():
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
    return Shape(depth, width, heads, kv_heads, hidden)


def blocks(
    shape: Shape, activation: Activation, *, qk_norm: bool, causal: bool, dropout: float
) -> nn.ModuleList:
    """As many as it is deep."""
    return nn.ModuleList(
        Block(
            shape.width,
            heads=shape.heads,
            kv_heads=shape.kv_heads,
            hidden=shape.hidden,
            activation=activation,
            qk_norm=qk_norm,
            causal=causal,
            dropout=dropout,
        )
        for _ in range(shape.depth)
    )


def slowed(layers: Iterable[nn.Module], width: int) -> dict[nn.Parameter, float]:
    """The factor on the learning rate of embeddings and outputs, which Adam moves.

    It moves every number of a vector as far, so that logits move the more the wider a network is
    (Yang et al. 2022, arXiv:2203.03466).
    """
    factor = math.sqrt(REFERENCE_WIDTH / width)
    return {parameter: factor for layer in layers for parameter in layer.parameters()}


def initialise(network: nn.Module) -> None:
    """Draw weights such that a block adds little yet, and every next token is about as likely."""
    for name, module in network.named_modules():
        if isinstance(module, nn.Linear):
            is_added = name.endswith(("attention.out", "feed.down")) or name == "output"
            scale = ADDED if is_added else 1.0
            nn.init.normal_(module.weight, std=scale * module.in_features**-0.5)
        elif isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=0.02 if getattr(network, "tied", False) else 1.0)
