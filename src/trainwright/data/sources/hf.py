"""Hugging Face datasets: a saved folder, Parquet files, or a name where there is a network."""

import importlib
import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from trainwright.data.arrays import target_column
from trainwright.data.columns import Column, Image
from trainwright.data.dataset import INPUTS, TARGETS, DataInfo, Dataset
from trainwright.data.examples import Arrays
from trainwright.data.images.decode import BadImageError, Fit, decode_image
from trainwright.data.sources.fetch import data_root
from trainwright.data.sources.table import load_table
from trainwright.data.splits import (
    Fold,
    Size,
    make_dataset,
    require_examples,
    split_indices,
    split_sizes,
    test_or_fold,
)
from trainwright.errors import ConfigError, DataError, DiskError, require_extra
from trainwright.files import typed_path
from trainwright.wording import nearest, printable

VALIDATION = ("validation", "valid", "dev")  # what a split for it is called


def load_hf(
    *,
    path: str,
    name: str | None = None,
    target: str | None = None,
    image: str | None = None,
    size: int = 32,
    channels: Literal[1, 3] = 3,
    fit: Fit = "crop",
    validation: int | float = 0.1,
    test: int | float = 0.1,
    split_seed: int = 0,
    text: str | None = None,
    tokenizer: str = "bytes",
    vocab_size: int = 4096,
    context: int = 256,
    folds: int | None = None,
    fold: int = 0,
    limit: int | None = None,
    baselines: bool = True,
    root: str | None = None,
    learned: DataInfo | None = None,
    whole: bool = False,
    known: DataInfo | None = None,
    reads_tokens: bool = False,
) -> Dataset:
    """Images with a class or value each, or else rows, as `load_table` takes them.

    `target`, `image`: columns; None: the only one of class labels, or of images. Images keep the
    splits that they come with, and are held in memory, (N, C, S, S) uint8; what lacks a validation
    or test split gives some of its training examples. Rows are those of the training split.

    Raises ConfigError for wrong settings, DataError for what cannot be learned from.
    """
    held_out = test_or_fold(test, folds, fold)
    split_sizes(2**62, validation=validation, test=held_out, limit=limit)
    splits = _splits(path, name)
    train = splits["train"]
    kinds = {key: type(feature).__name__ for key, feature in train.features.items()}
    target = _named("target", target, kinds, "ClassLabel")
    images = [key for key, kind in kinds.items() if kind == "Image"]
    if image is None and not images:
        table = _as_table(train, root)
        return load_table(
            path=str(table), target=target, validation=validation, test=test,
            split_seed=split_seed, folds=folds, fold=fold, limit=limit, baselines=baselines,
            text=None if text is None else [text], tokenizer=tokenizer, vocab_size=vocab_size,
            context=context, root=root, learned=learned, whole=whole, known=known,
            reads_tokens=reads_tokens,
        )  # fmt: skip
    image = _named("image", image, kinds, "Image")
    names = getattr(train.features[target], "names", None)
    if kinds[target] == "Value" and train.features[target].dtype in ("string", "large_string"):
        names = sorted(set(train[target]))
    parts = _carved(splits, target, names, validation, held_out, split_seed, limit)
    read = {
        key: _read(rows, image, target, names, size, channels, fit) for key, rows in parts.items()
    }
    columns: dict[str, Column] = {INPUTS: Image(fit=fit)}
    columns[TARGETS], _ = target_column(target, read["train"][TARGETS], class_names=names or ())
    found = {key: Arrays(arrays) for key, arrays in read.items()}
    require_examples(path, found)
    return make_dataset(Path(path).name, columns=columns, targets=(TARGETS,), **found)  # type: ignore[arg-type]


def _splits(path: str, name: str | None) -> Mapping[str, Any]:
    """The splits by our names for them."""
    require_extra("data=hf", "datasets", extra="hf")
    datasets: Any = importlib.import_module("datasets")

    datasets.disable_progress_bars()
    place = typed_path(path)
    try:
        if (place / "dataset_dict.json").is_file() or (place / "state.json").is_file():
            found: Any = datasets.load_from_disk(str(place))
        elif place.is_file() or any(place.glob("**/*.parquet")):
            files = str(place) if place.is_file() else None
            found = datasets.load_dataset(
                "parquet", data_files=files, data_dir=None if files else str(place)
            )
        elif place.exists():
            raise DataError(f"{printable(path)} holds no saved dataset and no Parquet files")
        else:
            found = datasets.load_dataset(path, name)
    except DataError:
        raise
    except Exception as error:  # of many packages beneath
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise DataError(
            f"data.path={printable(path)}: no dataset can be read there\n  {printable(first)[:150]}"
        ) from error
    splits = found if isinstance(found, dict) else {"train": found}
    known = {"validation" if key in VALIDATION else key: rows for key, rows in splits.items()}
    if "train" not in known:
        raise DataError(
            f"{printable(path)} has no training split, but {', '.join(map(str, splits))}"
        )
    return {key: known[key] for key in ("train", "validation", "test") if key in known}


def _named(key: str, wanted: str | None, kinds: Mapping[str, str], kind: str) -> str:
    """A column that is wanted, or else the only one of a kind."""
    there = ", ".join(f"{printable(name)[:30]} ({kind})" for name, kind in list(kinds.items())[:12])
    if wanted is None:
        found = [name for name, of in kinds.items() if of == kind]
        if len(found) != 1:
            raise ConfigError(f"data.{key}: name a column; there is {there}")
        return found[0]
    if wanted not in kinds:
        close = nearest(wanted, list(kinds))
        raise ConfigError(
            f"data.{key}={printable(wanted)}: no such column{close}\n  there is {there}"
        )
    return wanted


def _as_table(rows: Any, root: str | None) -> Path:
    """Rows as a Parquet file, with classes by their names."""
    datasets: Any = importlib.import_module("datasets")

    for key, feature in rows.features.items():
        if isinstance(feature, datasets.ClassLabel):
            words = [*feature.names, None]  # the last for -1, which is none
            texts = [words[-1 if place is None else place] for place in rows[key]]
            rows = rows.remove_columns(key).add_column(key, texts)
    file = data_root(root) / "hf-cache" / f"{rows._fingerprint}.parquet"
    if not file.exists():
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            part = file.with_suffix(f".{os.getpid()}")
            rows.to_parquet(str(part))
            part.replace(file)
        except OSError as error:
            raise DiskError(
                f"the rows cannot be kept in {file}: {error.strerror or error}"
            ) from error
    return file


def _carved(
    splits: Mapping[str, Any],
    target: str,
    names: list[str] | None,
    validation: int | float,
    test: Size,
    seed: int,
    limit: int | None,
) -> dict[str, Any]:
    """Three splits: those that there are, and the others taken from training."""
    if isinstance(test, Fold) and "test" in splits:
        raise ConfigError(
            "data.folds: the dataset has a test split of its own; leave data.folds out"
        )
    train = splits["train"]
    classes = _targets(train[target], names) if names else None
    chosen = split_indices(
        len(train),
        validation=0 if "validation" in splits else validation,
        test=0 if "test" in splits else test,
        seed=seed,
        classes=classes,
        limit=limit,
    )
    carved = dict(
        zip(
            ("train", "validation", "test"), (train.select(c.tolist()) for c in chosen), strict=True
        )
    )
    return carved | {key: rows for key, rows in splits.items() if key != "train"}


def _read(
    rows: Any, image: str, target: str, names: list[str] | None, size: int, channels: int, fit: Fit
) -> dict[str, Tensor]:
    """Decoded images, and targets."""
    datasets: Any = importlib.import_module("datasets")

    stored = np.empty((len(rows), channels, size, size), dtype=np.uint8)
    raw = rows.select_columns([image]).cast_column(image, datasets.Image(decode=False))
    for place, row in enumerate(raw):
        cell = row[image] or {}
        source: Any = (
            io.BytesIO(cell["bytes"]) if cell.get("bytes") else Path(cell.get("path") or "")
        )
        try:
            stored[place] = decode_image(source, size=size, channels=channels, fit=fit)
        except BadImageError as error:
            raise DataError(f"data.image={image}: row {place + 1}: {error}") from error
    return {INPUTS: torch.from_numpy(stored), TARGETS: _targets(rows[target], names)}


def _targets(cells: Any, names: list[str] | None) -> Tensor:
    """Classes by their places, or values. Raises DataError for what is missing."""
    values = list(cells)
    places = {name: place for place, name in enumerate(names or ())}
    if names:
        values = [places.get(value, value) for value in values]
    bad = next(
        (i for i, v in enumerate(values) if not isinstance(v, int | float) or (names and v < 0)),
        None,
    )
    if bad is not None:
        raise DataError(f"data.target: row {bad + 1} has none: {printable(str(values[bad]))[:30]}")
    return torch.tensor(values, dtype=torch.long if names else None)
