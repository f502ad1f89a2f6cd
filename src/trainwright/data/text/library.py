"""Tokenizers of the library `tokenizers`: trained here, or somebody else's tokenizer.json."""

import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from trainwright.data.columns.column import BadInputError
from trainwright.data.text.tokenizer import Tokenizer
from trainwright.errors import ConfigError, DataError, install
from trainwright.wording import printable

if TYPE_CHECKING:
    from tokenizers import Tokenizer as Library

END = "<|endoftext|>"  # of a tokenizer trained here
ENDS = (END, "</s>", "<|end_of_text|>", "<eos>", "<|im_end|>", "[SEP]")  # of others
LARGEST_FILE = 2**25  # bytes of a tokenizer.json
SPACE = "▁"  # how SentencePiece writes it


class LibraryTokenizer(Tokenizer):
    """A tokenizer as its JSON has it, which is plain data."""

    def __init__(self, plain: str) -> None:
        """Raises ValueError for JSON that is none."""
        library = the_library()
        try:
            self._made: Library = library.Tokenizer.from_str(plain)
        except Exception as error:
            raise ValueError(f"it is no tokenizer: {str(error)[:100]}") from None
        self._made.no_padding()
        self._made.no_truncation()
        self.plain = plain
        self.size = self._made.get_vocab_size(with_added_tokens=True)
        numbers = (self._made.token_to_id(name) for name in ENDS)
        self.end = next((number for number in numbers if number is not None), None)
        self._decoder = json.dumps(json.loads(plain).get("decoder"))

    def encode(self, text: str) -> NDArray[np.int64]:
        """By the library."""
        return self.encode_all([text])[0]

    def encode_all(self, texts: Sequence[str]) -> list[NDArray[np.int64]]:
        """Many at once, on all cores."""
        try:
            found = self._made.encode_batch_fast(list(texts), add_special_tokens=False)
        except Exception as error:  # no token for what is unknown
            raise BadInputError(f"the tokenizer fails: {str(error)[:100]}") from None
        return [np.array(one.ids, dtype=np.int64) for one in found]

    def decode(self, tokens: Sequence[int]) -> str:
        """By the library."""
        return self._made.decode(list(tokens), skip_special_tokens=False)

    @property
    def num_bytes(self) -> NDArray[np.int64]:
        """By how the library's decoder spells tokens; of special tokens none."""
        added = self._made.get_added_tokens_decoder()
        special = {number for number, token in added.items() if token.special}
        return np.array(
            [
                0 if number in special else self._bytes_of(self._made.id_to_token(number) or "")
                for number in range(self.size)
            ],
            dtype=np.int64,
        )

    def _bytes_of(self, token: str) -> int:
        if "ByteLevel" in self._decoder:
            return len(token)  # a letter a byte
        if "ByteFallback" in self._decoder and token.startswith("<0x") and token.endswith(">"):
            return 1
        if "WordPiece" in self._decoder:
            # A word's first piece comes after a space.
            return len(token.removeprefix("##").encode()) + (not token.startswith("##"))
        return len(token.replace(SPACE, " ").encode())


def trained_bpe(texts: Iterable[str], vocab_size: int) -> LibraryTokenizer:
    """A byte-level BPE (Sennrich et al. 2016; Radford et al. 2019) of these texts.

    It has the 256 bytes, so any text has tokens, and END. Raises ConfigError, DataError.
    """
    if vocab_size < 257:
        raise ConfigError(f"data.vocab_size={vocab_size}: bpe needs 257, the bytes and an end")
    library = the_library()
    made = library.Tokenizer(library.models.BPE())
    made.pre_tokenizer = library.pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = library.decoders.ByteLevel()
    trainer = library.trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[END],
        initial_alphabet=library.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    made.train_from_iterator(texts, trainer)
    if made.get_vocab_size() < vocab_size:
        raise DataError(
            f"data.vocab_size={vocab_size}: the training part has only "
            f"{made.get_vocab_size():,} tokens to make\n  choose at most that, or take more text"
        )
    return LibraryTokenizer(made.to_str())


def tokenizer_at(path: str) -> LibraryTokenizer:
    """Somebody's tokenizer.json, or a folder with one. Raises ConfigError, DataError."""
    place = Path(path).expanduser()
    file = place / "tokenizer.json" if place.is_dir() else place
    try:
        if file.stat().st_size > LARGEST_FILE:
            raise DataError(f"{file} is larger than {LARGEST_FILE // 2**20} MB: not a tokenizer")
        return LibraryTokenizer(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(
            f"data.tokenizer={printable(path)}: there is no such file\n"
            "  it is bytes, chars, bpe, or the path of a tokenizer.json"
        ) from None
    except OSError as error:
        raise DataError(f"{file} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise DataError(f"{file}: {error}") from None


def the_library() -> Any:
    """The module tokenizers. Raises ConfigError where it is not installed."""
    # A process that is forked later would warn on every use of the library's threads.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    try:
        import tokenizers
    except ImportError as error:
        raise ConfigError(
            "data.tokenizer: bpe and tokenizer.json need tokenizers, which is not installed\n"
            f"  {install('text')}"
        ) from error
    return tokenizers
