"""The table of runs, each of which can be asked for more."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, overload

from trainwright.api.failures import as_told
from trainwright.api.results.history import data_frame
from trainwright.api.results.notebook import html_table, html_text
from trainwright.api.run import Run
from trainwright.cli.commands.inspect.list import HEADER, Chosen, cells, choose, lines_of, row
from trainwright.files import typed_path
from trainwright.runs.find import DEFAULT_ROOT


class Runs(Sequence[Run]):
    """Runs in the order of the table; it prints itself as `runs list` does."""

    def __init__(self, chosen: Chosen, root: Path) -> None:
        self._chosen, self._root = chosen, root

    @overload
    def __getitem__(self, index: int) -> Run: ...
    @overload
    def __getitem__(self, index: slice) -> "Runs": ...
    def __getitem__(self, index: int | slice) -> "Run | Runs":
        if isinstance(index, slice):
            shown = self._chosen.runs[index]
            chosen = Chosen(shown, self._chosen.num_all, self._chosen.extra, self._chosen.why_none)
            return Runs(chosen, self._root)
        return self._run(index)

    def __len__(self) -> int:
        return len(self._chosen.runs)

    def __iter__(self) -> Iterator[Run]:
        return map(self._run, range(len(self)))

    @property
    def rows(self) -> list[dict[str, Any]]:
        """What `runs list --json` says of each."""
        return [row(record, self._chosen.extra) for record in self._chosen.runs]

    def to_pandas(self) -> Any:
        """The rows as a pandas table. Raises ConfigError where pandas is not installed."""
        rows = self.rows
        return data_frame({name: [row[name] for row in rows] for name in (rows[0] if rows else ())})

    def _run(self, index: int) -> Run:
        record = self._chosen.runs[index]
        is_below = record.path.is_relative_to(self._root)
        return Run(record.path, self._root if is_below else record.path.parent)

    def __repr__(self) -> str:
        return "\n".join(lines_of(self._chosen))

    def _repr_html_(self) -> str:
        chosen = self._chosen
        if not chosen.runs:
            return html_text(chosen.why_none)
        said = f"{len(self):,} of {chosen.num_all:,} runs" if len(self) < chosen.num_all else ""
        rows = [cells(record, chosen.extra) for record in chosen.runs]
        return html_table([*HEADER, *chosen.extra], rows, said)


def runs(
    *filters: str,
    sort: str | None = None,
    columns: Sequence[str] = (),
    root: str | Path = DEFAULT_ROOT,
) -> Runs:
    """The runs that pass all filters, such as "model=gan" and "validation/accuracy>0.98".

    The newest come first, or by `sort`: the best by a metric, or any key. `columns`: more keys that
    are shown. Raises ConfigError for a filter that is none, or a key that no run has.
    """
    where = typed_path(str(root))
    with as_told(filters):
        return Runs(choose(filters, where, sort=sort, columns=columns), where)
