"""What a task shows a person while it learns, and what it makes up."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

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


Shown = Images | Text | Table
MadeUp = Samples | Text | Table
