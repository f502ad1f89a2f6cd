"""The 1,797 handwritten digits that ship with scikit-learn: no download, seconds to train on."""

import gzip
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch

from trainwright.data.dataset import Dataset
from trainwright.data.splits import split_arrays, split_sizes, test_or_fold

NUM_DIGITS = 1797

_FILE = "datasets/data/digits.csv.gz"  # in scikit-learn's package, always so far


def load_digits_dataset(
    *,
    validation: int | float = 0.1,
    test: int | float = 0.1,
    split_seed: int = 0,
    folds: int | None = None,
    fold: int = 0,
    limit: int | None = None,
) -> Dataset:
    """Digits 0 to 9 as (N, 1, 8, 8) uint8, the source's 0..16 stretched to 0..255.

    Source: UCI ML hand-written digits, https://archive.ics.uci.edu/dataset/80.
    Raises ConfigError for wrong split sizes.
    """
    held_out = test_or_fold(test, folds, fold)
    split_sizes(NUM_DIGITS, validation=validation, test=held_out, limit=limit)
    table = torch.from_numpy(_table())
    images = table[:, :-1].mul(255 / 16).round().to(torch.uint8)
    images = images.view(-1, 1, 8, 8)  # (N, 64) -> (N, 1, 8, 8)
    classes = table[:, -1].long()
    return split_arrays(
        "digits",
        images,
        classes,
        validation=validation,
        test=held_out,
        split_seed=split_seed,
        limit=limit,
    )


def _table() -> np.ndarray:
    """Float64 (N, 65): 64 pixels from 0 to 16, then the class.

    Read by hand where it can be: to import scikit-learn takes 1 s, of the 3 s until a run begins.
    """
    package = find_spec("sklearn")
    assert package is not None
    assert package.origin is not None
    file = Path(package.origin).parent / _FILE
    if file.is_file():
        with gzip.open(file, "rt") as lines:
            return np.loadtxt(lines, delimiter=",")
    from sklearn.datasets import load_digits

    images, classes = load_digits(return_X_y=True)
    return np.column_stack((images, classes))
