"""Your own arrays: images, tables or time series from a file, with classes or values to predict."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from trainwright.data.arrays import as_tensor
from trainwright.data.columns import Column, Image, Numbers, Series
from trainwright.data.dataset import INPUTS, TARGETS, Dataset
from trainwright.data.sources.array_files import read_arrays
from trainwright.data.splits import Size, require_examples, split_arrays, split_sizes, test_or_fold
from trainwright.errors import ConfigError, DataError
from trainwright.files import typed_path
from trainwright.wording import nearest, printable

log = logging.getLogger(__name__)

# What inputs and targets are called, the likeliest first; in any case.
INPUT_NAMES = ("x", "inputs", "input", "data", "features", "images", "signals", "series")
TARGET_NAMES = ("y", "targets", "target", "labels", "label", "classes", "values")
# What splits of their own are called, after the name of the array.
OWN_SPLITS = (("_val", "_valid", "_validation", "_dev"), ("_test",))
MOST_NAMED = 8
FEW = 20  # examples, of which classes may well have one each

Kind = Literal["auto", "image", "table", "series"]


def load_arrays(
    *,
    path: str,
    inputs: str | list[str] | None = None,
    targets: str | list[str] | None = None,
    kind: Kind = "auto",
    target_kind: Literal["auto", "classes", "values"] = "auto",
    class_names: list[str] | None = None,
    validation: int | float = 0.1,
    test: int | float = 0.1,
    split_seed: int = 0,
    folds: int | None = None,
    fold: int = 0,
    limit: int | None = None,
) -> Dataset:
    """Arrays of N examples each from a .npz, .npy, .pt or .safetensors file, or .npy files.

    `inputs` and `targets` name arrays; null finds them by what they are usually called. Shapes tell
    kinds: (N, F) is a table, (N, T, C) time series, of bytes grey images (N, H, W), four dimensions
    are images. Beside x_train and y_train, x_test and y_test are the test split, x_val and y_val
    (or _valid, _validation) that for validation. Raises ConfigError for wrong names, DataError for
    what cannot be learned from.
    """
    held_out = test_or_fold(test, folds, fold)
    split_sizes(2**62, validation=validation, test=held_out, limit=limit)
    file = typed_path(path)
    arrays, own = _joined(read_arrays(file))
    if own[1] and folds:
        raise ConfigError(f"data.folds: {file.name} has a test split of its own; leave it out")
    chosen = _chosen("inputs", inputs, INPUT_NAMES, arrays)
    aims = [] if targets == "none" else _chosen("targets", targets, TARGET_NAMES, arrays)
    if both := set(chosen) & set(aims):
        raise ConfigError(f"data.targets: {printable(both.pop())} is an input already")
    dataset = dataset_of(
        file.stem,
        {INPUTS if len(chosen) == 1 else name: arrays[name] for name in chosen},
        {TARGETS if len(aims) == 1 else name: arrays[name] for name in aims},
        called={name: f"{file.name}: {array}" for name, array in _called(chosen, aims)},
        kind=kind,
        target_kind=target_kind,
        class_names=class_names or (),
        validation=validation,
        test=held_out,
        split_seed=split_seed,
        limit=limit,
        own=own,
    )
    require_examples(file.name, dataset.splits)
    return dataset


def _called(chosen: Sequence[str], aims: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Each array by the name of its column."""
    for alone, names in ((INPUTS, chosen), (TARGETS, aims)):
        yield from ((alone if len(names) == 1 else name, name) for name in names)


def dataset_of(
    name: str,
    inputs: Mapping[str, Any],
    targets: Mapping[str, Any],
    *,
    called: Mapping[str, str] | None = None,
    kind: Kind = "auto",
    target_kind: Literal["auto", "classes", "values"] = "auto",
    class_names: Sequence[str] = (),
    feature_names: Sequence[str] = (),
    validation: int | float = 0.1,
    test: Size = 0.1,
    split_seed: int = 0,
    limit: int | None = None,
    own: tuple[int, int] = (0, 0),
) -> Dataset:
    """The dataset of arrays by the names of their columns, as `load_arrays` reads them from files.

    `called`: how messages call them; `own`: the last so many are validation and test.
    Raises ConfigError, DataError.
    """
    called = called or {}
    ins: dict[str, Tensor] = {}
    outs: dict[str, Tensor] = {}
    columns: dict[str, Column] = {}
    for key, array in inputs.items():
        column, ins[key] = _input(called.get(key, key), array, kind)
        if column is not None:
            columns[key] = column
    names: Sequence[str] = class_names
    for key, array in targets.items():
        where = called.get(key, key)
        outs[key], found = _target(where, array, target_kind, bool(class_names))
        names = names or (found if len(targets) == 1 else ())
    return split_arrays(
        name,
        ins,
        outs or None,
        class_names=names,
        feature_names=feature_names,
        columns=columns,
        validation=validation,
        test=test,
        split_seed=split_seed,
        limit=limit,
        own=own,
    )


def _joined(arrays: Mapping[str, Any]) -> tuple[Mapping[str, Any], tuple[int, int]]:
    """With x for x_train, x_val and x_test one after the other, and how many the last two are."""
    stems = [name[:-6] for name in arrays if name.lower().endswith("_train")]
    parts = {stem: [arrays[f"{stem}_train"]] for stem in stems}
    own = [0, 0]
    for place, endings in enumerate(OWN_SPLITS):
        there = {s: arrays[s + e] for s in stems for e in endings if s + e in arrays}
        if not there or len(there) < len(stems):
            continue
        lengths = {len(array) for array in there.values()}
        if len(lengths) > 1:
            told = ", ".join(map(str, sorted(lengths)))
            raise DataError(f"the arrays ...{endings[0]} differ in length: {told}")
        own[place] = lengths.pop()
        for stem, array in there.items():
            parts[stem].append(array)
    if not any(own):
        return arrays, (0, 0)
    joined = {}
    for stem, several in parts.items():
        is_tensor = torch.is_tensor(several[0])
        try:
            joined[stem] = torch.cat(several) if is_tensor else np.concatenate(several)
        except (ValueError, RuntimeError, TypeError):
            shapes = " and ".join(str(tuple(array.shape)) for array in several)
            raise DataError(f"{stem}_train and the others: {shapes} do not go together") from None
    return joined, (own[0], own[1])


def _chosen(
    key: str, wanted: str | Sequence[str] | None, usual: Sequence[str], arrays: Mapping[str, Any]
) -> list[str]:
    """The names of arrays that are wanted, or the usual one that is there."""
    if wanted is not None:
        names = [wanted] if isinstance(wanted, str) else list(wanted)
        for name in names:
            if name not in arrays:
                close = nearest(name, list(arrays))
                raise ConfigError(
                    f"data.{key}={printable(name)}: there is no such array{close}\n{_there(arrays)}"
                )
        return names
    found = [name for word in usual for name in arrays if name.lower() == word]
    if not found:
        other = "\n  for data without any: data.targets=none" if key == "targets" else ""
        raise ConfigError(
            f"data.{key}: which array is it? none is called {', '.join(usual[:3])}, ...\n"
            f"{_there(arrays)}{other}"
        )
    return found[:1]


def _there(arrays: Mapping[str, Any]) -> str:
    """The arrays of a file with their shapes, for a message."""
    told = [f"{printable(n)[:40]} {tuple(a.shape)}" for n, a in list(arrays.items())[:MOST_NAMED]]
    return f"  there is {', '.join(told)}" + (", ..." if len(arrays) > MOST_NAMED else "")


def _input(where: str, array: Any, kind: Kind) -> tuple[Column | None, Tensor]:
    """The spec of an input where it must be said, and its examples."""
    tensor = as_tensor(where, array)
    if tensor.dim() == 0 or not len(tensor):
        raise DataError(f"{where}: it holds no examples")
    is_bytes = tensor.dtype == torch.uint8
    if kind == "series" or (kind == "auto" and tensor.dim() == 3 and not is_bytes):
        tensor = tensor[..., None] if tensor.dim() == 2 else tensor
        if tensor.dim() != 3 or 0 in tensor.shape:
            raise DataError(
                f"{where}: shape {tuple(tensor.shape)}; time series are (N, T, C): examples, steps,"
                " channels"
            )
        num_bad = int((~tensor.isfinite()).flatten(1).any(1).sum())
        if num_bad:
            raise DataError(f"{where}: {num_bad:,} series hold values that are not finite")
        if kind == "auto":
            log.info("%s: time series of %d steps and %d channels", where, *tensor.shape[1:])
        return Series(), tensor.float()
    if kind == "table":
        return Numbers(), tensor.flatten(1) if tensor.dim() > 1 else tensor
    return (Image() if kind == "image" else None), tensor


def _target(where: str, array: Any, kind: str, is_numbered: bool) -> tuple[Tensor, Sequence[str]]:
    """The examples of a target, and the names of its classes, if it has any by itself."""
    if isinstance(array, np.ndarray) and array.dtype.kind in "US":  # text
        words, places = np.unique(array.astype(str), return_inverse=True)
        return torch.from_numpy(places.reshape(-1)), [str(word) for word in words]
    tensor = as_tensor(where, array)
    if kind == "values":
        return tensor.double(), ()
    if kind == "classes" and tensor.is_floating_point() and not tensor.frac().any():
        tensor = tensor.long()
    if tensor.is_floating_point() or (tensor.dim() > 1 and tensor.shape[1:].numel() > 1):
        if kind == "classes" and tensor.is_floating_point():
            raise DataError(f"{where}: classes are whole numbers or words, and these are not")
        return tensor, ()
    tensor = tensor.flatten()
    found, places = torch.unique(tensor, return_inverse=True)
    if kind == "auto" and len(found) > max(FEW, len(tensor) // 2):
        raise DataError(
            f"{where}: {len(found):,} different whole numbers for {len(tensor):,} examples\n"
            "  values to predict: data.target_kind=values; classes they are: "
            "data.target_kind=classes"
        )
    if is_numbered or not len(found) or int(found[0]) == 0:
        return tensor.long(), ()
    return places, [str(number) for number in found.tolist()]  # classes 1, 2, 3, or -1 and 1
