"""Attention over a window of tokens, with rotary positions."""

from contextlib import nullcontext
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from trainwright.nn.gpt.pointwise import turned


class LayerCache(Protocol):
    """The keys and values of the tokens that one layer has seen before."""

    def extended(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """All keys and values (B, H, S, D), those of before and these (B, H, T, D), S >= T."""


def rotary_angles(length: int, size: int, base: float) -> Tensor:
    """The cosines and sines (2, length, size / 2) by which heads of that size are turned.

    Su et al. 2021, arXiv:2104.09864; the first half of a head is paired with the second.
    """
    rates = base ** (-torch.arange(0, size, 2, device="cpu").float() / size)
    angles = torch.outer(torch.arange(length, device="cpu").float(), rates)
    return torch.stack([angles.cos(), angles.sin()])


class Attention(nn.Module):
    """Every token looks at others: those up to itself where `causal`, else all.

    `kv_heads`: keys and values are shared by groups of heads (Ainslie et al. 2023). `qk_norm`:
    queries and keys are normalised, so that no score grows without bound (Henry et al. 2020).
    """

    def __init__(
        self, width: int, *, heads: int, kv_heads: int, qk_norm: bool, causal: bool, dropout: float
    ) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.size = heads, kv_heads, width // heads
        self.qk_norm, self.causal, self.dropout = qk_norm, causal, dropout
        self.queries = nn.Linear(width, heads * self.size, bias=False)
        self.keys = nn.Linear(width, kv_heads * self.size, bias=False)
        self.values = nn.Linear(width, kv_heads * self.size, bias=False)
        self.out = nn.Linear(heads * self.size, width, bias=False)

    def forward(
        self,
        x: Tensor,
        angles: Tensor,
        *,
        mask: Tensor | None = None,
        cache: LayerCache | None = None,
    ) -> Tensor:
        """Map (B, T, W) to (B, T, W).

        `angles`: of the places of the T tokens. `mask` (B, 1, T, S): True where a token of the T
        may look at one of the S; with it, `causal` has to be in it. `cache`: what came before.
        """
        batch, length, width = x.shape
        both = self.heads + self.kv_heads
        # One product, and one turn of queries and keys: (B, T, heads of all three, D)
        weight = torch.cat([self.queries.weight, self.keys.weight, self.values.weight])
        made = functional.linear(x, weight).view(batch, length, both + self.kv_heads, self.size)
        is_cast = made.device.type == "cpu" and torch.is_autocast_enabled("cpu")
        if is_cast:  # torch's kernel of attention takes four times as long in bf16
            made = made.float()
        qk = turned(made[:, :, :both], angles, normalise=self.qk_norm).transpose(1, 2)
        q, k = qk[:, : self.heads], qk[:, self.heads :]  # (B, H, T, D)
        v = made[:, :, both:].transpose(1, 2)
        if cache is not None:
            k, v = cache.extended(k, v)
        seen = k.shape[2]
        if mask is None and self.causal and 1 < length < seen:
            # The last of the T sees all, the one before it all but the last, and so on.
            mask = torch.ones(length, seen, dtype=torch.bool, device=x.device)
            mask = mask.tril(seen - length)
        with torch.autocast("cpu", enabled=False) if is_cast else nullcontext():
            y = functional.scaled_dot_product_attention(
                q,
                k,
                v,
                attn_mask=mask,
                is_causal=self.causal and mask is None and length == seen,
                dropout_p=self.dropout if self.training else 0.0,
                enable_gqa=self.kv_heads < self.heads,
            )
        outputs: Tensor = self.out(y.transpose(1, 2).reshape(batch, length, width))
        return outputs
