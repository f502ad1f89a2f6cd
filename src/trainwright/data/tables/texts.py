"""A table's column of text as tokens, for a network that reads these."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from trainwright.data.columns import Column, Tokens
from trainwright.data.dataset import DataInfo
from trainwright.data.tables.kinds import Found
from trainwright.data.text.library import tokenizer_at, trained_bpe
from trainwright.errors import ConfigError, DataError
from trainwright.wording import printable

LONGEST = 2**16  # tokens of a text, which attention compares pair by pair


@dataclass(frozen=True)
class Texts:
    """How texts become tokens: by `bytes`, a `bpe` of the training rows, or a tokenizer's JSON.

    `length`: how many of each text are read at most. `learned`: those of a run that this goes on.
    """

    tokenizer: str
    vocab_size: int
    length: int
    learned: Tokens | None = None

    @classmethod
    def of(
        cls, tokenizer: str, vocab_size: int, length: int, known: DataInfo | None = None
    ) -> "Texts":
        """As the settings say. Raises ConfigError, DataError."""
        if not 1 <= length <= LONGEST:
            raise ConfigError(f"data.context={length}: it must be 1 to {LONGEST:,} tokens")
        columns = {} if known is None else known.columns
        learned = next((c for c in columns.values() if isinstance(c, Tokens)), None)
        if learned is not None:
            return cls("", 0, length, learned)
        if tokenizer == "chars":
            raise ConfigError(
                "data.tokenizer=chars: new rows may hold letters that no training row has\n"
                "  use bytes, bpe, or the path of a tokenizer.json"
            )
        if tokenizer not in ("bytes", "bpe"):
            tokenizer = tokenizer_at(tokenizer).plain
        return cls(tokenizer, vocab_size, length)

    def column(
        self, found: Sequence[Found], cells: Mapping[str, Sequence[str]]
    ) -> tuple[dict[str, Column], list[Found]]:
        """The one column of text among those found, as tokens, and what to say of each.

        `cells` are those of the training rows. Raises DataError where there is none, or several.
        """
        texts = [column.name for column in found if column.kind == "text"]
        if len(texts) != 1:
            names = ", ".join(map(printable, texts[:3])) or "none is plain text"
            raise DataError(
                f"the network reads one column of text, and there are {len(texts)}: {names}\n"
                "  name it, such as data.text=review data.columns=[review]"
            )
        tokens = self._tokens(cells[texts[0]])
        lengths = [len(tokens.coder.encode(text)) for text in cells[texts[0]]]
        tokens = replace(tokens, length=max(1, min(self.length, max(lengths))))
        longer = sum(length > self.length for length in lengths) / len(lengths)
        cut = f" ({longer:.0%} have more: data.context)" if longer else ""
        told = f"read as tokens, at most {tokens.length} of each{cut}"
        rest = "left out, as the network reads text"
        return {texts[0]: tokens}, [
            replace(c, told=told if c.kind == "text" else rest, warning="") for c in found
        ]

    def _tokens(self, texts: Sequence[str]) -> Tokens:
        if self.learned is not None:
            return self.learned
        if self.tokenizer == "bpe":
            return Tokens(tokenizer=trained_bpe(texts, self.vocab_size).plain)
        return Tokens(tokenizer=self.tokenizer)
