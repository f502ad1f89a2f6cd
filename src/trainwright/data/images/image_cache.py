"""Decoded images are kept on disk as one array, to be mapped into memory by later runs."""

import hashlib
import logging
import mmap
import os
from array import array
from collections.abc import Generator, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainwright.data.cache import damaged, mapped, new_cache, read_index, sign
from trainwright.data.images.decode import BadImageError, Fit
from trainwright.data.images.decoding import Decoders
from trainwright.data.images.listing import ImageFile
from trainwright.errors import DataError
from trainwright.progress import progress_bar
from trainwright.wording import printable

log = logging.getLogger(__name__)

BATCH, BATCH_BYTES = 256, 64 * 2**20  # at most so much is decoded before it is written
REQUEST = 16  # files that a process is asked for at a time
WHAT, FILES = "decoded images", ("images.bin", "labels.npy")


@dataclass(frozen=True)
class CachedImages:
    """Images (N, C, S, S) uint8 mapped from disk, labels (N,) int64, N split by split."""

    images: Tensor
    mapping: mmap.mmap
    labels: Tensor
    counts: dict[str, int]
    skipped: frozenset[str] | None  # files that are left out; None where that is not known


def open_images(folder: Path, *, channels: int, size: int) -> CachedImages:
    """Map a finished cache. Raises DataError where it is damaged: all of it is held to a digest."""
    try:
        index = read_index(folder, FILES)
        counts = {str(name): int(count) for name, count in index["counts"].items()}
        shape = (sum(counts.values()), channels, size, size)
        labels = torch.from_numpy(np.load(folder / "labels.npy", allow_pickle=False))
        mapping = mapped(folder / "images.bin")
        images = torch.frombuffer(mapping, dtype=torch.uint8).view(shape)
        if len(labels) != len(images) or labels.dtype != torch.int64:
            raise ValueError("labels and images differ in number")
    except Exception as error:  # damaged JSON and arrays raise all sorts
        raise damaged(folder, WHAT, "decode the images afresh") from error
    if index.get("num_skipped"):
        log.warning("skipped %d unreadable files", index["num_skipped"])
    if index.get("copies"):
        log.warning("%s", index["copies"])
    skipped = index.get("skipped", None if index.get("num_skipped") else [])
    left_out = None if skipped is None else frozenset(map(str, skipped))
    return CachedImages(images, mapping, labels, counts, left_out)


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
    timeout: float,
) -> None:
    """Decode the files of `root`, split by split in the order given, into the cache `folder`.

    The cache gets its name when it is complete, so a kill leaves nothing that looks finished.
    `bad` holds the files already known to be none. Raises DataError listing the files that are
    no images unless `skip_bad`, and for one that takes more than `timeout` seconds or the decoder
    with it; DiskError where the cache cannot be written.
    """
    files = [(split, file) for split, listed in splits.items() for file in listed]
    num_files, image_bytes = len(files) + len(bad), channels * size * size
    bad = dict(bad)
    with new_cache(folder, WHAT) as part:
        counts = dict.fromkeys(splits, 0)
        kept: list[ImageFile] = []
        digests = array("Q")
        names = [file for _, file in files]
        decoders = Decoders(len(names), size=size, channels=channels, fit=fit, timeout=timeout)
        with (
            (part / "images.bin").open("wb") as target,
            closing(_decode_all(root, names, decoders, BATCH_BYTES // image_bytes)) as decoded,
        ):
            for (split, file), (image, digest) in zip(files, decoded, strict=True):
                if isinstance(image, BadImageError):
                    bad[file.name] = str(image)
                elif skip_bad or not bad:
                    target.write(image.data)
                    kept.append(file)
                    digests.append(digest)
                    counts[split] += 1
            target.flush()
            os.fsync(target.fileno())
        if bad and not skip_bad:
            raise DataError(_list_bad(folder, root, bad, num_files=num_files))
        # What is left after skipping must still be a dataset.
        labels = [file.label for file in kept]
        lost = {file.label for file in names} - set(labels)
        empty = [split for split, count in counts.items() if not count]
        if lost or empty:
            where = f"the {' and '.join(empty)} split" if empty else f"{len(lost)} of its classes"
            raise DataError(f"{root}: no readable image is left for {where}")
        np.save(part / "labels.npy", np.array(labels, dtype=np.int64))
        index = {"counts": counts, "num_skipped": len(bad), "source": str(root)}
        index["skipped"] = sorted(bad)
        index["copies"] = _copies(kept, np.array(digests), counts)
        sign(part, index, FILES)


def _decode_all(
    root: Path, files: Sequence[ImageFile], decoders: Decoders, most_ahead: int
) -> Generator[tuple[NDArray[np.uint8] | BadImageError, int], None, None]:
    """The images in order, at most so many ahead of the reader, and a number by their pixels."""

    def decode(part: Sequence[ImageFile]) -> list[tuple[NDArray[np.uint8] | BadImageError, int]]:
        images = decoders.decode([root / file.name for file in part])
        return [(image, _digest(image)) for image in images]

    remaining = iter(files)
    batch_size = min(BATCH, max(1, most_ahead))
    with (
        ThreadPoolExecutor(decoders.count) as pool,
        decoders,  # they end first, so that no thread waits for one
        progress_bar(f"decoding {root}", len(files), "images") as advance,
    ):
        while batch := list(islice(remaining, batch_size)):
            parts = [batch[start : start + REQUEST] for start in range(0, len(batch), REQUEST)]
            for images in pool.map(decode, parts):
                yield from images
            advance(len(batch))


def _digest(image: NDArray[np.uint8] | BadImageError) -> int:
    """Of a million images two that differ have the same once in 40 million times."""
    if isinstance(image, BadImageError):
        return 0
    return int.from_bytes(hashlib.sha256(image.reshape(-1).data).digest()[:8])


def _copies(files: Sequence[ImageFile], digests: NDArray[np.uint64], counts: dict[str, int]) -> str:
    """What to say of images that are also in a split before theirs."""
    told, pair, start = [], "", 0
    for split, count in counts.items():
        before, own = digests[:start], digests[start : start + count]
        places = np.flatnonzero(np.isin(own, before))
        if len(places):
            copy = start + int(places[0])
            original = int(np.argmax(before == digests[copy]))
            pair = pair or f"{printable(files[original].name)} and {printable(files[copy].name)}"
            told.append(f"{len(places):,} of the {count:,} {split} images")
        start += count
    if not told:
        return ""
    return (
        f"{' and '.join(told)} are pixel for pixel in a split before, such as {pair}: "
        "they flatter what is measured"
    )


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
    return "\n".join([*lines, "  remove or repair them, or leave them out with data.on_bad=skip"])
