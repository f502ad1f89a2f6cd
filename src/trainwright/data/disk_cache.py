"""Folders of files that were made once, from data, and are mapped into memory by later runs.

A cache is named by what it was made of. Its `index.json` is written last of all, and has a digest
over every file.
"""

import contextlib
import hashlib
import json
import mmap
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from trainwright.errors import DataError, DiskError

STALE_SECONDS, UNUSED_SECONDS = 24 * 3600, 30 * 24 * 3600


def write_cache(
    folder: Path, what: str, fill: Callable[[Path], dict[str, Any]], files: Sequence[str]
) -> None:
    """Let `fill` write these files into a new folder, which gets its name when it is complete.

    So a kill leaves nothing that looks finished. `fill` returns what the index is to say; `what`
    is made, for messages. Raises DiskError where it cannot be written, and what `fill` raises.
    """
    part = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(folder)
        part = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        part.chmod(0o755)  # mkdtemp's folders are for their owner only
        index = fill(part)
        signed = {**index, "sha256_of_all": _digest_of_all(part, index, files)}
        (part / "index.json").write_text(json.dumps(signed))
        _rename(part, folder)
        _remove_unused(folder.parent)
    except OSError as error:
        raise DiskError(
            f"the cache of {what} {folder} cannot be written: {error.strerror}\n"
            "  name a folder with room that you may write to: data.root=... or $TRAINWRIGHT_DATA"
        ) from error
    finally:
        if part is not None:
            shutil.rmtree(part, ignore_errors=True)


def read_index(folder: Path, files: Sequence[str]) -> dict[str, Any]:
    """What the index of a finished cache says. Raises ValueError where a file has changed."""
    index: dict[str, Any] = json.loads((folder / "index.json").read_text())
    if index.pop("sha256_of_all") != _digest_of_all(folder, index, files):
        raise ValueError("its contents are not what was written")
    with contextlib.suppress(OSError):  # a folder of another user's
        os.utime(folder / "index.json")  # how long ago a cache was of use
    return index


def map_file(path: Path) -> mmap.mmap:
    """A file as memory. Copy on write: torch warns about memory that it may not write to."""
    with path.open("rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)


def damaged_cache(folder: Path, what: str, does: str) -> DataError:
    """The error of a cache of `what` that cannot be read; `does` makes it afresh."""
    return DataError(
        f"the cache of {what} {folder} is damaged\n  delete that folder and run again to {does}"
    )


def _rename(part: Path, folder: Path) -> None:
    try:
        part.rename(folder)
    except OSError:
        # Another job made the same meanwhile: its cache is as good as this one.
        if not (folder / "index.json").exists():
            raise


def _digest_of_all(folder: Path, index: dict[str, Any], files: Sequence[str]) -> str:
    """SHA-256 over the index and the hashes of the files: some 2 GB a second."""
    hashes = [json.dumps(index, sort_keys=True)]
    for name in files:
        with (folder / name).open("rb") as file:
            hashes.append(hashlib.file_digest(file, "sha256").hexdigest())
    return hashlib.sha256("\n".join(hashes).encode()).hexdigest()


def _remove_unused(caches: Path) -> None:
    """Remove finished caches that no run has opened for a month: they can be made again."""
    for index in caches.glob("[!.]*/index.json"):
        with contextlib.suppress(OSError):  # another job may be doing the same
            if time.time() - index.stat().st_mtime > UNUSED_SECONDS:
                shutil.rmtree(index.parent)


def _remove_leftovers(folder: Path) -> None:
    """Remove what killed runs left of this cache, long enough ago that none is still at it."""
    for old in folder.parent.glob(f".{folder.name}.*"):
        if time.time() - old.stat().st_mtime > STALE_SECONDS:
            shutil.rmtree(old, ignore_errors=True)
