"""The 1,797 handwritten digits that ship with scikit-learn: no download, seconds to train on."""

import torch

from trainwright.data.dataset import Dataset
from trainwright.data.splits import split_arrays, split_sizes

NUM_DIGITS = 1797


def load_digits_dataset(
    *,
    validation: int | float = 0.1,
    test: int | float = 0.1,
    split_seed: int = 0,
    limit: int | None = None,
) -> Dataset:
    """Digits 0 to 9 as (N, 1, 8, 8) uint8, the source's 0..16 stretched to 0..255.

    Source: UCI ML hand-written digits, https://archive.ics.uci.edu/dataset/80.
    Raises ConfigError for wrong split sizes.
    """
    split_sizes(NUM_DIGITS, validation=validation, test=test, limit=limit)
    from sklearn.datasets import load_digits  # 1 s to import

    bunch = load_digits()
    images = torch.from_numpy(bunch.images).mul(255 / 16).round().to(torch.uint8)
    images = images[:, None]  # (N, 8, 8) -> (N, 1, 8, 8)
    classes = torch.from_numpy(bunch.target).long()
    return split_arrays(
        "digits",
        images,
        classes,
        validation=validation,
        test=test,
        split_seed=split_seed,
        limit=limit,
    )
