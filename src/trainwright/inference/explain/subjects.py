"""One example that is to be explained, of which parts can be taken away: pixels, tokens, cells."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from trainwright.data.columns import PADDING, Categories, Column
from trainwright.data.examples import Batch
from trainwright.inference.explain.asked import Asked
from trainwright.report.plots.grid import tiles

CHUNK = 128  # examples in memory at once
NUMBERS = 2**20  # of large ones so many numbers


def at_once(example: Tensor) -> int:
    """How many such examples (1, ...) are computed together."""
    return min(CHUNK, max(1, NUMBERS // example.numel()))


class Subject(ABC):
    """An example in `num_parts` parts."""

    num_parts: int
    times: int = 1  # how many examples stand for it without some of its parts
    at_once: int = CHUNK

    @property
    def shape(self) -> tuple[int, ...]:
        """How its parts lie."""
        return (self.num_parts,)

    def names(self) -> Sequence[str]:
        """What its parts are called, where they have names."""
        return ()

    def parts(self) -> Sequence[str]:
        """What its parts are, as text, where that says something."""
        return ()

    @abstractmethod
    def without(self, kept: Tensor) -> Batch:
        """The example with only the parts that are `kept`, (M, P) bool: M * `times` of them."""

    @torch.no_grad()
    def scores(self, asked: Asked, kept: Tensor) -> Tensor:
        """What is said of it with only some of its parts, (M,) on the CPU."""
        found = [
            asked.score(self.without(some)).view(len(some), self.times).mean(1).cpu()
            for some in torch.split(kept, max(1, self.at_once // self.times))
        ]
        return torch.cat(found)

    def score(self, asked: Asked) -> float:
        """What is said of all of it."""
        return float(self.scores(asked, torch.ones(1, self.num_parts, dtype=torch.bool)))


class Picture(Subject):
    """An image (1, C, H, W) as the network sees it; a pixel that is gone has the colour `base`."""

    def __init__(self, name: str, pixels: Tensor, base: Tensor, stored: Tensor) -> None:
        self.name, self.pixels, self.base = name, pixels, base  # base: (1, C, 1, 1)
        self._stored = stored  # (C, H, W) uint8
        self.num_parts = pixels.shape[2] * pixels.shape[3]
        self.at_once = at_once(pixels)

    @property
    def shape(self) -> tuple[int, int]:
        """(H, W)."""
        return (self.pixels.shape[2], self.pixels.shape[3])

    def without(self, kept: Tensor) -> Batch:
        """Images (M, C, H, W)."""
        shown = kept.to(self.pixels.device).view(-1, 1, *self.shape)
        return {self.name: torch.where(shown, self.pixels, self.base)}

    def seen(self) -> np.ndarray:
        """As a person sees it, (H, W, 3) uint8."""
        return np.asarray(tiles(self._stored[None], scale=1)[0])


class Words(Subject):
    """A text, (1, T) tokens with padding at its end; a token that is gone is padding."""

    def __init__(self, name: str, tokens: Tensor, column: Column) -> None:
        self.name, self.tokens, self._column = name, tokens, column
        self.num_parts = max(1, int((tokens != PADDING).sum()))

    def without(self, kept: Tensor) -> Batch:
        """Texts (M, T)."""
        tokens = self.tokens.repeat(len(kept), 1)
        tokens[:, : self.num_parts].masked_fill_(~kept.to(tokens.device), PADDING)
        return {self.name: tokens}

    def parts(self) -> list[str]:
        """The text of each token."""
        return [self._column.text(token) for token in self.tokens[0, : self.num_parts, None].cpu()]


@dataclass(frozen=True)
class Features:
    """The features of rows: their names, and which of them each stored number is part of."""

    names: Sequence[str]
    columns: Mapping[str, Column]
    feature_of: Mapping[str, Tensor]  # by column, as an example is stored

    @classmethod
    def of(cls, columns: Mapping[str, Column]) -> "Features":
        """Those of some inputs."""
        names, feature_of = list[str](), {}
        for name, column in columns.items():
            found = column.features(name)
            sizes = torch.tensor([size for _, size in found])
            numbers = torch.arange(len(names), len(names) + len(found)).repeat_interleave(sizes)
            feature_of[name] = numbers.view(column.stored_shape)
            names += [feature for feature, _ in found]
        return cls(names, columns, feature_of)

    def where(self, feature: int, chosen: Batch, others: Batch) -> Batch:
        """The stored examples `others`, with this feature of `chosen`."""
        return {
            name: torch.where(numbers == feature, chosen[name], others[name])
            for name, numbers in self.feature_of.items()
        }

    def text(self, feature: int, stored: Batch) -> str:
        """What a stored example, each column (...), has of a feature, for a person."""
        name, place = self.place(feature)
        column = self.columns[name]
        if isinstance(column, Categories):
            return column.options[place][int(stored[name][place])]
        return column.text(stored[name][self.feature_of[name] == feature])

    def place(self, feature: int) -> tuple[str, int]:
        """The column that a feature is of, and its first number there, once that is flattened."""
        name = next(n for n, numbers in self.feature_of.items() if (numbers == feature).any())
        return name, int((self.feature_of[name].flatten() == feature).nonzero()[0])

    def prepared(self, stored: Batch, device: torch.device) -> Batch:
        """As the network sees it."""
        return {
            name: column.preparation(device)(stored[name].to(device))
            for name, column in self.columns.items()
        }


class Row(Subject):
    """A table's row as it is stored; a feature that is gone has the values of `others`, in turn."""

    def __init__(self, features: Features, row: Batch, others: Batch, device: torch.device) -> None:
        self.features, self.row, self.others, self._device = features, row, others, device
        self.num_parts = len(features.names)
        self.times = len(next(iter(others.values())))

    def names(self) -> Sequence[str]:
        """The features."""
        return self.features.names

    def parts(self) -> list[str]:
        """Their values."""
        return [self.features.text(feature, self.row) for feature in range(self.num_parts)]

    def without(self, kept: Tensor) -> Batch:
        """Every mixture with every other row."""
        others = torch.arange(self.times).repeat(len(kept))
        return self.mixed(kept.repeat_interleave(self.times, 0), others)

    def mixed(self, kept: Tensor, others: Tensor) -> Batch:
        """The row with only the features that are `kept`, (M, P), the rest of `others`, (M,)."""
        stored = {
            name: torch.where(kept[:, numbers], self.row[name], self.others[name][others])
            for name, numbers in self.features.feature_of.items()
        }
        return self.features.prepared(stored, self._device)
