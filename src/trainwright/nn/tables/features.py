"""The columns of a table as one vector or as tokens: how every network for tables begins."""

import math
from collections.abc import Callable, Mapping
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from trainwright.nn.layers import check_positive
from trainwright.nn.tables.embeddings import (
    CategoryEmbedding,
    LinearEmbedding,
    Periodic,
    PiecewiseLinear,
)

NumberFeatures = Literal["plain", "piecewise", "periodic"]
InputFacts = Mapping[str, Any]  # what `Column.described` says
NUM_EXAMPLES = 50_000  # by which the bins of numbers are found


class Features(nn.Module):
    """Inputs by name, made into vectors.

    `numbers`: as they are (plain), or `width` numbers each, by how far they have come through
    `resolution` bins (piecewise), or by as many waves whose frequencies begin with deviation
    `sigma` (periodic). Categories are always embedded. With `as_tokens` plain numbers are too.
    `train_inputs` gives training examples of a column; None where a checkpoint brings what was
    learned from them. Images are taken as they are, unless `as_tokens`. Raises ValueError for
    a column that is no part of a table; `network` says whose.
    """

    def __init__(
        self,
        network: str,
        inputs: Mapping[str, InputFacts],
        *,
        numbers: NumberFeatures,
        width: int,
        resolution: int,
        sigma: float,
        train_inputs: Callable[..., Tensor] | None,
        as_tokens: bool = False,
    ) -> None:
        super().__init__()
        check_numbers(numbers)
        check_positive(embedding=width, resolution=resolution)
        if not sigma > 0:
            raise ValueError(f"sigma={sigma} is not above 0")
        if numbers != "plain" and not any(c["kind"] == "numbers" for c in inputs.values()):
            raise ValueError(f"numbers={numbers}: there are none among the inputs; leave it out")
        self._names = tuple(inputs)
        self.columns = nn.ModuleList()
        self._dims: list[int] = []  # that are one example's, of each part
        self.num_tokens = self.num_values = 0
        for name, column in inputs.items():
            kind, (num, *_) = column["kind"], column["shape"]
            if kind == "categories":
                embedding: nn.Module = CategoryEmbedding(column["sizes"], width)
            elif column["kind"] == "numbers":
                embedding = _embedding(
                    numbers, column["shape"][0], width, resolution, sigma, as_tokens
                )
            elif as_tokens or column["kind"] == "tokens":
                raise ValueError(
                    f"{network} takes tables, and the input {name} is {column['kind']}"
                )
            else:
                embedding = nn.Identity()
            if isinstance(embedding, PiecewiseLinear) and train_inputs is not None:
                embedding.fit(train_inputs(NUM_EXAMPLES, name))
            self.columns.append(embedding)
            is_plain = isinstance(embedding, nn.Identity)
            self._dims.append(len(column["shape"]) if is_plain else 2)
            num = math.prod(column["shape"])
            self.num_tokens += num
            self.num_values += num if is_plain else num * width

    def parts(self, args: tuple[Tensor, ...], columns: Mapping[str, Tensor]) -> list[Tensor]:
        """What stands for each column: of the only one, given by place, or of all by name.

        Each is (B, F, width), or what came in.
        """
        given = args or tuple(columns[name] for name in self._names)
        return [embed(column) for embed, column in zip(self.columns, given, strict=True)]

    def flat(self, args: tuple[Tensor, ...], columns: Mapping[str, Tensor]) -> Tensor:
        """All in one vector, (B, num_values)."""
        # Counted from the last dimension: a stack of runs calls this with (K, B, ...).
        parts = zip(self.parts(args, columns), self._dims, strict=True)
        return torch.cat([part.flatten(-dims) for part, dims in parts], dim=-1)

    def tokens(self, args: tuple[Tensor, ...], columns: Mapping[str, Tensor]) -> Tensor:
        """One after the other, (B, num_tokens, width); made with `as_tokens`."""
        return torch.cat(self.parts(args, columns), dim=1)


def check_numbers(numbers: str) -> None:
    """Raise ValueError that names the valid choices unless this is one."""
    if numbers not in get_args(NumberFeatures):
        raise ValueError(f"numbers={numbers!r} is not one of {', '.join(get_args(NumberFeatures))}")


def _embedding(
    numbers: NumberFeatures,
    num_features: int,
    width: int,
    resolution: int,
    sigma: float,
    as_tokens: bool,
) -> nn.Module:
    if numbers == "piecewise":
        return PiecewiseLinear(num_features, width, bins=resolution)
    if numbers == "periodic":
        return Periodic(num_features, width, frequencies=resolution, sigma=sigma)
    return LinearEmbedding(num_features, width) if as_tokens else nn.Identity()
