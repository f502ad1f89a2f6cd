"""What a run has logged, step by step, as columns."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainwright.api.results.notebook import html_table
from trainwright.errors import ConfigError
from trainwright.wording import format_number, nearest

FEW = 10  # rows, of which a notebook shows so many


class Columns(Mapping[str, NDArray[Any]]):
    """Columns of equal length by name, each an array; NaN where a row has no such number."""

    def __init__(self, rows: Sequence[Mapping[str, Any]]) -> None:
        names = dict.fromkeys(name for row in rows for name in row)
        self._columns = {name: _array([row.get(name) for row in rows]) for name in names}
        self._num_rows = len(rows)

    def __getitem__(self, name: str) -> NDArray[Any]:
        if name not in self._columns:
            raise KeyError(f"{name}: there is no such column{nearest(name, list(self))}")
        return self._columns[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    def __len__(self) -> int:
        return len(self._columns)

    @property
    def num_rows(self) -> int:
        """How long each column is."""
        return self._num_rows

    def to_pandas(self) -> Any:
        """The same as a pandas table. Raises ConfigError where pandas is not installed."""
        return data_frame(self._columns)

    def __repr__(self) -> str:
        return f"{self._num_rows:,} rows of {', '.join(self._columns) or 'nothing'}"

    def _repr_html_(self) -> str:
        last = range(max(0, self._num_rows - FEW), self._num_rows)
        rows = [[_text(column[i]) for column in self._columns.values()] for i in last]
        return html_table(list(self._columns), rows, f"The last of {self._num_rows:,} rows.")


def data_frame(columns: Mapping[str, Any]) -> Any:
    """A pandas table. Raises ConfigError where pandas is not installed."""
    try:
        import pandas  # type: ignore[import-untyped, unused-ignore]
    except ImportError:
        raise ConfigError(
            "to_pandas needs pandas, which is not installed\n  pip install pandas"
        ) from None
    return pandas.DataFrame(dict(columns))


def _array(values: Sequence[Any]) -> NDArray[Any]:
    if any(isinstance(value, str) for value in values):
        return np.array(["" if value is None else value for value in values], dtype=object)
    if all(type(value) is int for value in values):
        return np.array(values, dtype=np.int64)
    return np.array([math.nan if value is None else value for value in values], dtype=np.float64)


def _text(value: Any) -> str:
    if isinstance(value, float | np.floating):
        return "" if math.isnan(value) else format_number(float(value))
    return str(value)
