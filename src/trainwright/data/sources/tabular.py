"""The small tables that ship with scikit-learn: no download."""

from typing import Literal

import torch

from trainwright.data.dataset import Dataset
from trainwright.data.splits import split_arrays, split_sizes, test_or_fold

NUM_ROWS = {"breast_cancer": 569, "iris": 150, "wine": 178, "diabetes": 442}


def load_tabular(
    *,
    name: Literal["breast_cancer", "iris", "wine", "diabetes"] = "breast_cancer",
    validation: int | float = 0.15,
    test: int | float = 0.15,
    split_seed: int = 0,
    folds: int | None = None,
    fold: int = 0,
    limit: int | None = None,
) -> Dataset:
    """A table as (N, F) float32 in its own units; classes, or for `diabetes` values to predict.

    Source: https://scikit-learn.org/stable/datasets/toy_dataset.html.
    Raises ConfigError for wrong split sizes.
    """
    held_out = test_or_fold(test, folds, fold)
    split_sizes(NUM_ROWS[name], validation=validation, test=held_out, limit=limit)
    from sklearn import datasets  # 1 s to import

    # Unscaled: scikit-learn would scale by all rows, those of the test split among them.
    arguments = {"scaled": False} if name == "diabetes" else {}
    bunch = getattr(datasets, f"load_{name}")(**arguments)
    inputs = torch.from_numpy(bunch.data).float()
    is_classes = name != "diabetes"
    targets = torch.from_numpy(bunch.target)
    targets = targets.long() if is_classes else targets.float()
    return split_arrays(
        name,
        inputs,
        targets,
        feature_names=[str(feature) for feature in bunch.feature_names],
        class_names=[str(label) for label in bunch.target_names] if is_classes else (),
        validation=validation,
        test=held_out,
        split_seed=split_seed,
        limit=limit,
    )
