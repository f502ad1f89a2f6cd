"""The data a trained task is measured on: its own, changed by a few keys, or another dataset."""

from collections.abc import Callable, Iterator, Mapping, Sequence

import torch
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from trainwright.config.build import plain
from trainwright.config.compose import register_schema
from trainwright.config.plan import data_section
from trainwright.config.text_keys import as_meant, parse
from trainwright.config.validation import unknown_key
from trainwright.config_folder import config_folder
from trainwright.data.columns import Classes, Column, Labels, Numbers
from trainwright.data.dataset import DataInfo, Dataset
from trainwright.data.examples import Batch, Split
from trainwright.data.sources.folder import load_folder, preparing
from trainwright.errors import ConfigError
from trainwright.inference.trained import Trained
from trainwright.run.resume.same_data import is_changed
from trainwright.wording import nearest, printable

IMAGE_FILES = f"{load_folder.__module__}.{load_folder.__name__}"
SPLITTING = {"data.validation", "data.test", "data.split_seed"}


def load_data(trained: Trained, overrides: Sequence[str]) -> Dataset:
    """The dataset of the run, or the one that `data=...` and `data.key=...` describe.

    With `data=NAME` it is composed as for training; keys alone change the run's own section. The
    classes of another dataset are numbered, and the columns of a table ordered, as the run has
    learned them, by their names; image files are prepared as it has learned them. Raises
    ConfigError where it does not fit what was learned, DataError where it cannot be loaded.
    """
    overrides = as_meant(overrides)
    if any(word.split("=")[0] == "data" for word in overrides):
        config = _composed(overrides)
        allow = None  # all is typed, and nothing read from a run
    else:
        config = _changed(trained.plan.kept, overrides)
        allow = {*(trained.plan.allow or ()), *_typed_targets(overrides)}
    _prepare_alike(config.data, overrides, trained.info)
    section = data_section(plain(config.data), allow)
    return _fitted(section.build(Dataset, {}), trained.info)


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
    with initialize_config_dir(str(config_folder()), version_base="1.3"):
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


def _prepare_alike(data: DictConfig, overrides: Sequence[str], info: DataInfo) -> None:
    """Let image files be prepared as in training, whatever the defaults are.

    Raises ConfigError where other settings are typed.
    """
    if data.get("_target_") != IMAGE_FILES or not info.is_image:
        return
    typed = {word.partition("=")[0] for word in overrides}
    for key, value in preparing(info.columns[info.inputs[0]]).items():
        if f"data.{key}" in typed and data[key] != value:
            raise ConfigError(
                f"data.{key}={printable(str(data[key]))}: this run has learned images prepared "
                f"with data.{key}={value}\n  leave it out: those that it is measured on are too"
            )
        data[key] = value


def _fitted(dataset: Dataset, info: DataInfo) -> Dataset:
    """The dataset with the facts that the task was trained with. Raises ConfigError."""
    other = dataset.info
    if other.input_shape != info.input_shape or set(other.inputs) != set(info.inputs):
        raise ConfigError(
            f"data: examples of {other.name} are {_sizes(other)}, and this run has learned "
            f"{_sizes(info)}"
        )
    if other.target != info.target:
        raise ConfigError(
            f"data: the targets of {other.name} are {other.target}, and this run has learned "
            f"{info.target}"
        )
    places = {}
    for name, column in info.columns.items():
        found = _renumbered(column, other.columns[name], other.name)
        if found is not None:
            places[name] = found
    splits = {name: _Fitted(split, places) if places else split
              for name, split in dataset.splits.items()}  # fmt: skip
    return dataset.changed(info, splits)


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
    if isinstance(column, Numbers) and isinstance(other, Numbers):
        return _reordered(column.names, other.names, name)
    if isinstance(column, Classes | Labels) and isinstance(other, Classes | Labels):
        number = _numbers_of(column.names, other.names, name)
        return None if number is None else lambda stored: number[stored]
    return None


def _reordered(names: Sequence[str], others: Sequence[str], data: str) -> Renumber | None:
    """The columns of a table in the order in which they were learned, by their names."""
    if names == others or not (names and others):
        return None
    for name in names:
        if name not in others:
            raise ConfigError(
                f"data: {data} lacks the column {printable(name)}, which this run has "
                f"learned from{nearest(name, others)}"
            )
    places = [others.index(name) for name in names]
    return lambda stored: stored[:, places]


def _numbers_of(names: Sequence[str], others: Sequence[str], data: str) -> Tensor | None:
    """The learned number of each of the other classes, by their names; None: the same."""
    if names == others:
        return None
    unknown = [name for name in others if name not in names]
    if unknown:
        raise ConfigError(
            f"data: {data} has the class {unknown[0]}, which this run has not learned\n"
            f"  its classes are: {', '.join(names[:20])}"
        )
    return torch.tensor([names.index(name) for name in others])


def _sizes(info: DataInfo) -> str:
    return "x".join(map(str, info.input_shape))


_MISSING = object()
