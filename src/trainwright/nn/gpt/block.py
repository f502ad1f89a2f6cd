"""A block of a transformer: attention, then two layers for each token by itself."""

from typing import Literal

from torch import Tensor, nn
from torch.nn import functional

from trainwright.nn.gpt.attention import Attention, LayerCache
from trainwright.nn.gpt.pointwise import RMSNorm, squared_relu

Activation = Literal["relu2", "swiglu", "gelu"]


class FeedForward(nn.Module):
    """Two layers, `hidden` wide between: ReLU² (So et al. 2021), GELU or SwiGLU (Shazeer 2020)."""

    def __init__(self, width: int, hidden: int, activation: Activation) -> None:
        super().__init__()
        self.activation = activation
        self.gate = nn.Linear(width, hidden, bias=False) if activation == "swiglu" else None
        self.up = nn.Linear(width, hidden, bias=False)
        self.down = nn.Linear(hidden, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., W) to (..., W)."""
        hidden: Tensor = self.up(x)
        if self.gate is not None:
            hidden = functional.silu(self.gate(x)) * hidden
        elif self.activation == "gelu":
            hidden = functional.gelu(hidden)
        else:
            hidden = squared_relu(hidden)
        outputs: Tensor = self.down(hidden)
        return outputs


class Block(nn.Module):
    """What attention and the feed-forward layers say is added to what came in, (B, T, W)."""

    def __init__(
        self,
        width: int,
        *,
        heads: int,
        kv_heads: int,
        hidden: int,
        activation: Activation,
        qk_norm: bool,
        causal: bool,
        dropout: float,
    ) -> None:
        super().__init__()
        self.norm = RMSNorm(width)
        self.attention = Attention(
            width,
            heads=heads,
            kv_heads=kv_heads,
            qk_norm=qk_norm,
            causal=causal,
            dropout=dropout,
        )
        self.feed_norm = RMSNorm(width)
        self.feed = FeedForward(width, hidden, activation)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self,
        x: Tensor,
        angles: Tensor,
        *,
        mask: Tensor | None = None,
        cache: LayerCache | None = None,
    ) -> Tensor:
        """Map (B, T, W) to (B, T, W); the arguments are those of `Attention`."""
        x = x + self.dropout(self.attention(self.norm(x), angles, mask=mask, cache=cache))
        outputs: Tensor = x + self.dropout(self.feed(self.feed_norm(x)))
        return outputs
