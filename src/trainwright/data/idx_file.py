"""Files in the IDX format, plain or gzipped. No torch."""

import math
import struct
import zlib
from io import BufferedReader
from pathlib import Path

from trainwright.errors import DataError

UNSIGNED_BYTE = 0x08  # the type code of the format; the only one read here
LARGEST_DEFLATE_RATIO = 1032  # https://zlib.net/zlib_tech.html
GZIP = 31  # for zlib: what follows has the header and the checksum of a gzip file
PIECE = 16 * 2**20  # bytes that are decompressed in one go

Array = tuple[tuple[int, ...], bytearray]  # a shape, and so many bytes


def read_bytes(path: Path) -> Array:
    """The array of bytes in an IDX file, plain or gzipped (by its name's `.gz`).

    Nothing is allocated before the file is seen to be long enough for what its header says.
    Format: http://yann.lecun.com/exdb/mnist. Raises DataError for any other file, a shorter or
    longer one among them.
    """
    try:
        num_bytes = path.stat().st_size
        with path.open("rb") as file:
            if path.suffix == ".gz":
                return _read(_Inflated(file), path, at_most=num_bytes * LARGEST_DEFLATE_RATIO)
            return _read(file, path, at_most=num_bytes)
    except (EOFError, zlib.error) as error:
        raise DataError(f"{path} is not a whole gzip file: {error}") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error


class _Inflated:
    """A gzip file, decompressed in large pieces: who does that in a thread is in nobody's way."""

    def __init__(self, file: BufferedReader) -> None:
        self._rest = file.read()
        self._inflater = zlib.decompressobj(GZIP)

    def read(self, size: int) -> bytes:
        """At most `size` bytes; none at its end, where it is held against its checksum."""
        data = b""
        while not data:
            if self._inflater.eof:  # another may follow, after padding
                self._rest = self._inflater.unused_data.lstrip(b"\0")
                if not self._rest:
                    break
                self._inflater = zlib.decompressobj(GZIP)
            data = self._inflater.decompress(self._rest, size)
            self._rest = self._inflater.unconsumed_tail
            if not data and not self._inflater.eof:
                raise EOFError("it ends too early")
        return data


def _read(file: BufferedReader | _Inflated, path: Path, *, at_most: int) -> Array:
    """Header, then exactly what it promises; `at_most` bounds what the file can hold."""
    magic = file.read(4)
    if len(magic) < 4 or magic[:3] != bytes((0, 0, UNSIGNED_BYTE)) or not 1 <= magic[3] <= 4:
        raise DataError(
            f"{path} is not an IDX file of bytes\n"
            f"  it starts with {magic.hex(' ') or 'nothing'}; right would be 00 00 08 and 01 to 04"
        )
    num_dimensions = magic[3]
    header = file.read(4 * num_dimensions)
    if len(header) < 4 * num_dimensions:
        raise DataError(f"{path} ends within its header")
    shape = struct.unpack(f">{num_dimensions}I", header)
    expected = math.prod(shape)
    at_most -= len(magic) + len(header)
    if expected == 0 or expected > at_most:
        raise DataError(
            f"{path}: the header says {' x '.join(map(str, shape))} = {expected:,} bytes, "
            f"the file can hold 1 to {at_most:,}"
        )
    data = bytearray(expected)
    filled = 0
    while filled < expected:
        piece = file.read(min(PIECE, expected - filled))
        if not piece:
            raise DataError(f"{path} ends after {filled:,} of {expected:,} bytes")
        data[filled : filled + len(piece)] = piece
        filled += len(piece)
    if file.read(1):
        raise DataError(f"{path} goes on after the {expected:,} bytes that its header promises")
    return shape, data
