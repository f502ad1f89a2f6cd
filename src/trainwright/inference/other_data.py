"""The data a trained task is measured on: its own, changed by a few keys, or another dataset."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial

import torch
from hydra import compose
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from trainwright.config.build import plain
from trainwright.config.compose import hydra_ready, register_schema
from trainwright.config.plan import data_section
from trainwright.config.text_keys import as_meant, parse
from trainwright.config.validation import unknown_key
from trainwright.data.columns import Categories, Classes, Column, Labels, Numbers, Tokens, Values
from trainwright.data.dataset import DataInfo, Dataset
from trainwright.data.examples import Batch, Split
from trainwright.errors import ConfigError
from trainwright.inference.trained import Trained
from trainwright.run.resume.same_data import is_changed
from trainwright.wording import nearest, printable

SPLITTING = {"data.validation", "data.test", "data.split_seed", "data.folds", "data.fold"}


def load_data(
    trained: Trained, overrides: Sequence[str], split: str = "test", *, with_targets: bool = True
) -> Dataset:
    """The dataset of the run, or the one that `data=...` and `data.key=...` describe.

    With `data=NAME` it is composed as for training; keys alone change the run's own section. The
    classes of another dataset are numbered, and the columns of a table ordered, as the run has
    learned them, by their names; image files are prepared as it has learned them. Raises
    ConfigError where it does not fit what was learned, or a key has no effect on that `split`,
    DataError where it cannot be loaded.
    """
    overrides = as_meant(overrides)
    for word in overrides:
        if word.partition("=")[0].startswith("data.augment"):
            raise ConfigError(
                f"{printable(word)} has no effect: only training examples are augmented\n"
                "  leave it out; tta=... measures views of each image"
            )
        if word.partition("=")[0] == "data.limit" and split != "train":
            raise ConfigError(
                f"{printable(word)} has no effect: it limits training examples, and split={split} "
                "is measured\n  leave it out, or measure those: split=train"
            )
    if any(word.split("=")[0] == "data" for word in overrides):
        config = _composed(overrides)
        allow = None  # all is typed, and nothing read from a run
    else:
        config = _changed(trained.plan.kept, overrides)
        allow = {*(trained.plan.allow or ()), *_typed_targets(overrides)}
    _prepare_alike(config.data, overrides, trained.info)
    section = data_section(plain(config.data), allow)
    learned = _looked_at(trained)
    is_other = any(word.partition("=")[0] == "data.path" for word in overrides)
    facts = {"learned": learned, "whole": is_other, "known": trained.info}
    found = section.build(Dataset, facts)
    learned = _looked_at(trained, found.info)
    if with_targets:
        return as_learned(found, learned)
    inputs = {name: learned.columns[name] for name in learned.inputs}
    dataset = as_learned(found, replace(learned, columns=inputs, targets=()))
    targets = {name: found.info.columns[name] for name in found.info.targets}
    info = replace(dataset.info, columns={**inputs, **targets}, targets=found.info.targets)
    return replace(dataset, info=replace(info, name=found.info.name))


def caution(trained: Trained, dataset: Dataset, overrides: Sequence[str]) -> str:
    """What a person should know who measures the run on this dataset; nothing, mostly.

    Of the run's own data other splits are drawn where files have come or gone, or a key says so.
    """
    is_own = {word.split("=")[0] for word in overrides} <= SPLITTING
    if not (is_own and is_changed(trained.metadata, dataset)):
        return ""
    return (
        f"{dataset.info.name} is not split as this run was trained on it: "
        "its training examples may be among these"
    )


def _typed_targets(overrides: Sequence[str]) -> Iterator[str]:
    for word in overrides:
        key, _, value = word.partition("=")
        if key.endswith("._target_"):
            yield value


def _composed(overrides: Sequence[str]) -> DictConfig:
    register_schema()
    with hydra_ready():
        config = compose("train", overrides=list(overrides))
    return DictConfig({"data": OmegaConf.to_container(config.data, resolve=True)})


def _changed(stored: DictConfig, overrides: Sequence[str]) -> DictConfig:
    config = DictConfig({"data": OmegaConf.to_container(stored.data)})
    for word in overrides:
        key, _, text = word.partition("=")
        if OmegaConf.select(config, key, default=_MISSING) is _MISSING:
            raise unknown_key(key, [str(name) for name in config.data if name != "_target_"])
        if "${" in text:
            raise ConfigError("data: write values out; ${...} is not resolved here")
        parsed = parse(text)
        if parsed is None or parsed.is_sweep_override():
            raise ConfigError(f"{printable(word)}: it must be one value, in quotes if need be")
        OmegaConf.update(config, key, parsed.value())
    return config


def _looked_at(trained: Trained, found: DataInfo | None = None) -> DataInfo:
    """What the task was trained with, without targets that it does not look at.

    They stay where the data found have just the same: a score's features may be learned from them.
    """
    info = trained.info
    targets = tuple(name for name in info.targets if name in trained.task.columns)
    if (
        found is not None
        and found.targets == info.targets
        and all(found.columns[name] == info.columns[name] for name in info.targets)
    ):
        targets = info.targets
    columns = {name: info.columns[name] for name in (*info.inputs, *targets)}
    return replace(info, columns=columns, targets=targets)


def _prepare_alike(data: DictConfig, overrides: Sequence[str], info: DataInfo) -> None:
    """Let a source that prepares files do it as in training, whatever its defaults are.

    Raises ConfigError where other settings are typed.
    """
    typed = {word.partition("=")[0] for word in overrides}
    for name in info.inputs:
        learned = info.columns[name].prepared_with
        if not learned.keys() <= set(data):
            continue  # it prepares in some way of its own, or has nothing to prepare
        for key, value in learned.items():
            if f"data.{key}" in typed and data[key] != value:
                raise ConfigError(
                    f"data.{key}={printable(str(data[key]))}: this run has learned {name} "
                    f"prepared with data.{key}={value}\n"
                    "  leave it out: those that it is measured on are too"
                )
            data[key] = value


def as_learned(dataset: Dataset, info: DataInfo) -> Dataset:
    """The dataset, called as it is, with the facts that the task was trained with.

    Raises ConfigError.
    """
    other = dataset.info
    _check_names("inputs", other, info)
    if any(other.columns[name].shape != info.columns[name].shape for name in info.inputs):
        raise ConfigError(
            f"data: examples of {other.name} are {other.sizes}, and this run has learned "
            f"{info.sizes}"
        )
    for name in info.inputs:
        kind, learned = other.columns[name].kind, info.columns[name].kind
        if kind != learned:
            raise ConfigError(
                f"data: {name} of {other.name} is {kind}, and this run has learned {learned}"
            )
    if info.targets and other.target != info.target:
        raise ConfigError(
            f"data: the targets of {other.name} are {other.target}, and this run has learned "
            f"{info.target}"
        )
    if info.targets:
        _check_names("targets", other, info)
    places = {}
    for name, column in info.columns.items():
        found = _renumbered(column, other.columns[name], other.name)
        if found is not None:
            places[name] = found
    splits = {name: _Fitted(split, places) if places else split
              for name, split in dataset.splits.items()}  # fmt: skip
    return dataset.changed(replace(info, name=other.name), splits)


def _check_names(role: str, other: DataInfo, info: DataInfo) -> None:
    names, learned = getattr(other, role), getattr(info, role)
    if set(names) != set(learned):
        raise ConfigError(
            f"data: the {role} of {other.name} are called {', '.join(names)}, and this run has "
            f"learned {', '.join(learned)}"
        )


Renumber = Callable[[Tensor], Tensor]


class _Fitted(Split):
    """A split of other data, with columns and numbers as the run has learned them."""

    def __init__(self, split: Split, changes: Mapping[str, Renumber]) -> None:
        self._split, self._changes, self.device = split, changes, split.device

    def __len__(self) -> int:
        return len(self._split)

    def take(self, indices: Tensor) -> Batch:
        taken = self._split.take(indices)
        return {name: self._changes.get(name, _as_it_is)(column) for name, column in taken.items()}


def _as_it_is(stored: Tensor) -> Tensor:
    return stored


def _renumbered(column: Column, other: Column, name: str) -> Renumber | None:
    """What makes of the other column, as stored, this one; None where they are stored alike."""
    match column, other:
        case (Numbers(names=names), Numbers(names=others)) | (
            Values(names=names),
            Values(names=others),
        ):
            places = _places(names, others, name)
            return None if places is None else partial(_columns, places)
        case Labels(names=names), Labels(names=others):
            numbers = _numbers_of(names, others, name)
            return None if numbers is None else partial(_spread, numbers, len(names))
        case Classes(names=names), Classes(names=others):
            numbers = _numbers_of(names, others, name)
            return None if numbers is None else partial(_looked_up, numbers)
        case Tokens(vocabulary=names), Tokens(vocabulary=others):
            numbers = _numbers_of(names, others, name, "token")
            return None if numbers is None else partial(_looked_up, numbers)
        case Categories(), Categories():
            return _categories(column, other, name)
    return None


def _columns(places: list[int], stored: Tensor) -> Tensor:
    return stored[:, places]


def _looked_up(numbers: Tensor, stored: Tensor) -> Tensor:
    return numbers[stored.long()]


def _spread(places: Tensor, width: int, stored: Tensor) -> Tensor:
    """(N, fewer) to (N, width); what the other data lack is 0."""
    return stored.new_zeros(len(stored), width).index_copy_(1, places, stored)


def _categories(column: Categories, other: Categories, name: str) -> Renumber | None:
    """The features in the order in which they were learned, and of each the options."""
    found = _places(column.names, other.names, name)
    places = list(range(len(column.options))) if found is None else found
    numbers = [
        _numbers_of(options, other.options[place], name, "category")
        for options, place in zip(column.options, places, strict=True)
    ]
    if column.names == other.names and all(number is None for number in numbers):
        return None

    def renumber(stored: Tensor) -> Tensor:
        features = zip((stored[:, place] for place in places), numbers, strict=True)
        return torch.stack([f if n is None else _looked_up(n, f) for f, n in features], 1)

    return renumber


def _places(names: Sequence[str], others: Sequence[str], data: str) -> list[int] | None:
    """Where the columns of a table are that were learned, by their names; None: the same."""
    if names == others or not (names and others):
        return None
    for name in names:
        if name not in others:
            raise ConfigError(
                f"data: {data} lacks the column {printable(name)}, which this run has "
                f"learned from{nearest(name, others)}"
            )
    return [others.index(name) for name in names]


def _numbers_of(
    names: Sequence[str], others: Sequence[str], data: str, what: str = "class"
) -> Tensor | None:
    """The learned number of each of the other classes, by their names; None: the same."""
    if names == others or not (names and others):
        return None
    unknown = [name for name in others if name not in names]
    if unknown:
        raise ConfigError(
            f"data: {data} has the {what} {printable(unknown[0])}, which this run has not "
            f"learned\n  it knows: {printable(', '.join(names[:20]))}"
        )
    return torch.tensor([names.index(name) for name in others])


_MISSING = object()
