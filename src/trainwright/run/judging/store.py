"""Feature networks and what they saw are kept on disk, so that they are made once.

A file is named by a hash of all that it depends on, so that nothing in the folder is ever out of
date, and any of it may be deleted.
"""

import hashlib
import logging
import os
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

from filelock import FileLock
from platformdirs import user_cache_path
from torch import Tensor

from trainwright.data.sources.fetch import data_root
from trainwright.engine.checkpoint import checkpoint
from trainwright.engine.checkpoint.tensor_file import bytes_of
from trainwright.errors import CheckpointError, DiskError

log = logging.getLogger(__name__)


def kept(key: str, make: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
    """The tensors of that key: from the file that holds them, else made, and kept if possible.

    While one process makes them, others that want the same wait for it.
    """
    folder = store_folder()
    if folder is None:
        log.warning("score: no folder to keep its features in: they are computed again in each run")
        return make()
    path = folder / f"{key}.safetensors"
    with nullcontext() if path.exists() else FileLock(folder / f"{key}.lock"):
        if path.exists():
            try:
                return checkpoint.load(path)[0]
            except CheckpointError as error:
                log.warning("score: made again: %s", str(error).splitlines()[0])
        tensors = make()
        try:
            checkpoint.save([path], tensors, {"kind": "score"})
        except DiskError as error:
            log.warning("score: not kept: %s", "; ".join(str(error).splitlines()[:2]))
        return tensors


def store_folder() -> Path | None:
    """`score` in $TRAINWRIGHT_DATA or the user's cache folder, whichever can be written first."""
    for root in dict.fromkeys((data_root(None), user_cache_path("trainwright"))):
        folder = root / "score"
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError:
            continue
        if os.access(folder, os.W_OK):
            return folder
    return None


def digest(*parts: str | Tensor | None) -> str:
    """Eighty bits of a SHA-256 over texts and tensors: their types, shapes and bytes."""
    state = hashlib.sha256()
    for part in parts:
        if isinstance(part, Tensor):
            array = part.detach().cpu().contiguous()
            state.update(f"\0{array.dtype}{tuple(array.shape)}\0".encode())
            state.update(bytes_of(array))
        else:
            state.update(f"\0{part}\0".encode())
    return state.hexdigest()[:20]
