"""Examples become three disjoint splits, and splits become a dataset with the facts about it."""

from collections.abc import Mapping, Sequence, Sized
from dataclasses import replace
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from trainwright.data.arrays import check_lengths, input_column, named_arrays, target_column
from trainwright.data.columns import Classes, Column, Image, Numbers, Values
from trainwright.data.dataset import INPUTS, TARGETS, DataInfo, Dataset
from trainwright.data.examples import Arrays, Split, all_of, first_of
from trainwright.errors import ConfigError, DataError
from trainwright.wording import nearest


class Fold(NamedTuple):
    """The test split of cross-validation: one of several equal parts of all examples."""

    number: int  # from 0
    of: int

    def holds(self, places: Tensor) -> Tensor:
        """Whether the examples at these places are in it."""
        return places % self.of == self.number


Size = int | float | Fold  # of a test split
MOST_FOLDS = 1_000_000


def test_or_fold(test: int | float, folds: int | None, fold: int) -> Size:
    """The size of the test split, or with `folds` which of them it is. Raises ConfigError."""
    if folds is None:
        if fold != 0:
            raise ConfigError(f"data.fold={fold} has no effect without data.folds, such as 5")
        return test
    if isinstance(folds, bool) or not 2 <= folds <= MOST_FOLDS:
        raise ConfigError(f"data.folds={folds!r}; it must be null, or 2 to {MOST_FOLDS:,}")
    if not 0 <= fold < folds:
        raise ConfigError(
            f"data.fold={fold}: with data.folds={folds} it is 0 to {folds - 1}\n"
            f"  all of them: train -m ... 'data.fold=range({folds})'"
        )
    return Fold(fold, folds)


def split_sizes(
    num_examples: int, *, validation: int | float, test: Size, limit: int | None = None
) -> tuple[int, int, int]:
    """How many examples go to training, validation and test.

    `validation` and `test` are each a count (int) or a share of `num_examples` (float between 0
    and 1, rounded, at least one example); a count of 0 is for sources with a split of their own. A
    fold leaves a share for validation of what is not in it.
    `limit` caps the training split. Loaders call this before they download anything.

    Raises ConfigError for a wrong size, DataError where there are too few examples to share out.
    """
    if limit is not None and (isinstance(limit, bool) or limit < 1):
        raise ConfigError(f"data.limit is {limit!r}; it must be null or a count of at least 1")
    if isinstance(test, Fold):
        num_test = len(range(test.number, num_examples, test.of))
        num_validation = _count("validation", validation, num_examples - num_test)
    else:
        num_validation = _count("validation", validation, num_examples)
        num_test = _count("test", test, num_examples)
    num_train = num_examples - num_validation - num_test
    if num_train < 1:
        message = (
            f"no training examples are left: of {num_examples}, validation={validation!r} takes "
            f"{num_validation} and test={test!r} takes {num_test}"
        )
        if all(isinstance(size, float) for size in (validation, test)):
            raise DataError(f"{message}\n  the dataset needs at least three examples")
        raise ConfigError(f"{message}\n  choose smaller sizes, or shares such as 0.1")
    return (num_train if limit is None else min(num_train, limit)), num_validation, num_test


def _count(name: str, size: int | float, num_examples: int) -> int:
    if not isinstance(size, bool):
        if isinstance(size, int) and size >= 0:
            return size
        if isinstance(size, float) and 0 < size < 1:
            return max(1, round(size * num_examples))
    raise ConfigError(
        f"data.{name} is {size!r}\n"
        "  it must be a count of examples (a whole number) or a share between 0 and 1, such as 0.1"
    )


def require_examples(name: str, splits: Mapping[str, Sized]) -> None:
    """Raise ConfigError for a dataset of that name whose validation or test split is empty."""
    for split in ("validation", "test"):
        if split in splits and not len(splits[split]):
            raise ConfigError(
                f"data.{split}: the {split} split of {name} is empty\n"
                f"  it needs at least one example: data.{split}=1, or a share such as 0.1"
            )


def split_indices(
    num_examples: int,
    *,
    validation: int | float,
    test: Size,
    seed: int,
    classes: Tensor | None = None,
    limit: int | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Disjoint random indices of the training, validation and test examples, each int64.

    With `classes` (N,) int64 every split, and training cut to `limit`, has the classes in
    proportion, and a class with a single example keeps it for training, unless the test is a fold:
    of these each example is in one. The draw depends on `seed`, the number of examples and the
    classes only. Raises as `split_sizes` does.
    """
    num_train, num_validation, num_test = split_sizes(
        num_examples, validation=validation, test=test, limit=limit
    )
    order = torch.randperm(num_examples, generator=torch.Generator().manual_seed(seed))
    if classes is not None:
        order = order[_place_in_class(classes[order]).argsort(stable=True)]
    if isinstance(test, Fold):
        places = torch.arange(num_examples)  # of each class one after the other
        if classes is not None:
            places = torch.empty_like(places).index_put_(
                (classes[order].argsort(stable=True),), places
            )
        is_test = test.holds(places)
        order = torch.cat([order[~is_test], order[is_test]])
    held_out = num_validation + num_test
    return (
        order[:num_train],
        order[num_examples - held_out : num_examples - num_test],
        order[num_examples - num_test :],
    )


def _place_in_class(classes: Tensor) -> Tensor:
    """How far along its own class each example stands, 0 to 1: (N,) int64 -> (N,) float64.

    Sorted by this, any window of the examples has the classes in proportion.
    """
    by_class = classes.argsort(stable=True)
    counts = torch.bincount(classes)
    starts = counts.cumsum(0) - counts
    grouped = classes[by_class]
    rank = torch.arange(len(classes)) - starts[grouped]
    # The first of each class comes before everything else, so that training sees every class.
    place = torch.where(rank == 0, 0.0, (rank.double() + 0.5) / counts[grouped])
    return torch.empty_like(place).index_put_((by_class,), place)


def split_of(inputs: Tensor, targets: Tensor | None, mapping: Any = None) -> Arrays:
    """A split of one input and, unless that is None, one target."""
    columns = {INPUTS: inputs} if targets is None else {INPUTS: inputs, TARGETS: targets}
    return Arrays(columns, mapping)


def split_arrays(
    name: str,
    inputs: Any,
    targets: Any,
    *,
    class_names: Sequence[str] = (),
    feature_names: Sequence[str] = (),
    columns: Mapping[str, Column] | None = None,
    validation: int | float = 0.1,
    test: Size = 0.1,
    split_seed: int = 0,
    limit: int | None = None,
    own: tuple[int, int] = (0, 0),
) -> Dataset:
    """A dataset from arrays of examples and of targets: all that a small source needs.

    `inputs`: images (N, C, H, W), of bytes or of floats from 0 to 1, or a table (N, F); NumPy's or
    torch's; or a mapping of several such by name. `targets`: classes 0, 1, ... (N,) if they are
    whole numbers, values to predict if they are floats, 0 and 1 in (N, C) for any number of classes
    at once; None: there is nothing to predict; or a mapping of several. `class_names` are the
    numbers themselves where none are given. `columns`: the spec of a column by its name, where its
    array does not say which it is, such as `Tokens`. `own`: the last examples are
    splits of their own, so many for validation (0: taken from the rest) and then so many the test.
    The other arguments are those of `split_indices`. Raises ConfigError, DataError.
    """
    given = dict(columns or {})
    specs: dict[str, Column] = {}
    stored: dict[str, Tensor] = {}
    ins = named_arrays(inputs, INPUTS)
    outs = {} if targets is None else named_arrays(targets, TARGETS)
    for key, values in ins.items():
        names = feature_names if key == next(iter(ins)) else ()
        spec, array = input_column(f"{name}: {key}", values, given.pop(key, None), names)
        specs[key], stored[key] = spec, array
    for key, values in outs.items():
        names = class_names if key == next(iter(outs)) else ()
        spec, array = target_column(f"{name}: {key}", values, given.pop(key, None), names)
        specs[key], stored[key] = spec, array
    if given:
        raise DataError(f"{name}: columns names {sorted(given)[0]!r}, but there is no such array")
    check_lengths(name, stored)
    classes = [stored[key] for key in outs if isinstance(specs[key], Classes)]
    num = len(next(iter(stored.values()))) - sum(own)
    parts = split_indices(
        num,
        validation=0 if own[0] else validation,
        test=0 if own[1] else test,
        seed=split_seed,
        classes=classes[0][:num] if classes else None,
        limit=limit,
    )
    middle = num + own[0]
    held_out = torch.arange(num, middle) if own[0] else parts[1]
    last = torch.arange(middle, middle + own[1]) if own[1] else parts[2]
    rows = Arrays(stored)
    made = make_dataset(
        name,
        train=rows.taken(parts[0]),
        validation=rows.taken(held_out),
        test=rows.taken(last),
        columns=specs,
        inputs=tuple(ins),
        targets=tuple(outs),
    )
    return replace(made, test_rows=parts[2]) if isinstance(test, Fold) else made


def make_dataset(
    name: str,
    *,
    train: Split,
    validation: Split,
    test: Split,
    target: Literal["classes", "values", "none"] = "none",
    class_names: Sequence[str] = (),
    columns: Mapping[str, Column] | None = None,
    inputs: Sequence[str] = (INPUTS,),
    targets: Sequence[str] = (),
    further: Mapping[str, Split] | None = None,
) -> Dataset:
    """Splits and what is to be known of them: mean and deviation are those of the training split.

    Of one input, images or a table, with `target` and `class_names`; or of any `columns`, of which
    a network is given `inputs` and predicts `targets`. `further`: other splits to be measured, as
    `Dataset` has them. Images are read in chunks, so memory-mapped ones stay on disk. Raises
    DataError where numbers are not finite.
    """
    if columns is None:
        columns = _columns(train, target, class_names)
        targets = (TARGETS,) if target != "none" else ()
    _check_names(name, columns, inputs, targets, train)
    known = {}
    for key, column in columns.items():
        told = name if key == inputs[0] else f"{name} {key}"
        known[key] = column.fitted(told, lambda key=key: all_of(train, key))  # type: ignore[misc]
    info = DataInfo(name, known, tuple(inputs), tuple(targets))
    return Dataset(info, train, validation, test, further or {})


def _check_names(
    name: str,
    columns: Mapping[str, Column],
    inputs: Sequence[str],
    targets: Sequence[str],
    train: Split,
) -> None:
    """Raise DataError for an input or a target without a column, or a column without examples."""
    stored = first_of(train, 1)
    for role, names, there in (
        ("inputs", inputs, columns),
        ("targets", targets, columns),
        ("columns", columns, stored),
    ):
        for key in names:
            if key not in there:
                what = "the training split lacks" if there is stored else "has no column"
                raise DataError(
                    f"{name}: {role} names {key!r}, which {what}{nearest(key, there)}\n"
                    f"  there is {', '.join(there)}"
                )


def _columns(train: Split, target: str, class_names: Sequence[str]) -> dict[str, Column]:
    """Of one input, and of a target of that kind."""
    stored = train.take(torch.arange(1))[INPUTS]
    columns: dict[str, Column] = {INPUTS: Image() if stored.dtype == torch.uint8 else Numbers()}
    if target == "classes":
        columns[TARGETS] = Classes(tuple(class_names))
    elif target == "values":
        columns[TARGETS] = Values()
    return columns
