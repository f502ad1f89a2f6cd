"""Decoded images are kept on disk as one array, to be mapped into memory by later runs."""

import contextlib
import hashlib
import json
import logging
import os
import shutil
import tempfile
import time
import warnings
from collections.abc import Generator, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainwright.data.decode import BadImageError, Fit, decode_image
from trainwright.data.listing import ImageFile
from trainwright.data.progress import progress_bar
from trainwright.errors import DataError, DiskError
from trainwright.wording import printable

BATCH, BATCH_BYTES = 256, 64 * 2**20  # at most so much is decoded before it is written
STALE_SECONDS, UNUSED_SECONDS = 24 * 3600, 30 * 24 * 3600


@dataclass(frozen=True)
class CachedImages:
    """Images (N, C, S, S) uint8 mapped from disk, labels (N,) int64, N split by split."""

    images: Tensor
    labels: Tensor
    counts: dict[str, int]


def open_images(folder: Path, *, channels: int, size: int) -> CachedImages:
    """Map a finished cache. Raises DataError where it is damaged: all of it is held to a digest."""
    try:
        index = json.loads((folder / "index.json").read_text())
        if index.pop("sha256_of_all") != _digest_of_all(folder, index):
            raise ValueError("its contents are not what was written")
        counts = {str(name): int(count) for name, count in index["counts"].items()}
        shape = (sum(counts.values()), channels, size, size)
        labels = torch.from_numpy(np.load(folder / "labels.npy", allow_pickle=False))
        # Copy on write: torch warns about arrays that it may not write to.
        pixels = np.memmap(folder / "images.bin", dtype=np.uint8, mode="c")
        images = torch.from_numpy(pixels).view(shape)
        if len(labels) != len(images) or labels.dtype != torch.int64:
            raise ValueError("labels and images differ in number")
    except Exception as error:  # damaged JSON and arrays raise all sorts
        raise DataError(
            f"the cache of decoded images {folder} is damaged\n"
            "Delete that folder and run again to decode the images afresh."
        ) from error
    with contextlib.suppress(OSError):  # a folder of another user's
        os.utime(folder / "index.json")  # how long ago a cache was of use
    if index.get("num_skipped"):
        logging.getLogger(__name__).warning("skipped %d unreadable files", index["num_skipped"])
    return CachedImages(images, labels, counts)


def write_images(
    folder: Path,
    root: Path,
    splits: dict[str, list[ImageFile]],
    *,
    bad: dict[str, str],
    skip_bad: bool,
    size: int,
    channels: int,
    fit: Fit,
) -> None:
    """Decode the files of `root`, split by split in the order given, into the cache `folder`.

    The cache gets its name when it is complete, so a kill leaves nothing that looks finished.
    `bad` holds the files already known to be none. Raises DataError listing the files that are
    no images unless `skip_bad`, DiskError where the cache cannot be written.
    """
    files = [(split, file) for split, listed in splits.items() for file in listed]
    num_files = len(files) + len(bad)
    bad = dict(bad)
    part = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(folder)
        part = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        counts = dict.fromkeys(splits, 0)
        labels = []
        part.chmod(0o755)  # mkdtemp's folders are for their owner only
        names = [file for _, file in files]
        with (
            (part / "images.bin").open("wb") as target,
            closing(_decode_all(root, names, size=size, channels=channels, fit=fit)) as decoded,
        ):
            for (split, file), image in zip(files, decoded, strict=True):
                if isinstance(image, BadImageError):
                    bad[file.name] = str(image)
                elif skip_bad or not bad:
                    target.write(image.data)
                    labels.append(file.label)
                    counts[split] += 1
            target.flush()
            os.fsync(target.fileno())
        if bad and not skip_bad:
            raise DataError(_list_bad(folder, root, bad, num_files=num_files))
        # What is left after skipping must still be a dataset.
        lost = {file.label for file in names} - set(labels)
        empty = [split for split, count in counts.items() if not count]
        if lost or empty:
            where = f"the {' and '.join(empty)} split" if empty else f"{len(lost)} of its classes"
            raise DataError(f"{root}: no readable image is left for {where}")
        np.save(part / "labels.npy", np.array(labels, dtype=np.int64))
        index = {"counts": counts, "num_skipped": len(bad), "source": str(root)}
        signed = {**index, "sha256_of_all": _digest_of_all(part, index)}
        (part / "index.json").write_text(json.dumps(signed))
        _rename(part, folder)
        _remove_unused(folder.parent)
    except OSError as error:
        raise DiskError(
            f"the cache of decoded images {folder} cannot be written: {error.strerror}\n"
            "Name a folder with room that you may write to: data.root=... or $TRAINWRIGHT_DATA."
        ) from error
    finally:
        if part is not None:
            shutil.rmtree(part, ignore_errors=True)


def _decode_all(
    root: Path, files: Sequence[ImageFile], *, size: int, channels: int, fit: Fit
) -> Generator[NDArray[np.uint8] | BadImageError, None, None]:
    """The images in order, decoded by threads, at most a batch ahead of the reader."""

    def decode(file: ImageFile) -> NDArray[np.uint8] | BadImageError:
        try:
            return decode_image(root / file.name, size=size, channels=channels, fit=fit)
        except BadImageError as error:
            return error

    from PIL import Image

    remaining = iter(files)
    batch_size = min(BATCH, max(1, BATCH_BYTES // (channels * size * size)))
    threads = min(16, os.cpu_count() or 1)
    with (
        warnings.catch_warnings(),
        ThreadPoolExecutor(threads) as pool,
        progress_bar(f"decoding {root}", len(files), "images") as advance,
    ):
        warnings.simplefilter("ignore")  # Pillow's remarks on odd metadata and large images
        Image.init()  # registers the decoders, before threads would each begin to
        while batch := list(islice(remaining, batch_size)):
            yield from pool.map(decode, batch)
            advance(len(batch))


def _list_bad(folder: Path, root: Path, bad: dict[str, str], *, num_files: int) -> str:
    """What a person reads: the first few. All of them go into a file beside the caches."""
    shown: Iterable[tuple[str, str]] = islice(sorted(bad.items()), 3 if len(bad) == 3 else 2)
    lines = [f"{len(bad):,} of {num_files:,} files in {root} cannot be used:"]
    lines += [f"  {printable(name)}: {reason}" for name, reason in shown]
    if len(bad) > 3:
        all_of_them = folder.with_name(f"{folder.name}.bad.txt")
        text = "".join(f"{printable(name)}: {bad[name]}\n" for name in sorted(bad))
        all_of_them.write_text(text)
        lines.append(f"  and {len(bad) - 2:,} more, all in {all_of_them}")
    return "\n".join([*lines, "Remove or mend them, or leave them out with data.on_bad=skip."])


def _rename(part: Path, folder: Path) -> None:
    try:
        part.rename(folder)
    except OSError:
        # Another job decoded the same images meanwhile: its cache is as good as this one.
        if not (folder / "index.json").exists():
            raise


def _digest_of_all(folder: Path, index: dict[str, Any]) -> str:
    """SHA-256 over the index and the hashes of the two files: some 2 GB a second."""
    hashes = [json.dumps(index, sort_keys=True)]
    for name in ("images.bin", "labels.npy"):
        with (folder / name).open("rb") as file:
            hashes.append(hashlib.file_digest(file, "sha256").hexdigest())
    return hashlib.sha256("\n".join(hashes).encode()).hexdigest()


def _remove_unused(caches: Path) -> None:
    """Remove finished caches that no run has opened for a month: images can be decoded again."""
    for index in caches.glob("[!.]*/index.json"):
        with contextlib.suppress(OSError):  # another job may be doing the same
            if time.time() - index.stat().st_mtime > UNUSED_SECONDS:
                shutil.rmtree(index.parent)


def _remove_leftovers(folder: Path) -> None:
    """Remove what killed runs left of this cache, long enough ago that none is still at it."""
    for old in folder.parent.glob(f".{folder.name}.*"):
        if time.time() - old.stat().st_mtime > STALE_SECONDS:
            shutil.rmtree(old, ignore_errors=True)
