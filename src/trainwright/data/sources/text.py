"""Text of one's own, and tiny Shakespeare, as windows of tokens."""

from dataclasses import replace
from pathlib import Path
from typing import Literal

from trainwright.data.columns import Tokens
from trainwright.data.dataset import DataInfo, Dataset
from trainwright.data.examples import Windows
from trainwright.data.sources.fetch import data_root, fetch
from trainwright.data.splits import make_dataset, split_sizes
from trainwright.data.text.corpus import Corpus, corpus_at
from trainwright.data.text.token_cache import Division, Tokenised, tokenised
from trainwright.errors import ConfigError, DataError

TEXT = "text"  # the column
LONGEST_CONTEXT = 2**20
SHAKESPEARE = (
    "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt",
)
SHAKESPEARE_SHA256 = "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed"
SHAKESPEARE_BYTES = 1_115_394


def load_shakespeare(
    *,
    root: str | None = None,
    tokenizer: str = "chars",
    vocab_size: int = 1024,
    context: int = 128,
    stride: int | None = None,
    validation: int | float = 0.1,
    test: int | float = 0.02,
    limit: int | None = None,
    known: DataInfo | None = None,
) -> Dataset:
    """Tiny Shakespeare: 1,115,394 letters of 65 kinds.

    The validation part is the last tenth, as everywhere since Karpathy's char-rnn; the test part is
    what comes before it. The other arguments are those of `load_text`. Raises ConfigError,
    DataError.
    """
    path = data_root(root) / "tinyshakespeare" / "input.txt"
    fetch(SHAKESPEARE, path, sha256=SHAKESPEARE_SHA256, size=SHAKESPEARE_BYTES)
    found = tokenised(
        Corpus((path,), TEXT),
        caches=data_root(root) / "text-cache",
        tokenizer=tokenizer,
        vocab_size=vocab_size,
        division=Division(validation, test, 0, ("train", "test", "validation")),
        learned=_tokens(known),
    )
    return _dataset("shakespeare", found, context=context, stride=stride, limit=limit, known=known)


def load_text(
    *,
    path: str,
    field: str = "text",
    tokenizer: str = "bytes",
    vocab_size: int = 4096,
    context: int = 128,
    stride: int | None = None,
    packing: Literal["across", "within"] = "across",
    root: str | None = None,
    validation: int | float = 0.1,
    test: int | float = 0.1,
    split_seed: int = 0,
    limit: int | None = None,
    known: DataInfo | None = None,
    whole: bool = False,
) -> Dataset:
    """Text of one's own: a file, a folder, or a pattern; plain, gzipped, JSON lines, or Parquet.

    Each file, line or row is a document, and parts are made of whole documents; a single text is
    divided where it is, the training part first. It is tokenised once, into `<root>/text-cache`.
    `stride`: tokens from the beginning of a training window to that of the next; with less than
    the context they overlap, and a token is learned at several places. `packing`: whether attention
    may look across the documents in a window. `known`: the facts of a trained run, whose tokens
    these are to be. `whole`: all of the text is the test.

    Raises ConfigError, DataError, DiskError.
    """
    if whole and known is None:
        raise ConfigError("data.whole: it is not for training; leave it out")
    corpus = corpus_at(path, field)
    found = tokenised(
        corpus,
        caches=data_root(root) / "text-cache",
        tokenizer=tokenizer,
        vocab_size=vocab_size,
        division=Division(0, 0, split_seed) if whole else Division(validation, test, split_seed),
        learned=_tokens(known),
    )
    if whole:
        found = _as_test(found)
    if packing == "within" and not corpus.has_documents:
        raise ConfigError(
            f"data.packing=within: {path} is one text, not several documents\n"
            "  name a folder, or lines of JSON"
        )
    name = Path(path).name.partition(".")[0].strip("*") or "text"
    return _dataset(
        name,
        found,
        context=context,
        stride=stride,
        limit=limit,
        known=known,
        is_apart=packing == "within",
        whole=whole,
    )


def _tokens(known: DataInfo | None) -> Tokens | None:
    column = None if known is None else known.columns.get(TEXT)
    return column if isinstance(column, Tokens) else None


def _as_test(found: Tokenised) -> Tokenised:
    """What is all training text as all test."""
    parts = {**found.parts, "train": found.parts["test"], "test": found.parts["train"]}
    return replace(found, parts=parts, mappings={"test": found.mappings["train"]})


def _dataset(
    name: str,
    found: Tokenised,
    *,
    context: int,
    stride: int | None,
    limit: int | None,
    known: DataInfo | None,
    is_apart: bool = False,
    whole: bool = False,
) -> Dataset:
    split_sizes(2**62, validation=0, test=0, limit=limit)
    if not 1 <= context <= LONGEST_CONTEXT:
        raise ConfigError(f"data.context={context}: it must be 1 to {LONGEST_CONTEXT:,} tokens")
    as_known = _tokens(known)
    column = replace(found.column, length=context + 1, is_apart=is_apart)
    if as_known is not None:
        column = replace(column, length=as_known.length, is_apart=as_known.is_apart)
    length = column.length
    stride = length - 1 if stride is None else stride
    if not 1 <= stride < length:
        raise ConfigError(f"data.stride={stride}: it must be 1 to the context, {length - 1}")
    parts = dict(found.parts)
    if limit is not None:
        parts["train"] = parts["train"][: (limit - 1) * stride + length]
    if len(parts["train"]) < length and not whole:
        raise DataError(
            f"{name}: the training part has {len(parts['train']):,} tokens, and a context of "
            f"{length - 1} takes {length}\n  choose a shorter one with data.context, or more text"
        )
    splits = {
        part: Windows(
            TEXT,
            tokens,
            length=length,
            overlap=length - stride if part == "train" else 1,
            keep_rest=part != "train",
            mapping=found.mappings.get(part),
        )
        for part, tokens in parts.items()
    }
    return make_dataset(
        name,
        train=splits["train"],
        validation=splits["validation"],
        test=splits["test"],
        columns={TEXT: column},
        inputs=(TEXT,),
    )
