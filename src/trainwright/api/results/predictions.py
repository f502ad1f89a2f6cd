"""What a run says of examples: labels and probabilities, or values, as arrays."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from trainwright.api.results.history import data_frame
from trainwright.api.results.notebook import html_table
from trainwright.data.columns import Classes, Labels, Target
from trainwright.errors import ConfigError
from trainwright.wording import format_number, nearest

if TYPE_CHECKING:
    from trainwright.inference.trained import Trained

SHARE = 0.5  # from which on one of any number of classes is said to hold


class Predictions:
    """The answers for N examples, in their order.

    One class each: `labels` (N,), their names, and `probabilities` (N, C), whose columns are
    `classes`. Any number of classes: `probabilities` (N, C), and `labels` (N, C) of booleans.
    Values: `values` (N,) or (N, K) in their own units. Where a run has several targets, each is
    `predictions["name"]`.
    """

    def __init__(self, targets: dict[str, Target], answers: dict[str, NDArray[np.float32]]) -> None:
        self._targets, self._answers = targets, answers

    def __len__(self) -> int:
        return len(next(iter(self._answers.values())))

    def __getitem__(self, target: str) -> "Predictions":
        """Those of one target, by its name."""
        if target not in self._targets:
            raise KeyError(f"{target}: there is no such target{nearest(target, self._targets)}")
        return Predictions({target: self._targets[target]}, {target: self._answers[target]})

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes. Raises ConfigError where values are predicted."""
        target = self._only
        if not isinstance(target, Classes | Labels):
            raise ConfigError("this run predicts values, and no classes: take .values")
        return target.names

    @property
    def probabilities(self) -> NDArray[np.float32]:
        """Of each class, (N, C). Raises ConfigError where values are predicted."""
        assert self.classes
        return self._answer

    @property
    def labels(self) -> NDArray[Any]:
        """The likeliest class of each (N,) by name; of any number of classes (N, C), which hold."""
        if isinstance(self._only, Labels):
            return np.greater_equal(self._answer, SHARE)
        names = np.array(self.classes, dtype=object)
        likeliest: NDArray[Any] = names[self.probabilities.argmax(axis=1)]
        return likeliest

    @property
    def values(self) -> NDArray[np.float32]:
        """(N,) or (N, K). Raises ConfigError where classes are predicted."""
        if isinstance(self._only, Classes | Labels):
            raise ConfigError("this run predicts classes: take .labels or .probabilities")
        return self._answer

    def to_pandas(self) -> Any:
        """A row an example, with the columns of `runs predict --csv`. Raises ConfigError."""
        several = len(self._targets) > 1
        columns: dict[str, Any] = {}
        for name, target in self._targets.items():
            one = self[name]
            found = one._answer.reshape(len(self), -1).T
            if isinstance(target, Classes):
                columns_of: list[Any] = [one.labels, one.probabilities.max(axis=1), *found]
            else:
                columns_of = [*found]
            heads = [f"{name} {head}" if several else head for head in target.csv_header()]
            columns |= dict(zip(heads, columns_of, strict=True))
        return data_frame(columns)

    @property
    def _only(self) -> Target:
        if len(self._targets) > 1:
            names = ", ".join(self._targets)
            raise ConfigError(f"this run predicts {names}: say which, predictions[...]")
        return next(iter(self._targets.values()))

    @property
    def _answer(self) -> NDArray[np.float32]:
        assert self._only
        return next(iter(self._answers.values()))

    def __repr__(self) -> str:
        told = ", ".join(f"{name} {answer.shape}" for name, answer in self._answers.items())
        return f"predictions of {len(self):,} examples: {told}"

    def _repr_html_(self) -> str:
        heads = [head for name, target in self._targets.items() for head in target.csv_header()]
        rows = [
            [
                cell if isinstance(cell, str) else format_number(cell)
                for name, target in self._targets.items()
                for cell in _cells(target, self._answers[name][i])
            ]
            for i in range(len(self))
        ]
        return html_table(heads, rows)


def _cells(target: Target, answer: NDArray[np.float32]) -> Sequence[Any]:
    import torch

    return target.csv_cells(torch.as_tensor(answer))


def predictions_of(trained: "Trained", given: Any) -> Predictions:
    """What is said of what a program gives (inference/given.py).

    Raises DataError that names examples which cannot be used, ConfigError for a run that does not
    predict.
    """
    from trainwright.inference.given import examples_of, raise_unusable
    from trainwright.inference.predict import answered, targets_of
    from trainwright.inference.trained import ability

    ability(trained, "predict", "predict")
    found = list(answered(trained, examples_of(trained, given)))
    raise_unusable(found)
    targets = targets_of(trained)
    answers = {
        name: np.stack([prediction.answers[name].numpy() for prediction in found])
        for name in targets
    }
    return Predictions(targets, answers)
