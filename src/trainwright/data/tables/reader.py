"""A table as rows of text: CSV, TSV, either of them compressed, and Parquet."""

import contextlib
import csv
import datetime
import gzip
import math
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, TextIO, TypeGuard

import numpy as np
from numpy.typing import NDArray

from trainwright.errors import ConfigError
from trainwright.wording import printable

SEPARATORS = ",;\t|"
SUFFIXES = (".csv", ".tsv", ".csv.gz", ".tsv.gz", ".parquet")
LONGEST_LINE = 2**20  # letters
MOST_COLUMNS = 10_000
CHUNK = 16_384  # rows in memory at once
HEAD = 2**16  # bytes that tell what a file is


class BadTableError(Exception):
    """Why none of a file's rows can be used; the message is half a line, or has more below."""


class Record(NamedTuple):
    """The cells of one row as they stand there; `line` counts from 1."""

    line: int
    cells: Sequence[str]


class Chunk(NamedTuple):
    """Some rows of a table, and the lines where they stand."""

    lines: Sequence[int]
    rows: Sequence[Sequence[str]]

    def __len__(self) -> int:
        return len(self.rows)

    def taken(self, places: NDArray[np.int64]) -> "Chunk":
        """Some of its rows."""
        if len(places) == len(self):
            return self
        chosen = places.tolist()
        return Chunk([self.lines[i] for i in chosen], [self.rows[i] for i in chosen])

    def column(self, place: int) -> list[str]:
        """The cells of a column, without the blanks around them."""
        cells = [row[place] for row in self.rows]
        joined = "".join(cells)
        if joined.isascii() and joined.isprintable() and " " not in joined:
            return cells  # which is found out faster than it is done
        return [cell.strip() for cell in cells]


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
        with self.path.open("rb") as file:
            head = file.read(HEAD)
        if head.startswith(b"PAR1"):
            yield from _parquet(self.path, self.nothing)
            return
        with _opened(self.path, head, self.encoding) as text:
            found = self.separator or separator_of(text)
            text.seek(0)
            reader = csv.reader(_lines(text), delimiter=found, strict=True)
            try:
                for cells in reader:
                    if cells and (cells[0].strip() or any(cell.strip() for cell in cells)):
                        yield Record(reader.line_num, cells)
            except csv.Error as error:
                raise BadTableError(f"no CSV file (line {reader.line_num}: {error})") from error

    def chunks(self) -> Iterator[Chunk]:
        """The rows under the first line, each with as many cells as that."""
        records = self.records()
        width = len(next(records).cells)
        while found := list(islice(records, CHUNK)):
            lines, rows = zip(*found, strict=True)
            if set(map(len, rows)) != {width}:
                rows = tuple(self._of_width(record, width) for record in found)
            yield Chunk(lines, rows)

    def _of_width(self, record: Record, width: int) -> Sequence[str]:
        line, cells = record
        if len(cells) == width:
            return cells
        if len(cells) > width and not any(cell.strip() for cell in cells[width:]):
            return cells[:width]
        raise BadTableError(
            f"line {line} has {len(cells)} cells, and the first line has {width}\n"
            f"  cells were divided at {self.divided_at!r}; data.separator names another"
        )

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
        if all(map(_is_number, names)):
            raise BadTableError(
                f"without names: its first line is {printable(', '.join(names))[:60]}\n"
                "  the first line must say what the columns are called"
            )
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise BadTableError(f"two columns are called {printable(twice)[:40]}; rename one")
        return names


def separator_of(text: TextIO) -> str:
    """What divides the cells of the first line that is not empty."""
    first = next((line for line in _lines(text) if line.strip()), "")
    return max(SEPARATORS, key=first.count)


@contextlib.contextmanager
def _opened(path: Path, head: bytes, encoding: str) -> Iterator[TextIO]:
    """The file as text, whether or not it is compressed; what it is not is a BadTableError."""
    try:
        with _text_of(path, head, encoding) as text:
            yield text
    except UnicodeError as error:
        name = encoding.upper()
        byte = f" (byte 0x{error.object[error.start]:02x})" if _has_place(error) else ""
        raise BadTableError(
            f"no CSV file of {name} text{byte}\n"
            "  name its encoding, such as data.encoding=cp1252, or save it as UTF-8"
        ) from error
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise BadTableError(f"damaged: {error}") from error


def _has_place(error: UnicodeError) -> TypeGuard[UnicodeDecodeError]:
    return isinstance(error, UnicodeDecodeError)


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
        raise BadTableError("no CSV file")
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


def _lines(file: TextIO) -> Iterator[str]:
    while line := file.readline(LONGEST_LINE + 1):
        if len(line) > LONGEST_LINE:
            raise BadTableError(
                f"a line has more than {LONGEST_LINE:,} letters: too many columns, or no table"
            )
        yield line


def _is_number(cell: str) -> bool:
    try:
        float(cell)
        return True
    except ValueError:
        return False


def _parquet(path: Path, nothing: str) -> Iterator[Record]:
    try:
        from pyarrow import ArrowException, parquet
    except ImportError:
        raise ConfigError(
            f"data.path={printable(str(path))}: Parquet needs pyarrow\n"
            "  pip install 'trainwright[table]', or save the table as CSV"
        ) from None
    try:
        with parquet.ParquetFile(path) as file:
            yield Record(1, file.schema_arrow.names)
            line = 1
            for batch in file.iter_batches(batch_size=CHUNK):
                columns = [_texts(column.to_pylist(), nothing) for column in batch.columns]
                for cells in zip(*columns, strict=True):
                    line += 1
                    yield Record(line, cells)
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
