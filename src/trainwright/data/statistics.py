"""Mean and deviation of what is trained on."""

from collections.abc import Sequence

import torch
from torch import Tensor

from trainwright.errors import DataError
from trainwright.wording import printable

SMALLEST_IMAGE_STD = 1 / 255  # one grey level: a constant channel is centred and left in scale
CHUNK_VALUES = 2**18  # so many values of images are looked at in one go: they fit into a cache


def image_statistics(images: Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel of (N, C, H, W) uint8, on the scale 0..1.

    Sums of whole numbers, which a float64 holds exactly in any order: the same on every machine and
    number of threads.
    """
    num_channels = images.shape[1]
    sums, squares = [0] * num_channels, [0] * num_channels
    for chunk in torch.split(images, max(1, CHUNK_VALUES // images[0].numel())):
        for channel in range(num_channels):
            values = chunk[:, channel].flatten().double()
            sums[channel] += int(values.sum())
            squares[channel] += int(values.dot(values))
    n = images.numel() // num_channels
    mean = [s / n / 255 for s in sums]
    variances = [(q * n - s * s) / n**2 for s, q in zip(sums, squares, strict=True)]
    return tuple(mean), tuple(max(v**0.5 / 255, SMALLEST_IMAGE_STD) for v in variances)


def feature_statistics(
    name: str, table: Tensor, names: Sequence[str] = ()
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each column of (N, F) numbers; 1 for a constant column.

    Raises DataError as `check_finite` does.
    """
    check_finite(name, table, names)
    columns = table.double()
    mean, std = columns.mean(0), columns.std(0, correction=0)
    std = torch.where(std > 1e-6 * mean.abs(), std, 1.0)
    return tuple(mean.tolist()), tuple(std.tolist())


def check_finite(name: str, table: Tensor, names: Sequence[str] = ()) -> None:
    """Raise DataError that names the first rows and columns (`names`) with a number that is none.

    The rows are those of `table`: data that are still to be shuffled are checked before.
    """
    bad = (~table.isfinite()).nonzero()
    if len(bad):
        told = [f"row {i + 1}, {_column(j, names)}" for i, j in bad[:3].tolist()]
        more = f" and {len(bad) - len(told):,} more" if len(bad) > len(told) else ""
        raise DataError(
            f"{name} holds values that are not finite (NaN or infinite)\n"
            f"  in {'; '.join(told)}{more}\n  leave these rows out, or fill them in"
        )


def _column(place: int, names: Sequence[str]) -> str:
    return f"column {printable(names[place])[:40]}" if names else f"column {place + 1}"
