"""What a task shows a person while it learns, and what it makes up."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Images:
    """A grid of images (N, C, H, W) with pixels in [0, 1], so many in a row."""

    images: Tensor
    columns: int = 8


@dataclass(frozen=True)
class Text:
    """Text as it is."""

    text: str


@dataclass(frozen=True)
class Table:
    """Rows of text under a header."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Samples:
    """Images (N, C, H, W) float32 in [0, 1] that were made up, and their classes (N,) if any."""

    images: Tensor
    classes: Tensor | None = None
    columns: int = 8  # that suit a grid of them


Shown = Images | Text | Table
