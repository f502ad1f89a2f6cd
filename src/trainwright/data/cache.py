"""Folders in which what was made of a user's files is kept: whole, checked, removed when unused."""

import contextlib
import hashlib
import json
import mmap
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from trainwright.errors import DataError, DiskError

STALE_SECONDS, UNUSED_SECONDS = 24 * 3600, 30 * 24 * 3600


@contextlib.contextmanager
def new_cache(folder: Path, what: str) -> Iterator[Path]:
    """A folder to write into, which becomes `folder` when all has gone well and it `is_signed`.

    So a kill leaves nothing that looks finished. Raises DiskError, which says `what` is kept there.
    """
    part = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(folder)
        part = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        part.chmod(0o755)  # mkdtemp's folders are for their owner only
        yield part
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


def sign(folder: Path, index: dict[str, Any], names: Sequence[str]) -> None:
    """Write the index of a new cache, with a digest of it and of the files of these names."""
    signed = {**index, "sha256_of_all": digest_of_all(folder, index, names)}
    (folder / "index.json").write_text(json.dumps(signed))


def read_index(folder: Path, names: Sequence[str]) -> dict[str, Any]:
    """The index of a cache. Raises ValueError where it is not what was written, and much else."""
    index: dict[str, Any] = json.loads((folder / "index.json").read_text())
    if index.pop("sha256_of_all") != digest_of_all(folder, index, names):
        raise ValueError("its contents are not what was written")
    with contextlib.suppress(OSError):  # a folder of another user's
        os.utime(folder / "index.json")  # how long ago a cache was of use
    return index


def mapped(path: Path) -> mmap.mmap:
    """A file in memory as far as it is looked at."""
    with path.open("rb") as file:
        # Copy on write: torch warns about memory that it may not write to.
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)


def damaged(folder: Path, what: str, again: str) -> DataError:
    """What to say of a cache that is not as it was written."""
    return DataError(
        f"the cache of {what} {folder} is damaged\n  delete that folder and run again to {again}"
    )


def digest_of_all(folder: Path, index: dict[str, Any], names: Sequence[str]) -> str:
    """SHA-256 over the index and the hashes of the files: some 2 GB a second."""
    hashes = [json.dumps(index, sort_keys=True)]
    for name in names:
        with (folder / name).open("rb") as file:
            hashes.append(hashlib.file_digest(file, "sha256").hexdigest())
    return hashlib.sha256("\n".join(hashes).encode()).hexdigest()


def _rename(part: Path, folder: Path) -> None:
    try:
        part.rename(folder)
    except OSError:
        # Another job made the same meanwhile: its cache is as good as this one.
        if not (folder / "index.json").exists():
            raise


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
