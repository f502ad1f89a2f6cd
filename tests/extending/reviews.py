"""A user's module: short reviews of films, good or bad, as bytes."""

from pathlib import Path

import torch

from trainwright.data.columns import Tokens
from trainwright.data.dataset import DataInfo, Dataset
from trainwright.data.splits import split_arrays

GOOD, BAD = ("good", "great", "fine", "lovely"), ("bad", "awful", "poor", "dull")
OTHERS = ("film", "the", "was", "a", "very", "quite")


def reviews(*, num: int = 300, known: DataInfo | None = None) -> Dataset:
    """Words with one among them that decides; read as a run has learned to read, if it has."""
    generator = torch.Generator().manual_seed(0)
    column = Tokens(length=40, tokenizer="bytes") if known is None else known.columns["text"]

    def draw(words: tuple[str, ...]) -> str:
        return words[int(torch.randint(len(words), (), generator=generator))]

    classes = torch.randint(0, 2, (num,), generator=generator)
    texts = [
        " ".join([draw(OTHERS), draw((GOOD, BAD)[int(kind)]), draw(OTHERS)]) for kind in classes
    ]
    tokens = torch.stack([torch.from_numpy(column.read([text], Path())) for text in texts])
    return split_arrays(
        "reviews", {"text": tokens}, classes, class_names=("good", "bad"), columns={"text": column}
    )
