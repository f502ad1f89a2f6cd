"""What other models reach on the same rows of a table: whether a network is worth it."""

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from trainwright.data.columns import Categories, Classes, Numbers, Values
from trainwright.data.dataset import Dataset
from trainwright.data.examples import Split, all_of
from trainwright.progress import counted
from trainwright.wording import format_number

MOST_ROWS, MOST_CELLS = 100_000, 5_000_000  # of a table that is not too large for it
MOST_CODES = 255  # options of a category that the trees take as one


def baselines(dataset: Dataset) -> dict[str, dict[str, float]]:
    """Scores on the test rows of boosted trees and of a linear model, both trained as they come.

    Nothing where they are not asked for, of large tables, or of other targets than one class or one
    value. Source: https://scikit-learn.org/stable/modules/ensemble.html.
    """
    info, num = dataset.info, len(dataset.train)
    target = info.target_column
    is_one = isinstance(target, Classes) or (isinstance(target, Values) and not target.names)
    is_table = all(isinstance(info.columns[n], Numbers | Categories) for n in info.inputs)
    is_small = num <= MOST_ROWS and num * info.num_values <= MOST_CELLS
    if not (dataset.baselines and len(info.targets) == 1 and is_one and is_table and is_small):
        return {}
    from sklearn import ensemble, linear_model  # 1 s to import

    is_class = isinstance(target, Classes)
    codes = [c for n in info.inputs if isinstance(c := info.columns[n], Categories)]
    stored = {name: _stored(dataset, split) for name, split in _splits(dataset).items()}
    numbers = stored["train"].shape[1] - sum(len(c.sizes) for c in codes)
    is_code = [False] * numbers + [size <= MOST_CODES for c in codes for size in c.sizes]
    trees = getattr(ensemble, f"HistGradientBoosting{'Classifier' if is_class else 'Regressor'}")
    linear = linear_model.LogisticRegression(max_iter=1000) if is_class else linear_model.Ridge()
    seen = {name: _seen(dataset, split) for name, split in _splits(dataset).items()}
    truth = {n: all_of(s, info.targets[0]).numpy() for n, s in _splits(dataset).items()}
    found = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a linear model that has not converged
        boosted = trees(categorical_features=is_code, random_state=0)
        models = ("boosted trees", boosted, stored), ("linear model", linear, seen)
        for name, model, rows in counted(models, "training what it is compared with", "models"):
            model.fit(rows["train"], truth["train"])
            score = float(model.score(rows["test"], truth["test"]))
            found[name] = {"accuracy" if is_class else "r2": score}
    return found


def told(found: Mapping[str, Mapping[str, float]]) -> str:
    """One line of it."""
    parts = [
        f"{name} {metric} {format_number(value)}"
        for name, scores in found.items()
        for metric, value in scores.items()
    ]
    return "  ".join(parts)


def _splits(dataset: Dataset) -> dict[str, Split]:
    return {"train": dataset.train, "test": dataset.test}


def _stored(dataset: Dataset, split: Split) -> NDArray[Any]:
    """(N, F) with NaN where a number is missing; numbers first, then categories."""
    columns = sorted(dataset.info.inputs, key=lambda n: dataset.info.columns[n].kind != "numbers")
    return np.concatenate([all_of(split, name).double().numpy() for name in columns], axis=1)


def _seen(dataset: Dataset, split: Split) -> NDArray[Any]:
    """(N, F) as a network sees numbers, and a column an option of a category."""
    parts = []
    for name in dataset.info.inputs:
        column, stored = dataset.info.columns[name], all_of(split, name)
        if isinstance(column, Categories):
            parts += [
                torch.nn.functional.one_hot(stored[:, i], size)
                for i, size in enumerate(column.sizes)
            ]
        else:
            parts.append(column.preparation(torch.device("cpu"))(stored))
    return torch.cat([part.float() for part in parts], dim=1).numpy()
