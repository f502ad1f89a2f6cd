"""Files of text as documents, read piece by piece: a corpus may be larger than memory."""

import codecs
import glob
import gzip
import hashlib
import json
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NamedTuple

from trainwright.errors import ConfigError, DataError, install
from trainwright.wording import nearest, printable

PIECE = 2**20  # bytes that are read at a time
LONGEST_LINE = 2**26  # bytes of a line of JSON
SUFFIXES = (".txt", ".md", ".rst", ".text", ".tex", ".jsonl", ".parquet")


class Piece(NamedTuple):
    """Some text: of which document, at which byte of it, and whether it ends there."""

    document: int
    start: int
    text: str
    is_last: bool


@dataclass(frozen=True)
class Corpus:
    """Files that each hold one document, or with `field` one in each line of JSON or row."""

    files: tuple[Path, ...]
    field: str

    @property
    def name(self) -> str:
        """What the first of the files is called."""
        return self.files[0].name.partition(".")[0]

    @property
    def has_documents(self) -> bool:
        """Whether it is more than one text."""
        return len(self.files) > 1 or _kind(self.files[0]) != "text"

    @property
    def num_bytes(self) -> int:
        """Of the files, as they are stored."""
        return sum(path.stat().st_size for path in self.files)

    def digest(self) -> str:
        """SHA-256 of all that is in the files: half a second a gigabyte. Raises DataError."""
        hashes = []
        for path in self.files:
            with _opened(path, as_stored=True) as file:
                hashes.append(hashlib.file_digest(file, "sha256").hexdigest())  # type: ignore[arg-type]
        return hashlib.sha256(json.dumps([hashes, self.field]).encode()).hexdigest()

    def pieces(self) -> Iterator[Piece]:
        """All text in order. Raises DataError for what is none, with the place."""
        document = 0
        for path in self.files:
            if _kind(path) == "text":
                for start, text, is_last in _text(path):
                    yield Piece(document, start, text, is_last)
                document += 1
                continue
            rows = _lines(path, self.field) if _kind(path) == "jsonl" else _rows(path, self.field)
            for text in rows:
                yield Piece(document, 0, text, True)
                document += 1


def corpus_at(path: str, field: str) -> Corpus:
    """The files that a path names: itself, those in a folder, or those that a pattern matches.

    Raises ConfigError where there are none.
    """
    place = Path(path).expanduser()
    if place.is_dir():
        inside = [p for p in sorted(place.rglob("*")) if p.is_file() and not _is_hidden(p, place)]
        files = [p for p in inside if p.with_suffix("" if p.suffix == ".gz" else p.suffix).suffix
                 in SUFFIXES]  # fmt: skip
        if not files:
            raise ConfigError(
                f"data.path={printable(path)}: {len(inside)} files, and none ends in "
                f"{', '.join(SUFFIXES)}\n  for others name a pattern: data.path='{path}/**/*.py'"
            )
    elif any(sign in path for sign in "*?["):
        found = sorted(glob.glob(str(place), recursive=True))  # noqa: PTH207 - of any root
        files = [p for p in map(Path, found) if p.is_file()]
        if not files:
            raise ConfigError(f"data.path={printable(path)}: no file matches")
    elif place.is_file():
        files = [place]
    else:
        beside = [p.name for p in place.parent.iterdir()] if place.parent.is_dir() else []
        raise ConfigError(
            f"data.path={printable(path)}: there is no such file or folder"
            f"{nearest(place.name, beside)}"
        )
    return Corpus(tuple(files), field)


def _is_hidden(path: Path, root: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(root).parts)


def _kind(path: Path) -> str:
    """`text`, `jsonl` or `parquet`, by the name without .gz."""
    suffix = Path(path.stem).suffix if path.suffix == ".gz" else path.suffix
    return suffix[1:] if suffix in (".jsonl", ".parquet") else "text"


def _opened(path: Path, *, as_stored: bool = False) -> IO[bytes]:
    try:
        if path.suffix == ".gz" and not as_stored:
            return gzip.open(path, "rb")  # type: ignore[return-value]
        return path.open("rb")
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error


def _read(file: IO[bytes], path: Path, *, line: bool = False) -> bytes:
    try:
        return file.readline(LONGEST_LINE + 1) if line else file.read(PIECE)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path} is not a whole gzip file: {error}") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error


def _text(path: Path) -> Iterator[tuple[int, str, bool]]:
    """Where a piece begins, its text, and whether it is the last; cut at ends of lines."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    place = start = 0  # of what is read next, and of what is held, in bytes
    held = ""
    with _opened(path) as file:
        while True:
            read = _read(file, path)
            if b"\0" in read:
                raise DataError(
                    f"{path} is not text: byte {place + read.index(0):,} is 0x00\n"
                    "  name files of text: data.path='folder/*.txt'"
                )
            pending = len(decoder.getstate()[0])
            try:
                held += decoder.decode(read, final=not read)
            except UnicodeDecodeError as error:
                where = place - pending + error.start
                raise DataError(
                    f"{path} is not UTF-8: byte {where:,} is 0x{error.object[error.start]:02x}\n"
                    f"  convert it first: iconv -f latin1 -t utf-8 {path.name}"
                ) from None
            place += len(read)
            if not read:
                yield start, held, True
                return
            cut = held.rfind("\n") + 1 or (len(held) if len(held) >= PIECE else 0)
            if cut:
                yield start, held[:cut], False
                start += len(held[:cut].encode())
                held = held[cut:]


def _lines(path: Path, field: str) -> Iterator[str]:
    """That field of each line of JSON."""
    number = 0
    with _opened(path) as file:
        while line := _read(file, path, line=True):
            number += 1
            if len(line) > LONGEST_LINE:
                raise DataError(
                    f"{path}, line {number}: longer than {LONGEST_LINE // 2**20} MB\n"
                    "  each line is one document, as JSON"
                )
            if line.strip():
                yield _field(path, number, line, field)


def _field(path: Path, number: int, line: bytes, field: str) -> str:
    try:
        row: Any = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}, line {number}: not JSON: {error}") from None
    if not isinstance(row, dict) or not isinstance(row.get(field), str):
        there = [str(key) for key in row] if isinstance(row, dict) else []
        raise DataError(
            f"{path}, line {number}: no text in the field {printable(field)!r}"
            f"{nearest(field, there)}\n  name it with data.field=...; there is: "
            f"{printable(', '.join(there[:10])) or 'no field'}"
        )
    text: str = row[field]
    try:
        text.encode()
    except UnicodeEncodeError:
        raise DataError(f"{path}, line {number}: half a surrogate pair is no text") from None
    return text


def _rows(path: Path, field: str) -> Iterator[str]:
    """That column of a Parquet file. Needs the extra `table`."""
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise ConfigError(
            f"data.path={path.name}: Parquet files need pyarrow, which is not installed\n"
            f"  {install('table')}"
        ) from error
    try:
        with parquet.ParquetFile(path) as file:
            names: Sequence[str] = file.schema_arrow.names
            if field not in names:
                raise DataError(
                    f"{path} has no column {printable(field)!r}{nearest(field, names)}\n"
                    f"  name it with data.field=...; there is: {printable(', '.join(names[:10]))}"
                )
            for batch in file.iter_batches(batch_size=256, columns=[field]):
                for text in batch.column(0).to_pylist():
                    if not isinstance(text, str):
                        raise DataError(f"{path}: the column {printable(field)!r} is not text")
                    yield text
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(f"{path} cannot be read: {str(error).splitlines()[0]}") from error
