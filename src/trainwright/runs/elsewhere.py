"""Runs and sweeps whose folder was typed and lies outside the root: where they are.

`run.dir=two` is no folder of `outputs`, and `runs list` shows it all the same. It is remembered for
this user and not in the root, which may come from anyone.
"""

import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from trainwright.files import remember, remembered

_MEMORY = "elsewhere.jsonl"


def note(root: Path, folder: Path) -> None:
    """Remember a new run of that root, or the sweep that it is a job of, if it lies outside."""
    place = folder.parent if (folder.parent / ".sweep").is_dir() else folder
    if place.resolve().is_relative_to(root.resolve()) or place.resolve() in noted(root):
        return
    entry = {"root": str(root.resolve()), "folder": str(place.resolve())}
    remember(_MEMORY, json.dumps(entry))


def noted(root: Path) -> list[Path]:
    """The folders of runs and sweeps outside that root, as far as they are still there."""
    found = dict.fromkeys(_folders(str(root.resolve())))
    return [Path(folder) for folder in found if Path(folder).is_dir()]


def _folders(root: str) -> Iterator[str]:
    for line in remembered(_MEMORY):
        with suppress(ValueError, TypeError, KeyError):
            entry = json.loads(line)
            if entry["root"] == root:
                yield str(entry["folder"])
