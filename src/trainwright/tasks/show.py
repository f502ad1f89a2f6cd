"""What a task shows a person while it learns, and what it makes up."""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor


@dataclass(frozen=True)
class Images:
    """A grid of images (N, C, H, W) with pixels in [0, 1], so many in a row."""

    images: Tensor
    columns: int = 8


@dataclass(frozen=True)
class Text:
    """Text as it is."""

    suffix: ClassVar[str] = "txt"  # of its file

    text: str

    @property
    def written(self) -> str:
        """What stands in its file."""
        return self.text.rstrip() + "\n"


@dataclass(frozen=True)
class Table:
    """Rows of text under a header."""

    suffix: ClassVar[str] = "csv"

    header: Sequence[str]
    rows: Sequence[Sequence[str]]

    @property
    def written(self) -> str:
        """What stands in its file."""
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([self.header, *self.rows])
        return text.getvalue()


@dataclass(frozen=True)
class Samples:
    """Images (N, C, H, W) float32 in [0, 1] that were made up, and their classes (N,) if any."""

    images: Tensor
    classes: Tensor | None = None
    columns: int = 8  # that suit a grid of them
    note: str = ""  # what they have cost, for a person


@dataclass(frozen=True)
class Piece:
    """Some more of the text of that number. With its last piece come facts, as plain JSON types."""

    number: int
    text: str
    facts: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Writing:
    """Texts that are made while they are read, in pieces; `num`: how many texts."""

    pieces: Iterator[Piece]
    num: int


Shown = Images | Text | Table
MadeUp = Samples | Text | Table | Writing
