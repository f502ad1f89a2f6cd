"""A table as rows of text: CSV, TSV, either of them compressed, and Parquet."""

import contextlib
import csv
import datetime
import gzip
import io
import math
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path
from typing import Any, NamedTuple, TextIO

import numpy as np
from numpy.typing import NDArray

from trainwright.errors import ConfigError, require_extra
from trainwright.progress import Activity, under_way
from trainwright.wording import printable

SEPARATORS = ",;\t|"
SUFFIXES = (".csv", ".tsv", ".csv.gz", ".tsv.gz", ".parquet")
LONGEST_LINE = 2**20  # letters
MOST_COLUMNS = 10_000
CHUNK = 2048  # rows in memory at once: so many cells stay in a processor's cache
GUESSED_FROM = 50  # lines, what divides their cells
HEAD = 2**16  # bytes that tell what a file is


class BadTableError(Exception):
    """Why none of a file's rows can be used; the message is half a line, or has more below."""


class Record(NamedTuple):
    """The cells of one row as they stand there; `line` counts from 1."""

    line: int
    cells: Sequence[str]


class Chunk(NamedTuple):
    """Some rows of a table, each with as many cells as there are columns."""

    rows: Sequence[Sequence[str]]

    def __len__(self) -> int:
        return len(self.rows)

    def taken(self, places: NDArray[np.int64]) -> "Chunk":
        """Some of its rows."""
        if len(places) == len(self.rows):
            return self
        return Chunk([self.rows[i] for i in places.tolist()])

    def columns(self, places: Sequence[int]) -> list[Sequence[str]]:
        """The cells of some columns, without the blanks around them."""
        if not self.rows:
            return [()] * len(places)
        if len(places) <= 2:  # else all at once is faster
            return [_stripped([row[place] for row in self.rows]) for place in places]
        columns = list(zip(*self.rows, strict=True))
        return [_stripped(columns[place]) for place in places]


@dataclass(frozen=True)
class Table:
    """A file whose first line names columns, or a Parquet file; it is read anew by each look.

    `separator`: None where it is to be found; `nothing` stands for what Parquet knows to be
    missing. Raises BadTableError for a file that is no such table, OSError where it can't be read.
    """

    path: Path
    separator: str | None = None
    encoding: str = "utf-8"
    nothing: str = ""

    def records(self) -> Iterator[Record]:
        """The first line, and all others that are not empty."""
        with self._rows() as (rows, line):
            for cells in rows:
                if _is_filled(cells):
                    yield Record(line(), cells)

    def line(self, row: int) -> int:
        """Where the row of this number, from 0, stands in the file: it is read up to there."""
        return next(islice(self.records(), row + 1, None)).line

    def chunks(self) -> Iterator[Chunk]:
        """The rows under the first line, each with as many cells as that."""
        with self._rows() as (rows, _):
            width = 0
            while found := list(islice(rows, CHUNK)):
                if not width or set(map(len, found)) != {width} or not all(map(_is_filled, found)):
                    found = [row for row in found if _is_filled(row)]
                    if not width and found:
                        width = len(found.pop(0))
                    if any(len(row) != width for row in found):
                        found = self._of_width(found, width)
                yield Chunk(found)

    @contextlib.contextmanager
    def _rows(self) -> Iterator[tuple[Iterator[Sequence[str]], Callable[[], int]]]:
        """The cells of each row, and what says in which line the last one stood."""
        with self.path.open("rb") as file:
            head = file.read(HEAD)
        told = f"reading {printable(self.path.name)}"
        if head.startswith(b"PAR1"):
            yield _parquet(self.path, self.nothing, told), count(1).__next__
            return
        size = self.path.stat().st_size
        with _opened(self.path, head, self.encoding) as text, under_way(told, size, "B") as reading:
            found = self.separator or separator_of(text)
            text.seek(0)
            reader = csv.reader(_lines(text, reading), delimiter=found, strict=True)
            try:
                yield reader, lambda: reader.line_num
            except csv.Error as error:
                raise BadTableError(f"no CSV file (line {reader.line_num}: {error})") from error

    def _of_width(self, rows: Sequence[Sequence[str]], width: int) -> list[Sequence[str]]:
        """Without what a separator at the end of a line adds."""
        if all(len(r) >= width and not any(map(str.strip, r[width:])) for r in rows):
            return [row[:width] for row in rows]
        for line, cells in self.records():
            if len(cells) < width or any(map(str.strip, cells[width:])):
                raise BadTableError(
                    f"line {line} has {len(cells)} cells, and the first line has {width}\n"
                    f"  cells were divided at {self.divided_at!r}; data.separator names another"
                )
        raise BadTableError("changed while it was read")

    @property
    def divided_at(self) -> str:
        """What divides the cells of a line; empty for Parquet, which has none."""
        with self.path.open("rb") as file:
            head = file.read(HEAD)
        if self.separator or head.startswith(b"PAR1"):
            return self.separator or ""
        with _opened(self.path, head, self.encoding) as text:
            return separator_of(text)

    def header(self) -> tuple[str, ...]:
        """The names of the columns. Raises BadTableError for what are none."""
        first = next(self.records(), None)
        if first is None:
            raise BadTableError("empty")
        names = tuple(cell.strip() for cell in first.cells)
        while names and not names[-1]:  # a separator at the end of each line
            names = names[:-1]
        if len(names) > MOST_COLUMNS:
            raise BadTableError(f"{len(names):,} columns, and at most {MOST_COLUMNS:,} are read")
        names = tuple(name or f"column {place + 1}" for place, name in enumerate(names))
        if all(map(is_number, names)):
            raise BadTableError(
                f"without names: its first line is {printable(', '.join(names))[:60]}\n"
                "  the first line must say what the columns are called"
            )
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise BadTableError(f"two columns are called {printable(twice)[:40]}; rename one")
        return names


def _stripped(cells: Sequence[str]) -> Sequence[str]:
    joined = "".join(cells)
    if joined.isascii() and joined.isprintable() and " " not in joined:
        return cells  # which is found out faster than it is done
    return [cell.strip() for cell in cells]


def _is_filled(row: Sequence[str]) -> bool:
    return any(map(str.strip, row))


def separator_of(text: TextIO) -> str:
    """What divides the first lines into most rows that are as long as the first, and longest."""
    lines = list(islice(_lines(text), GUESSED_FROM))

    def fit(separator: str) -> tuple[int, int]:
        try:
            rows = [row for row in csv.reader(lines, delimiter=separator) if _is_filled(row)]
        except csv.Error:  # a cell that has no end
            return 0, 0
        width = len(rows[0]) if rows else 0
        return (sum(len(row) == width for row in rows) if width > 1 else 0), width

    return max(SEPARATORS, key=fit)


@contextlib.contextmanager
def _opened(path: Path, head: bytes, encoding: str) -> Iterator[TextIO]:
    """The file as text, whether or not it is compressed; what it is not is a BadTableError."""
    try:
        with _text_of(path, head, encoding) as text:
            yield text
    except UnicodeError as error:
        name = encoding.upper()
        byte = ""
        if isinstance(error, UnicodeDecodeError):
            byte = f" (byte 0x{error.object[error.start]:02x})"
        raise BadTableError(
            f"no CSV file of {name} text{byte}\n"
            "  name its encoding, such as data.encoding=cp1252, or save it as UTF-8"
        ) from error
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise BadTableError(f"damaged: {error}") from error


def _text_of(path: Path, head: bytes, encoding: str) -> TextIO:
    is_gzip = head.startswith(b"\x1f\x8b")
    if is_gzip:
        with gzip.open(path) as compressed:
            head = compressed.read(HEAD)
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        encoding = "utf-16"
    is_utf8 = encoding.lower().replace("_", "-") in ("utf-8", "utf8")
    if not is_utf8 and encoding != "utf-16" and not head.isascii() and _is_utf8(head):
        raise BadTableError(f"UTF-8 text, and no {encoding}\n  leave data.encoding out")
    if b"\0" in head and not encoding.lower().startswith(("utf-16", "utf-32")):
        raise BadTableError("no CSV file: it holds NUL bytes\n  UTF-16: data.encoding=utf-16-le")
    try:
        opened = gzip.open if is_gzip else open
        return opened(path, "rt", encoding="utf-8-sig" if is_utf8 else encoding, newline="")
    except LookupError:
        raise ConfigError(f"data.encoding={encoding}: there is no such encoding") from None


def _is_utf8(head: bytes) -> bool:
    try:
        head[:-4].decode()
        return True
    except UnicodeDecodeError as error:
        return error.end >= len(head) - 8  # a letter that the end cuts through


def _lines(file: TextIO, reading: Activity | None = None) -> Iterator[str]:
    while block := file.read(LONGEST_LINE):
        if reading is not None:  # of a compressed file: what is compressed
            reading.to(getattr(file.buffer, "fileobj", file.buffer).tell())
        block += file.readline(LONGEST_LINE)
        for line in io.StringIO(block, newline=""):
            if len(line) > LONGEST_LINE:
                raise BadTableError(
                    f"a line has more than {LONGEST_LINE:,} letters: too many columns, or no table"
                )
            yield line


def is_number(cell: str) -> bool:
    """Whether Python reads a number in a cell."""
    try:
        float(cell)
        return True
    except ValueError:
        return False


def _parquet(path: Path, nothing: str, told: str) -> Iterator[Sequence[str]]:
    require_extra(f"data.path={printable(str(path))}: Parquet", "pyarrow", extra="table")
    from pyarrow import ArrowException, parquet

    try:
        with (
            parquet.ParquetFile(path) as file,
            under_way(told, file.metadata.num_rows, "rows") as reading,
        ):
            yield file.schema_arrow.names
            for batch in file.iter_batches(batch_size=CHUNK):
                columns = [_texts(column.to_pylist(), nothing) for column in batch.columns]
                yield from zip(*columns, strict=True)
                reading.advance(len(batch))
    except (ArrowException, OSError) as error:
        raise BadTableError(f"no Parquet file that can be read ({str(error)[:100]})") from error


def _texts(values: list[Any], nothing: str) -> list[str]:
    return [nothing if value is None else _text(value) for value in values]


def _text(value: Any) -> str:
    """As it would stand in a CSV file."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return "nan" if math.isnan(value) else repr(value)
    if isinstance(value, datetime.date):  # a moment is one, too
        return value.isoformat()
    if isinstance(value, list | dict | bytes):
        raise BadTableError(f"a column holds {type(value).__name__}, which no cell of a table is")
    return str(value)
