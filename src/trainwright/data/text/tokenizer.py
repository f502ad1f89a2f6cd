"""Text becomes numbers, and numbers text."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from trainwright.data.columns.column import BadInputError, place_of

NUM_BYTES = 256


class Tokenizer(ABC):
    """Tokens numbered from 0, each with a text of its own."""

    size: int  # how many tokens there are
    end: int | None = None  # the one that stands between documents, where it has one

    @abstractmethod
    def encode(self, text: str) -> NDArray[np.int64]:
        """The tokens (T,) of a text. Raises BadInputError for what it has none for."""

    @abstractmethod
    def decode(self, tokens: Sequence[int]) -> str:
        """The text of some tokens; what is no whole letter is shown as `�`."""

    @property
    @abstractmethod
    def num_bytes(self) -> NDArray[np.int64]:
        """How many bytes of UTF-8 each token stands for, (size,)."""


class Letters(Tokenizer):
    """A token a letter."""

    def __init__(self, letters: Sequence[str]) -> None:
        self._letters, self.size = tuple(letters), len(letters)

    def encode(self, text: str) -> NDArray[np.int64]:
        """Letter by letter."""
        points = code_points(text)
        if not len(points):
            return points.astype(np.int64)
        if not self.size:
            raise BadInputError("there are no letters in its vocabulary")
        places = np.minimum(np.searchsorted(self._sorted, points), len(self._sorted) - 1)
        unknown = self._sorted[places] != points
        if unknown.any():
            place_of(text[int(unknown.argmax())], self._letters, "a letter")
        tokens: NDArray[np.int64] = self._order[places]
        return tokens

    def decode(self, tokens: Sequence[int]) -> str:
        """One after the other."""
        return "".join(self._letters[token] for token in tokens)

    @property
    def num_bytes(self) -> NDArray[np.int64]:
        """One for ASCII, up to four for others."""
        return np.array([len(letter.encode()) for letter in self._letters], dtype=np.int64)

    @cached_property
    def _order(self) -> NDArray[np.int64]:
        """The letters' numbers in the order of their code points."""
        single = [number for number, text in enumerate(self._letters) if len(text) == 1]
        return np.array(sorted(single, key=self._letters.__getitem__), dtype=np.int64)

    @cached_property
    def _sorted(self) -> NDArray[np.uint32]:
        return code_points("".join(self._letters[number] for number in self._order))


class Bytes(Tokenizer):
    """A token a byte of UTF-8: any text has tokens."""

    size = NUM_BYTES

    def encode(self, text: str) -> NDArray[np.int64]:
        """Byte by byte."""
        return np.frombuffer(text.encode(), dtype=np.uint8).astype(np.int64)

    def decode(self, tokens: Sequence[int]) -> str:
        """One after the other."""
        return bytes(tokens).decode(errors="replace")

    @property
    def num_bytes(self) -> NDArray[np.int64]:
        """One each."""
        return np.ones(NUM_BYTES, dtype=np.int64)


def code_points(text: str) -> NDArray[np.uint32]:
    """The numbers of its letters in Unicode, (T,)."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)


def letters_of(points: NDArray[np.uint32]) -> str:
    """The other way."""
    return points.tobytes().decode("utf-32-le", "surrogatepass")
