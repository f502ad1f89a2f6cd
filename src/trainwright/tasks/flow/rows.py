"""Rows of a table that were made up, in the units of the table."""

from collections.abc import Sequence

from torch import Tensor

from trainwright.data.columns import Numbers
from trainwright.tasks.show import Table


def table_of(points: Tensor, column: Numbers, classes: Sequence[str] | None) -> Table:
    """Points (N, F + flags) as a network sees them; a cell that is flagged as missing is empty."""
    num = len(column.mean)
    scale, shift = column.numbers.tensors(2, points.device)
    values = (points[:, :num] - shift) / scale
    names = column.names or tuple(f"x{number + 1}" for number in range(num))
    rows = [[f"{value:.6g}" for value in row] for row in values.tolist()]
    for flag, place in enumerate(column.flagged):
        for row, is_missing in zip(rows, points[:, num + flag] > 0.5, strict=True):
            row[place] = "" if is_missing else row[place]
    if classes is None:
        return Table(names, rows)
    return Table((*names, "class"), [[*r, told] for r, told in zip(rows, classes, strict=True)])
