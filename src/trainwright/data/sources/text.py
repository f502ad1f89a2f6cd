"""Text of one's own, and tiny Shakespeare, as windows of tokens."""

from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from trainwright.data.columns import BadInputError, Tokens
from trainwright.data.dataset import Dataset
from trainwright.data.examples import Windows
from trainwright.data.sources.fetch import data_root, fetch
from trainwright.data.splits import make_dataset, split_sizes
from trainwright.data.text.tokenizer import code_points, letters_of
from trainwright.errors import ConfigError, DataError

TEXT = "text"  # the column
SHAKESPEARE = (
    "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt",
)
SHAKESPEARE_SHA256 = "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed"
SHAKESPEARE_BYTES = 1_115_394

TokenizerName = Literal["bytes", "chars"]


def load_shakespeare(
    *,
    root: str | None = None,
    tokenizer: TokenizerName = "chars",
    context: int = 128,
    validation: int | float = 0.1,
    test: int | float = 0.02,
    limit: int | None = None,
) -> Dataset:
    """Tiny Shakespeare: 1,115,394 letters of 65 kinds.

    The validation part is the last tenth, as everywhere since Karpathy's char-rnn; the test part is
    what comes before it. Sizes are in letters. Raises ConfigError, DataError.
    """
    path = data_root(root) / "tinyshakespeare" / "input.txt"
    fetch(SHAKESPEARE, path, sha256=SHAKESPEARE_SHA256, size=SHAKESPEARE_BYTES)
    return _dataset(
        "shakespeare",
        _read(path),
        order=("train", "test", "validation"),
        tokenizer=tokenizer,
        context=context,
        sizes=(validation, test),
        limit=limit,
    )


def load_text(
    *,
    path: str,
    tokenizer: TokenizerName = "bytes",
    context: int = 128,
    validation: int | float = 0.1,
    test: int | float = 0.1,
    limit: int | None = None,
) -> Dataset:
    """A text file of one's own: the training part first, the test part last.

    Raises ConfigError, DataError.
    """
    return _dataset(
        Path(path).stem,
        _read(Path(path).expanduser()),
        order=("train", "validation", "test"),
        tokenizer=tokenizer,
        context=context,
        sizes=(validation, test),
        limit=limit,
    )


def _dataset(
    name: str,
    text: str,
    *,
    order: Sequence[str],
    tokenizer: TokenizerName,
    context: int,
    sizes: tuple[int | float, int | float],
    limit: int | None,
) -> Dataset:
    if context < 1:
        raise ConfigError(f"data.context={context} is below 1")
    letters = letters_of(np.unique(code_points(text))) if tokenizer == "chars" else ""
    column = Tokens(length=context + 1, vocabulary=tuple(letters), tokenizer=tokenizer)
    stream = _encoded(name, column, text)
    num_train, num_validation, num_test = split_sizes(
        len(stream), validation=sizes[0], test=sizes[1]
    )
    lengths = {"train": num_train, "validation": num_validation, "test": num_test}
    cuts = list(accumulate(lengths[part] for part in order))[:-1]
    parts = dict(zip(order, stream.tensor_split(cuts), strict=True))
    if limit is not None:
        parts["train"] = parts["train"][: limit * context + 1]
    for part, tokens in parts.items():
        if part == "train" and len(tokens) <= context:
            raise DataError(
                f"{name}: the training part is {len(tokens):,} tokens long, and data.context="
                f"{context} needs {context + 1}\n  choose a shorter context"
            )
    splits = {
        part: Windows(TEXT, tokens, length=context + 1, keep_rest=part != "train")
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


def _encoded(name: str, column: Tokens, text: str) -> Tensor:
    try:
        tokens = column.encode(text)
    except BadInputError as error:
        raise DataError(f"{name}: {error}") from None
    return tokens.to(torch.uint16 if column.num_options <= 2**16 else torch.uint32)


def _read(path: Path) -> str:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"data.path={path} cannot be read: {error.strerror}") from error
    if not data:
        raise DataError(f"{path} is empty\n  there is nothing to learn from it")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path} is not UTF-8: byte {error.start:,} is 0x{data[error.start]:02x}\n"
            f"  convert it first: iconv -f latin1 -t utf-8 {path.name}"
        ) from None
