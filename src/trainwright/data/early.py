"""Data that a thread reads while torch is imported. No torch.

To decompress MNIST takes a quarter of a second, for which nobody needs the interpreter.
"""

import contextlib
import threading
from collections.abc import Mapping
from typing import Any

from trainwright.data.idx_file import Array
from trainwright.data.idx_source import SOURCES, is_there, read

_IDX = "trainwright.data.idx.load_idx"


class _Reading(threading.Thread):
    """What `idx_source.read` returns, in the end; None if that failed."""

    def __init__(self, name: str, root: str | None) -> None:
        super().__init__(name=f"reads {name}", daemon=True)
        self._what = name, root
        self.found: dict[str, Array] | None = None

    def run(self) -> None:
        with contextlib.suppress(Exception):  # who needs it reads it again, and is told
            self.found = read(*self._what)


_begun: dict[tuple[str, str | None], _Reading] = {}


def begin_reading(node: Mapping[str, Any]) -> None:
    """Begin to read what a config's section `data` describes, where that is of a kind for it.

    Nothing is downloaded, and nothing refused.
    """
    if node.get("_target_") != _IDX:
        return
    name, root = node.get("name", "mnist"), node.get("root")
    if name in SOURCES and (root is None or isinstance(root, str)) and is_there(name, root):
        reading = _begun[name, root] = _Reading(name, root)
        reading.start()


def read_source(name: str, root: str | None) -> dict[str, Array]:
    """What `idx_source.read` returns, from a thread that has begun with it, if one has."""
    reading = _begun.pop((name, root), None)
    if reading is not None:
        reading.join()
        if reading.found is not None:
            return reading.found
    return read(name, root)
