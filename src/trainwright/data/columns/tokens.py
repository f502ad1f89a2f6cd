"""A column of text, as numbers of its tokens."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from trainwright.data.columns.column import Column, Prepare
from trainwright.data.text.tokenizer import Bytes, Letters, Tokenizer

PADDING = -1  # where a text is shorter than its window


@dataclass(frozen=True)
class Tokens(Column):
    """A window of a text, stored as (N, T) whole numbers, where it is shorter `PADDING` at its end.

    `tokenizer`: `chars`, whose tokens are the `vocabulary`; `bytes`; or the JSON of one of the
    library tokenizers. `special`: tokens without a text, numbered after all that have one; a
    document begins with the first of them. `is_apart`: of several documents in a window none is
    to be seen by another.
    """

    kind: ClassVar[str] = "tokens"

    length: int = 0  # T
    vocabulary: tuple[str, ...] = ()
    tokenizer: str = "chars"
    special: tuple[str, ...] = ()
    is_apart: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        """(T,)."""
        return (self.length,)

    @property
    def num_outputs(self) -> int:
        """A number a token, at each place of the window."""
        return self.num_options

    @property
    def num_options(self) -> int:
        """How many tokens there are."""
        return self.coder.size + len(self.special)

    @cached_property
    def coder(self) -> Tokenizer:
        """What makes tokens of text, and text of tokens."""
        if self.tokenizer == "chars":
            return Letters(self.vocabulary)
        if self.tokenizer == "bytes":
            return Bytes()
        from trainwright.data.text.library import LibraryTokenizer

        return LibraryTokenizer(self.tokenizer)

    @property
    def end(self) -> int | None:
        """The token between two documents, where there is one."""
        return self.coder.size if self.special else self.coder.end

    @cached_property
    def num_bytes(self) -> Tensor:
        """How many bytes of UTF-8 each token stands for, (num_options,) int64."""
        return torch.from_numpy(np.pad(self.coder.num_bytes, (0, len(self.special))))

    def fault(self, stored: Tensor) -> str:
        """Tokens that the vocabulary lacks, too."""
        if (fault := super().fault(stored)) or int(stored.max()) < self.num_options:
            return fault
        return (
            f"has the token {int(stored.max())}, and its vocabulary {self.num_options} tokens, "
            "numbered from 0"
        )

    def preparation(self, device: torch.device) -> Prepare:
        """To int64, which embeddings take; text may be stored in one byte a token."""
        return lambda stored: stored.long()

    def encode(self, text: str) -> Tensor:
        """The tokens (T,) int64 of a text of any length. Raises BadInputError."""
        return torch.from_numpy(self.coder.encode(text))

    def read(self, cells: Sequence[str], folder: Path) -> np.ndarray:
        """(T,) int64: the beginning of a longer text, a shorter one with `PADDING` at its end."""
        tokens = self.coder.encode(cells[0])[: self.length]
        return np.pad(tokens, (0, self.length - len(tokens)), constant_values=PADDING)

    def schema(self, name: str) -> dict[str, dict[str, Any]]:
        """A text."""
        return {name: {"type": "string", "contentMediaType": "text/plain"}}

    def text(self, value: Tensor) -> str:
        """The text; a special token is shown by its name."""
        told, run = [], list[int]()
        for token in value.tolist():
            if 0 <= token < self.coder.size:
                run.append(token)
            elif token >= 0:
                told += [self.coder.decode(run), self.special[token - self.coder.size]]
                run = []
        return "".join([*told, self.coder.decode(run)])
