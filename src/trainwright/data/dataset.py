"""What every dataset becomes: named splits of named columns, and the facts that models need."""

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal, Self

import torch
from torch import Tensor

from trainwright.data.columns import (
    MOST_NUMBERS,
    Classes,
    Column,
    Image,
    Labels,
    Numbers,
    Series,
    Tokens,
    Values,
    column_of,
)
from trainwright.data.examples import Split
from trainwright.data.origins import Origins

Target = Literal["classes", "values", "labels", "tokens", "none", "several"]

INPUTS, TARGETS = "inputs", "targets"  # the columns of a dataset with one of each


@dataclass(frozen=True)
class DataInfo:
    """The facts about a dataset. Models and tasks receive them; nobody types them twice.

    `columns` are the specs of all its columns by name; which of them a network is given (`inputs`)
    and which it is to predict (`targets`) are names of these. The other facts follow from them.
    """

    name: str
    columns: Mapping[str, Column]
    inputs: tuple[str, ...] = (INPUTS,)
    targets: tuple[str, ...] = ()

    @classmethod
    def of_one_input(
        cls,
        name: str,
        input_shape: tuple[int, ...],
        target: str,
        class_names: tuple[str, ...],
        mean: tuple[float, ...],
        std: tuple[float, ...],
        target_mean: float = 0.0,
        target_std: float = 1.0,
        feature_names: tuple[str, ...] = (),
    ) -> Self:
        """Of images (C, H, W), series (T, C) or rows (F,), and perhaps one target."""
        columns: dict[str, Column] = {INPUTS: Numbers(mean, std, feature_names)}
        if len(input_shape) == 3:
            size = (input_shape[0], input_shape[1], input_shape[2])
            columns[INPUTS] = Image(size, mean, std)
        elif len(input_shape) == 2:
            columns[INPUTS] = Series(input_shape[0], mean, std)
        if target == "classes":
            columns[TARGETS] = Classes(class_names)
        elif target == "labels":
            columns[TARGETS] = Labels(class_names)
        elif target == "values":
            columns[TARGETS] = Values((target_mean,), (target_std,))
        return cls(name, columns, (INPUTS,), tuple(n for n in columns if n == TARGETS))

    @cached_property
    def input(self) -> Column:
        """The input, of several the first."""
        return self.columns[self.inputs[0]]

    @cached_property
    def target_column(self) -> Column | None:
        """What is to be predicted, of several the first; None if there is nothing."""
        return self.columns[self.targets[0]] if self.targets else None

    @property
    def input_shape(self) -> tuple[int, ...]:
        """(C, H, W) for images, (F,) for tables; of several inputs that of the first."""
        return self.input.shape

    @property
    def sizes(self) -> str:
        """The shapes of the inputs for a person: `3x8x8`, of several each with its name."""
        sizes = {name: "x".join(map(str, self.columns[name].shape)) for name in self.inputs}
        if len(sizes) == 1:
            return sizes[self.inputs[0]]
        return " and ".join(f"{name} {size}" for name, size in sizes.items())

    @property
    def target(self) -> Target:
        """The kind of what is to be predicted."""
        kinds = [self.columns[name].kind for name in self.targets]
        if len(kinds) > 1:
            return "several"
        return kinds[0] if kinds else "none"  # type: ignore[return-value]

    @property
    def class_names(self) -> tuple[str, ...]:
        """Empty unless one class or any number of them is to be predicted."""
        names = getattr(self.target_column, "names", ())
        return () if isinstance(self.target_column, Values | None) else tuple(names)

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Of a table, in their order; empty where they have none."""
        return self.input.names if isinstance(self.input, Numbers) else ()

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """The text of each token, where the input is a text by letters; else empty."""
        return self.input.vocabulary if isinstance(self.input, Tokens) else ()

    @property
    def is_image(self) -> bool:
        """Whether an example is an image (C, H, W) and nothing else."""
        return isinstance(self.input, Image) and len(self.inputs) == 1

    @property
    def num_classes(self) -> int:
        """How many classes there are; 0 unless each example is of one."""
        return len(self.class_names) if isinstance(self.target_column, Classes) else 0

    @property
    def num_outputs(self) -> int:
        """How many numbers a network that predicts all targets puts out."""
        return sum(self.columns[name].num_outputs for name in self.targets) or 1

    @property
    def num_values(self) -> int:
        """How many numbers the inputs of an example are."""
        return sum(math.prod(self.columns[name].shape) for name in self.inputs)

    @property
    def num_tokens(self) -> int:
        """How many tokens of a text an example is; with nothing else to predict, its next ones."""
        return self.input.length - (not self.targets) if isinstance(self.input, Tokens) else 0

    @property
    def facts(self) -> dict[str, Any]:
        """What is given by name to a model's constructor."""
        return {
            "input_shape": self.input_shape,
            "num_outputs": self.num_outputs,
            "num_classes": self.num_classes,
            "vocab_size": self.input.num_options if isinstance(self.input, Tokens) else 0,
            "columns": self.columns,
            "inputs": {name: self.columns[name].described() for name in self.inputs},
        }

    def with_column(self, name: str, column: Column) -> Self:
        """The same with another spec of one column."""
        return replace(self, columns={**self.columns, name: column})

    @classmethod
    def of_plain(cls, plain: Any) -> Self:
        """The facts that `plain` has written. Raises ValueError for what it never writes."""
        if not isinstance(plain, dict) or not isinstance(plain.get("columns"), dict):
            raise ValueError("there are no columns")
        columns = {name: column_of(column) for name, column in plain["columns"].items()}
        names = {}
        for role in ("inputs", "targets"):
            named = plain.get(role)
            if not isinstance(named, list) or not all(n in columns for n in map(str, named)):
                raise ValueError(f"its {role} are none of its columns")
            names[role] = tuple(map(str, named))
        info = cls(str(plain.get("name", "")), columns, **names)
        if not info.inputs or not 0 < info.num_values <= MOST_NUMBERS:
            raise ValueError("an example has no numbers, or too many")
        if any(not columns[name].num_outputs for name in info.targets):
            raise ValueError("there is nothing to predict in its targets")
        return info

    def plain(self) -> dict[str, Any]:
        """What a checkpoint remembers, as plain JSON types."""
        return {
            "name": self.name,
            "columns": {name: column.plain() for name, column in self.columns.items()},
            "inputs": list(self.inputs),
            "targets": list(self.targets),
        }


@dataclass(frozen=True)
class Dataset:
    """Disjoint splits and the facts about them.

    `further`: other splits by name, such as `validation/night`: one whose name begins so is
    measured whenever the validation split is, and `test/...` at the end of a run. `notes`: lines
    for a person, before training. `baselines`: whether other models are to be measured beside it.
    `test_rows`: where the test examples of a fold stand among all, from 0 (N,) int64. `origins`:
    the files or rows that the examples of each split come from, where a source knows.
    """

    info: DataInfo
    train: Split
    validation: Split
    test: Split
    further: Mapping[str, Split] = field(default_factory=dict)
    notes: Sequence[str] = ()
    baselines: bool = False
    test_rows: Tensor | None = None
    origins: Origins | None = None

    @property
    def splits(self) -> dict[str, Split]:
        """All by name, the three first."""
        three = {"train": self.train, "validation": self.validation, "test": self.test}
        return {**three, **self.further}

    def measured_with(self, name: str) -> Iterator[tuple[str, Split]]:
        """The further splits of `validation` or `test`, by the rest of their names."""
        for full, split in self.further.items():
            if full.startswith(f"{name}/"):
                yield full.removeprefix(f"{name}/"), split

    def changed(self, info: DataInfo, splits: Mapping[str, Split]) -> "Dataset":
        """Other facts, and other splits of the same names."""
        three = ("train", "validation", "test")
        train, validation, test = (splits[name] for name in three)
        further = {name: split for name, split in splits.items() if name not in three}
        return replace(
            self, info=info, train=train, validation=validation, test=test, further=further
        )


def fingerprint(dataset: Dataset, num_examples: int = 64) -> str:
    """A short hash of the splits' sizes and of so many examples spread over each.

    Two datasets with the same one may still differ; with another they do.
    """
    digest = hashlib.sha256()
    for split in dataset.splits.values():
        indices = torch.arange(0, len(split), max(1, len(split) // num_examples))
        for values in split.take(indices).values():
            shape = (len(split), *values.shape[1:])
            digest.update(f"{shape} {values.dtype}".encode())
            digest.update(values.contiguous().numpy().tobytes())
    return digest.hexdigest()[:12]
