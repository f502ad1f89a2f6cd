"""Your own arrays: images, tables or time series from a file, with classes or values to predict."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from trainwright.data.arrays import as_tensor
from trainwright.data.columns import Column, Image, Numbers, Series
from trainwright.data.dataset import INPUTS, TARGETS, Dataset
from trainwright.data.sources.array_files import read_arrays
from trainwright.data.splits import require_examples, split_arrays, split_sizes, test_or_fold
from trainwright.errors import ConfigError, DataError
from trainwright.files import typed_path
from trainwright.wording import nearest, printable

log = logging.getLogger(__name__)

# What inputs and targets are called, the likeliest first; in any case.
INPUT_NAMES = ("x", "inputs", "input", "data", "features", "images", "signals", "series")
TARGET_NAMES = ("y", "targets", "target", "labels", "label", "classes", "values")
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
    are images. x_train, y_train, x_test and y_test bring a test split of their own. Raises
    ConfigError for wrong names, DataError for what cannot be learned from.
    """
    held_out = test_or_fold(test, folds, fold)
    split_sizes(2**62, validation=validation, test=held_out, limit=limit)
    file = typed_path(path)
    arrays, num_tests = _joined(read_arrays(file))
    if num_tests and folds:
        raise ConfigError(f"data.folds: {file.name} has a test split of its own; leave it out")
    chosen = _chosen("inputs", inputs, INPUT_NAMES, arrays)
    aims = [] if targets == "none" else _chosen("targets", targets, TARGET_NAMES, arrays)
    if both := set(chosen) & set(aims):
        raise ConfigError(f"data.targets: {printable(both.pop())} is an input already")
    ins, columns = {}, {}
    for name in chosen:
        key = INPUTS if len(chosen) == 1 else name
        column, ins[key] = _input(f"{file.name}: {name}", arrays[name], kind)
        if column is not None:
            columns[key] = column
    outs: dict[str, Tensor] = {}
    names: Sequence[str] = class_names or ()
    for name in aims:
        key = TARGETS if len(aims) == 1 else name
        where = f"{file.name}: {name}"
        outs[key], found = _target(where, arrays[name], target_kind, bool(class_names))
        names = names or (found if len(aims) == 1 else ())
    dataset = split_arrays(
        file.stem,
        ins,
        outs or None,
        class_names=names,
        columns=columns,
        validation=validation,
        test=held_out,
        split_seed=split_seed,
        limit=limit,
        num_tests=num_tests,
    )
    require_examples(file.name, dataset.splits)
    return dataset


def _joined(arrays: Mapping[str, Any]) -> tuple[Mapping[str, Any], int]:
    """With x for x_train and x_test one after the other, and how many of it are the test."""
    stems = [name[:-6] for name in arrays if name.lower().endswith("_train")]
    pairs = {stem: [arrays[f"{stem}_train"], arrays.get(f"{stem}_test")] for stem in stems}
    if not pairs or any(test is None for _, test in pairs.values()):
        return arrays, 0
    joined = {}
    for stem, both in pairs.items():
        try:
            joined[stem] = torch.cat(both) if torch.is_tensor(both[0]) else np.concatenate(both)
        except (ValueError, RuntimeError, TypeError):
            shapes = " and ".join(str(tuple(array.shape)) for array in both)
            raise DataError(f"{stem}_train and {stem}_test: {shapes} do not go together") from None
    lengths = {len(test) for _, test in pairs.values()}
    if len(lengths) > 1:
        raise DataError(f"the test arrays differ in length: {', '.join(map(str, sorted(lengths)))}")
    return joined, lengths.pop()


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
