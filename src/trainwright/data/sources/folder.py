"""Your own images: a folder of class folders, of train/ and test/ with those, or of images."""

import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

import torch

from trainwright.data.columns import Classes, Image
from trainwright.data.dataset import INPUTS, TARGETS, Dataset
from trainwright.data.images.image_cache import open_images, write_images
from trainwright.data.images.listing import ImageFile, Listing, list_images
from trainwright.data.origins import ImageFiles
from trainwright.data.sources.fetch import data_root
from trainwright.data.splits import (
    Fold,
    Size,
    make_dataset,
    require_examples,
    split_indices,
    split_of,
    split_sizes,
    test_or_fold,
)
from trainwright.errors import ConfigError
from trainwright.files import typed_path
from trainwright.wording import printable

log = logging.getLogger(__name__)

CACHE_VERSION = 3  # raise when the same files would be decoded to other pixels
LARGEST_SIZE = 4096


def load_folder(
    *,
    path: str,
    size: int = 32,
    channels: Literal[1, 3] = 3,
    fit: Literal["crop", "pad", "stretch"] = "crop",
    on_bad: Literal["error", "skip"] = "error",
    timeout: float = 60,
    root: str | None = None,
    validation: int | float = 0.1,
    test: int | float = 0.1,
    split_seed: int = 0,
    folds: int | None = None,
    fold: int = 0,
    limit: int | None = None,
) -> Dataset:
    """Images of any size in `path` as (N, channels, size, size) uint8, mapped from disk.

    Classes are the names of the class folders, sorted; loose images have no targets.
    `validation` and `test` are carved from training where `path` has no such folder. The images
    are decoded once, into `<root>/folder-cache`, and again when a file or a setting changes.

    Raises ConfigError for wrong settings, DataError for a folder without images, of mixed form,
    (unless `on_bad` is skip) with files that are no images, or with one that takes more than
    `timeout` seconds to decode or crashes its decoder; DiskError where the cache cannot be
    written.
    """
    if not 1 <= size <= LARGEST_SIZE:
        raise ConfigError(f"data.size is {size}; it must be 1 to {LARGEST_SIZE} pixels")
    if not timeout > 0:
        raise ConfigError(f"data.timeout is {timeout}; it must be more than 0 seconds")
    # Sizes by themselves; what they leave of this folder is checked once its files are known.
    held_out = test_or_fold(test, folds, fold)
    split_sizes(2**62, validation=validation, test=held_out, limit=limit)
    folder = typed_path(path).absolute()
    listing = list_images(folder)
    if listing.backups:
        some, first = len(listing.backups), printable(listing.backups[0])
        log.warning("left out %d backup copies in %s, such as %s", some, folder, first)
    if isinstance(held_out, Fold) and "test" in listing.splits:
        raise ConfigError(
            f"data.folds: {folder.name} has a test/ folder, which is the test split\n"
            "  for cross-validation, put all images into the class folders"
        )
    splits = _divide(listing, validation=validation, test=held_out, split_seed=split_seed)
    require_examples(folder.name, splits)  # before any is decoded
    settings = {"size": size, "channels": channels, "fit": fit, "on_bad": on_bad}
    cache = data_root(root) / "folder-cache" / _cache_key(listing, splits, settings)
    if not cache.exists():
        write_images(
            cache,
            folder,
            splits,
            bad=listing.bad,
            skip_bad=on_bad == "skip",
            size=size,
            channels=channels,
            fit=fit,
            timeout=timeout,
        )
    cached = open_images(cache, channels=channels, size=size)
    targets = cached.labels if listing.class_names else None
    named = {TARGETS: Classes(listing.class_names)} if listing.class_names else {}
    parts = {}
    start = 0
    for split, count in cached.counts.items():
        kept = count if limit is None or split != "train" else min(limit, count)
        window = slice(start, start + kept)  # slices of a mapped array stay on disk
        labels = None if targets is None else targets[window]
        parts[split] = split_of(cached.images[window], labels, cached.mapping)
        start += count
    found = make_dataset(
        folder.name,
        train=parts["train"],
        validation=parts["validation"],
        test=parts["test"],
        columns={INPUTS: Image(fit=fit), **named},
        targets=tuple(named),
    )
    if cached.skipped is None:
        return found
    names = {
        split: [file.name for file in files if file.name not in cached.skipped][: len(parts[split])]
        for split, files in splits.items()
    }
    return replace(found, origins=ImageFiles(names))


def _divide(
    listing: Listing, *, validation: int | float, test: Size, split_seed: int
) -> dict[str, list[ImageFile]]:
    """Training, validation and test files in the order in which they will lie on disk."""
    files = listing.splits["train"]
    train, held_out, last = split_indices(
        len(files),
        validation=0 if "validation" in listing.splits else validation,
        test=0 if "test" in listing.splits else test,
        seed=split_seed,
        classes=torch.tensor([file.label for file in files]),
    )
    return {
        "train": [files[index] for index in train],
        "validation": listing.splits.get("validation", [files[index] for index in held_out]),
        "test": listing.splits.get("test", [files[index] for index in last]),
    }


def _cache_key(
    listing: Listing, splits: dict[str, list[ImageFile]], settings: Mapping[str, str | int]
) -> str:
    """A name for exactly these files, in this order, decoded in this way."""
    content = [CACHE_VERSION, settings, listing.class_names, splits, sorted(listing.bad.items())]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:32]
