"""Arrays of a user's own, NumPy's or torch's, as the columns that they plainly are."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from trainwright.data.columns import Classes, Column, Image, Labels, Numbers, Values
from trainwright.data.statistics import check_finite
from trainwright.errors import DataError

MOST_CHANNELS = 4  # of what is taken to be channels last: grey, colour, with transparency


def as_tensor(where: str, values: Any) -> Tensor:
    """An array as a tensor on the CPU. Raises DataError that names the argument, `where`."""
    try:
        tensor = torch.as_tensor(values if isinstance(values, Tensor) else np.asarray(values))
    except (TypeError, ValueError) as error:
        raise DataError(
            f"{where}: {type(values).__name__} is not an array of numbers ({error})\n"
            "  give a NumPy array or a torch tensor"
        ) from None
    if tensor.is_complex():
        raise DataError(
            f"{where}: complex numbers; give real ones, such as real and imaginary parts"
        )
    return tensor.detach().cpu()


def input_column(
    where: str, values: Any, column: Column | None = None, names: Sequence[str] = ()
) -> tuple[Column, Tensor]:
    """The spec of an input and its examples as stored.

    Of four dimensions, or three of bytes: images (N, C, H, W), (N, H, W, C) or (N, H, W). Of two,
    or one: numbers. `column`: the spec, where it is given. Raises DataError.
    """
    tensor = as_tensor(where, values)
    if isinstance(column, Image) or (column is None and tensor.dim() in (3, 4)):
        return column or Image(), _images(where, tensor)
    if column is not None and not isinstance(column, Numbers):
        return column, tensor
    if tensor.dim() == 1:
        tensor = tensor[:, None]
    if tensor.dim() != 2:
        raise DataError(
            f"{where}: shape {tuple(tensor.shape)}; right would be (N, F) numbers, or images "
            "(N, C, H, W)"
        )
    if names and len(names) != tensor.shape[1]:
        raise DataError(
            f"feature_names: {len(names)} names for {tensor.shape[1]} columns of {where}"
        )
    table = tensor.float()
    check_finite(where, table, names)
    return column or Numbers(names=tuple(map(str, names))), table


def _images(where: str, images: Tensor) -> Tensor:
    """(N, C, H, W) uint8."""
    if images.dim() == 3:
        images = images[:, None]  # (N, H, W) -> (N, 1, H, W)
    if images.dim() != 4:
        raise DataError(f"{where}: shape {tuple(images.shape)}; right would be images (N, C, H, W)")
    is_last = images.shape[3] <= MOST_CHANNELS < min(images.shape[1:3])
    if is_last:
        images = images.permute(0, 3, 1, 2).contiguous()  # (N, H, W, C) -> (N, C, H, W)
    if images.dtype == torch.uint8:
        return images
    numbers = images.double()
    if not numbers.isfinite().all():
        raise DataError(f"{where}: pixels that are not finite (NaN or infinite)")
    low, high = numbers.aminmax()
    if low < 0 or high > 255:
        raise DataError(
            f"{where}: pixels from {float(low):g} to {float(high):g}\n"
            "  right would be 0 to 255 (uint8), or 0 to 1 (floats): scale them so"
        )
    # Floats of at most 1 are shares of white. Pixels are kept in eight bits, like those of files.
    if images.is_floating_point() and high <= 1:
        numbers = numbers * 255
    return numbers.round().to(torch.uint8)


def target_column(
    where: str, values: Any, column: Column | None = None, class_names: Sequence[str] = ()
) -> tuple[Column, Tensor]:
    """The spec of a target and its examples as stored.

    Whole numbers (N,) are classes; booleans or 0 and 1 in (N, C) are labels, any number of which
    may hold at once; floats (N,) or (N, K) are values. Raises DataError.
    """
    tensor = as_tensor(where, values)
    if tensor.dim() == 2 and tensor.shape[1] == 1:
        tensor = tensor[:, 0]  # a column of a table
    if tensor.dim() not in (1, 2) and column is None:
        raise DataError(f"{where}: shape {tuple(tensor.shape)}; right would be (N,)")
    names = tuple(map(str, class_names))
    if tensor.is_floating_point() and not isinstance(column, Classes | Labels):
        several = tuple(names or map(str, range(tensor.shape[1]))) if tensor.dim() == 2 else ()
        check_finite(where, tensor.reshape(len(tensor), -1), several)
        return column or Values(names=several), tensor.float()
    if isinstance(column, Labels) or (column is None and tensor.dim() == 2):
        return _labels(where, tensor, column or Labels(names))
    if column is not None and not isinstance(column, Classes):
        return column, tensor
    return _classes(where, tensor.long(), column or Classes(names))


def _labels(where: str, tensor: Tensor, column: Column) -> tuple[Column, Tensor]:
    assert isinstance(column, Labels)
    if tensor.dim() != 2 or not ((tensor == 0) | (tensor == 1)).all():
        raise DataError(
            f"{where}: several labels per example are (N, C) of 0 and 1, and these are not\n"
            "  for one class per example: whole numbers (N,)"
        )
    names = column.names or tuple(map(str, range(tensor.shape[1])))
    if len(names) != tensor.shape[1]:
        raise DataError(f"{where}: {tensor.shape[1]} columns, and {len(names)} class names")
    return Labels(names), tensor.to(torch.uint8)


def _classes(where: str, classes: Tensor, column: Classes) -> tuple[Column, Tensor]:
    num_classes = int(classes.max()) + 1 if len(classes) else 0
    names = column.names or tuple(map(str, range(num_classes)))
    if len(classes) and (int(classes.min()) < 0 or num_classes > len(names)):
        raise DataError(
            f"{where}: from {int(classes.min())} to {num_classes - 1}\n"
            f"  classes are numbered from 0; there are {len(names)} class names"
        )
    return Classes(names), classes


def named_arrays(values: Any, name: str) -> Mapping[str, Any]:
    """A mapping of arrays, or one array by that name. Raises DataError for no array."""
    if not isinstance(values, Mapping):
        return {name: values}
    if not values:
        raise DataError(f"{name}: an empty mapping; give an array, or a mapping of arrays by name")
    return values


def check_lengths(name: str, stored: Mapping[str, Tensor]) -> None:
    """Raise DataError where arrays differ in their number of rows."""
    lengths = {key: len(array) for key, array in stored.items()}
    if len(set(lengths.values())) > 1:
        told = ", ".join(f"{length:,} of {key}" for key, length in lengths.items())
        raise DataError(f"{name}: {told}\n  each needs the same number of rows, one per example")
