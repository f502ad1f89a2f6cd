"""A corpus as tokens on disk: divided, tokenised once, and mapped by every run that wants it."""

import hashlib
import json
import mmap
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainwright.data.cache import damaged, mapped, new_cache, read_index, sign
from trainwright.data.columns import BadInputError, Tokens, column_of
from trainwright.data.splits import split_indices, split_sizes
from trainwright.data.text.corpus import Corpus
from trainwright.data.text.library import LibraryTokenizer, tokenizer_at, trained_bpe
from trainwright.data.text.tokenizer import code_points, letters_of
from trainwright.errors import DataError
from trainwright.progress import progress_bar

VERSION = 1  # raise when the same text would become other tokens
WHAT = "tokens"
PARTS = ("train", "validation", "test")
FILES = ("tokens.json", *(f"{part}.bin" for part in PARTS))
BATCH = 2**22  # letters that are tokenised at a time
AT_ONCE = 2**23  # bytes
END = "<end>"  # of a document, where a tokenizer has none of its own


@dataclass(frozen=True)
class Division:
    """How a corpus is divided, and into how much: of documents, or of bytes in this order."""

    validation: int | float
    test: int | float
    seed: int
    order: Sequence[str] = PARTS


@dataclass(frozen=True)
class Tokenised:
    """The parts of a corpus as mapped tokens, and what their column knows but for its length."""

    parts: Mapping[str, Tensor]
    mappings: Mapping[str, mmap.mmap]
    column: Tokens


def tokenised(
    corpus: Corpus,
    *,
    caches: Path,
    tokenizer: str,
    vocab_size: int,
    division: Division,
    learned: Tokens | None = None,
) -> Tokenised:
    """The tokens of a corpus, from its cache in `caches`, which is made where there is none.

    `learned`: a column whose tokens these are to be. Raises ConfigError, DataError, DiskError.
    """
    split_sizes(2**62, validation=division.validation, test=division.test)  # wrong by themselves
    chosen = _Choice.of(tokenizer, vocab_size, learned)
    content = [VERSION, corpus.digest(), chosen.key, vars(division)]
    key = hashlib.sha256(json.dumps(content).encode()).hexdigest()[:32]
    folder = caches / key
    if not folder.exists():
        with new_cache(folder, WHAT) as new:
            sign(new, _fill(new, corpus, chosen, division), FILES)
    try:
        index = read_index(folder, FILES)
        column = column_of(json.loads((folder / FILES[0]).read_text()))
        assert isinstance(column, Tokens)
        dtype = {2: torch.uint16, 4: torch.uint32}[index["bytes"]]
        parts, mappings = {}, {}
        for part in PARTS:
            if not index["counts"][part]:
                parts[part] = torch.empty(0, dtype=dtype)
                continue
            mappings[part] = mapped(folder / f"{part}.bin")
            parts[part] = torch.frombuffer(mappings[part], dtype=dtype)
    except Exception as error:  # damaged JSON raises all sorts
        raise damaged(folder, WHAT, "tokenise the text afresh") from error
    return Tokenised(parts, mappings, column)


@dataclass(frozen=True)
class _Choice:
    """Which tokenizer is to be: by its name, or one that is there already."""

    name: str
    vocab_size: int
    made: LibraryTokenizer | None = None
    learned: Tokens | None = None

    @classmethod
    def of(cls, name: str, vocab_size: int, learned: Tokens | None) -> "_Choice":
        if learned is not None:
            return cls("learned", 0, learned=learned)
        if name in ("bytes", "chars", "bpe"):
            return cls(name, vocab_size if name == "bpe" else 0)
        return cls("file", 0, made=tokenizer_at(name))

    @property
    def key(self) -> list[Any]:
        """What its tokens depend on besides the text."""
        learned = None if self.learned is None else _facts(self.learned)
        return [self.name, self.vocab_size, self.made and self.made.plain, learned]

    def column(self, corpus: Corpus, letters: str, train: Iterator[str]) -> Tokens:
        """The column of the corpus. `letters`: all there are; `train`: the training part."""
        if self.learned is not None:
            return self.learned
        special = (END,) if corpus.has_documents else ()
        if self.name == "bytes":
            return Tokens(tokenizer="bytes", special=special)
        if self.name == "chars":
            return Tokens(vocabulary=tuple(letters), special=special)
        made = self.made or trained_bpe(train, self.vocab_size)
        return Tokens(tokenizer=made.plain, special=() if made.end is not None else special)


def _facts(column: Tokens) -> dict[str, Any]:
    return {name: getattr(column, name) for name in ("vocabulary", "tokenizer", "special")}


def _fill(part: Path, corpus: Corpus, chosen: _Choice, division: Division) -> dict[str, Any]:
    """Read the corpus twice, with bpe three times: what is there, and what it becomes."""
    found = _Found.of(corpus)
    parts = found.divided(division)
    train = (text for name, text, _ in _texts(corpus, parts) if name == "train")
    column = chosen.column(corpus, letters_of(found.letters), train)
    (part / FILES[0]).write_text(json.dumps(replace(column, length=1).plain()))
    dtype = np.uint16 if column.num_options <= 2**16 else np.uint32
    counts = dict.fromkeys(PARTS, 0)
    with (
        ExitStack() as stack,
        _bar(corpus.name, found.num_bytes) as advance,
    ):
        files = {n: stack.enter_context((part / f"{n}.bin").open("wb")) for n in PARTS}
        for batch in _batches(_texts(corpus, parts)):
            for (name, text, begins), tokens in zip(batch, _encoded(column, batch), strict=True):
                if begins and corpus.has_documents and column.end is not None:
                    files[name].write(np.array([column.end], dtype=dtype).data)
                    counts[name] += 1
                files[name].write(tokens.astype(dtype).data)
                counts[name] += len(tokens)
                advance(len(text.encode()))
        for file in files.values():
            file.flush()
            os.fsync(file.fileno())
    return {"counts": counts, "bytes": dtype().itemsize, "source": str(corpus.files[0])}


def _bar(name: str, num_bytes: int) -> AbstractContextManager[Callable[[int], object]]:
    """A bar, unless all is done in no time."""
    if num_bytes < AT_ONCE:
        return nullcontext(lambda count: None)
    return progress_bar(f"tokenising {name}", num_bytes, "B")


Text = tuple[str, str, bool]  # its part, itself, and whether a document begins with it


def _batches(texts: Iterator[Text]) -> Iterator[list[Text]]:
    """So much at a time as keeps all cores busy, and little of the memory."""
    batch: list[Text] = []
    size = 0
    for text in texts:
        batch.append(text)
        size += len(text[1])
        if size >= BATCH:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _encoded(column: Tokens, batch: Sequence[Text]) -> list[NDArray[np.int64]]:
    coder = column.coder
    texts = [text for _, text, _ in batch]
    try:
        if isinstance(coder, LibraryTokenizer):
            return coder.encode_all(texts)
        return [coder.encode(text) for text in texts]
    except BadInputError as error:
        raise DataError(f"data: {error}") from None


@dataclass(frozen=True)
class _Found:
    """What is in a corpus: bytes of UTF-8, documents, kinds of letters."""

    corpus: Corpus
    num_bytes: int
    num_documents: int
    letters: NDArray[np.uint32]

    @classmethod
    def of(cls, corpus: Corpus) -> "_Found":
        num_bytes = num_documents = 0
        letters = np.zeros(0, dtype=np.uint32)
        for piece in corpus.pieces():
            num_bytes += len(piece.text.encode())
            num_documents += piece.is_last
            letters = np.union1d(letters, code_points(piece.text))
        if not num_bytes:
            raise DataError(f"{corpus.files[0]} is empty\n  there is nothing to learn from it")
        return cls(corpus, num_bytes, num_documents, letters)

    def divided(self, division: Division) -> "_Cuts | _Documents":
        """Whose part which document is, or where in the text the parts end."""
        shares = division.validation, division.test
        if self.corpus.has_documents:
            part_of = np.zeros(self.num_documents, dtype=np.uint8)
            chosen = split_indices(
                self.num_documents, validation=shares[0], test=shares[1], seed=division.seed
            )
            for number, indices in enumerate(chosen):
                part_of[indices.numpy()] = number
            return _Documents(part_of)
        sizes = split_sizes(self.num_bytes, validation=shares[0], test=shares[1])
        num = dict(zip(PARTS, sizes, strict=True))
        ends = np.cumsum([num[part] for part in division.order]).tolist()
        return _Cuts(tuple(division.order), tuple(ends))


@dataclass(frozen=True)
class _Documents:
    """The number of each document's part."""

    part_of: NDArray[np.uint8]


@dataclass(frozen=True)
class _Cuts:
    """The parts in order, and at which byte each ends."""

    order: tuple[str, ...]
    ends: tuple[int, ...]

    def cut(self, start: int, text: str) -> Iterator[tuple[str, str]]:
        """The pieces of a text that begins at a byte, by part; no letter is cut."""
        data = text.encode()
        for part, end in zip(self.order, self.ends, strict=True):
            stop = max(0, min(end - start, len(data)))
            while stop < len(data) and data[stop] & 0xC0 == 0x80:
                stop += 1
            if stop:
                yield part, data[:stop].decode()
            start, data = start + stop, data[stop:]


def _texts(corpus: Corpus, parts: _Cuts | _Documents) -> Iterator[Text]:
    begins = True
    for piece in corpus.pieces():
        if isinstance(parts, _Documents):
            if piece.document >= len(parts.part_of):
                raise DataError(f"{corpus.files[0]} changes while it is read")
            yield PARTS[parts.part_of[piece.document]], piece.text, begins
            begins = piece.is_last
        else:
            for part, text in parts.cut(piece.start, piece.text):
                yield part, text, False
