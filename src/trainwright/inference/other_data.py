"""The data a trained task is measured on: its own, changed by a few keys, or another dataset."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf

from trainwright.config.build import build, section
from trainwright.config.compose import register_schema
from trainwright.config.text_keys import as_meant, parse
from trainwright.config.validation import unknown_key
from trainwright.config_folder import config_folder
from trainwright.data.dataset import DataInfo, Dataset, Split
from trainwright.errors import ConfigError
from trainwright.inference.trained import Trained
from trainwright.run.resume.same_data import is_changed
from trainwright.wording import nearest, printable

SPLITTING = {"data.validation", "data.test", "data.split_seed"}


def load_data(trained: Trained, overrides: Sequence[str]) -> Dataset:
    """The dataset of the run, or the one that `data=...` and `data.key=...` describe.

    With `data=NAME` it is composed as for training; keys alone change the run's own section. The
    classes of another dataset are numbered, and the columns of a table ordered, as the run has
    learned them, by their names. Raises ConfigError where it does not fit what was learned,
    DataError where it cannot be loaded.
    """
    overrides = as_meant(overrides)
    if any(word.split("=")[0] == "data" for word in overrides):
        config = _composed(overrides)
        allow = None  # all is typed, and nothing read from a run
    else:
        config = _changed(trained.config, overrides)
        allow = trained.allow.union(_typed_targets(overrides))
    node, _ = section(config, "data", "augment")
    return _fitted(build(Dataset, node, key="data", facts={}, allow=allow), trained.info)


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


def _fitted(dataset: Dataset, info: DataInfo) -> Dataset:
    """The dataset with the facts that the task was trained with. Raises ConfigError."""
    other = dataset.info
    if other.input_shape != info.input_shape:
        raise ConfigError(
            f"data: examples of {other.name} are {_sizes(other)}, and this run has learned "
            f"{_sizes(info)}" + ("\n  a folder of images is brought to a size by data.size=... and "
            "data.channels=..." if info.is_image and other.is_image else "")
        )  # fmt: skip
    if other.target != info.target:
        raise ConfigError(
            f"data: the targets of {other.name} are {other.target}, and this run has learned "
            f"{info.target}"
        )
    splits = [
        _numbered(_in_columns(split, other, info), other, info)
        for split in (dataset.train, dataset.validation, dataset.test)
    ]
    return Dataset(info, *splits)


def _in_columns(split: Split, other: DataInfo, info: DataInfo) -> Split:
    """With the columns of a table in the order in which they were learned, by their names."""
    if other.feature_names == info.feature_names or not (
        other.feature_names and info.feature_names
    ):
        return split
    for name in info.feature_names:
        if name not in other.feature_names:
            raise ConfigError(
                f"data: {other.name} lacks the column {printable(name)}, which this run has "
                f"learned from{nearest(name, other.feature_names)}"
            )
    places = [other.feature_names.index(name) for name in info.feature_names]
    return replace(split, inputs=split.inputs[:, places], mapping=None)


def _numbered(split: Split, other: DataInfo, info: DataInfo) -> Split:
    """With targets numbered as the classes that were learned, by their names."""
    if other.class_names == info.class_names or split.targets is None:
        return split
    unknown = [name for name in other.class_names if name not in info.class_names]
    if unknown:
        raise ConfigError(
            f"data: {other.name} has the class {unknown[0]}, which this run has not learned\n"
            f"  its classes are: {', '.join(info.class_names[:20])}"
        )
    number = torch.tensor([info.class_names.index(name) for name in other.class_names])
    return replace(split, targets=number[split.targets])


def _sizes(info: DataInfo) -> str:
    return "x".join(map(str, info.input_shape))


_MISSING = object()
