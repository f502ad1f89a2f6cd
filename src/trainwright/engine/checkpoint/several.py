"""The several best checkpoints of a run: `best`, `best-2`, `best-3`, in the order of their metric.

The files are the only record of which there are: each holds its own evaluation. Reads headers, and
needs no torch.
"""

import contextlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from trainwright.errors import CheckpointError
from trainwright.files import disk_error
from trainwright.runs.folder import RunFolder
from trainwright.runs.header import check_header, read_metadata
from trainwright.runs.record import numbers

_NAME = re.compile(r"best-([2-9]|[1-9][0-9]{1,3})")


class Kept(NamedTuple):
    """A checkpoint as its header claims to be; `metrics` is empty where it was not evaluated."""

    path: Path
    step: int
    metrics: Mapping[str, float]


def place_of(path: Path) -> int:
    """1 for `best`, 2 for `best-2`; 0 for another file."""
    found = _NAME.fullmatch(path.stem)
    return int(found[1]) if found else int(path.stem == "best")


def best_paths(folder: RunFolder) -> dict[int, Path]:
    """The files by their place, in its order."""
    paths = filter(Path.is_file, folder.checkpoints.glob("best*.safetensors"))
    found = {place_of(path): path for path in paths}
    return {place: found[place] for place in sorted(found) if place}


def kept(folder: RunFolder) -> dict[int, Kept]:
    """What can be read of them, by their place."""
    found = {}
    for place, path in best_paths(folder).items():
        with contextlib.suppress(
            CheckpointError, LookupError, TypeError, ValueError, OverflowError
        ):
            progress = read_metadata(path, check_header(path).labels["trainwright"])["progress"]
            step, last = int(progress["step"]), progress["last"]
            is_evaluated = last is not None and last["step"] == step
            found[place] = Kept(path, step, numbers(last["metrics"]) if is_evaluated else {})
    return found


def settle(folder: RunFolder, step: int, keep: int) -> None:
    """Leave of best-2, best-3, ... what a run at this step has, each step once, without gaps.

    A kill may have left two names for one file; what comes after the step will come again; and
    fewer may be wanted than before. Raises DiskError.
    """
    found = kept(folder)
    seen = {found[1].step} if 1 in found else set()
    place = 2
    for number, path in best_paths(folder).items():
        if number == 1:
            continue
        one = found.get(number)
        try:
            if one is None or one.step > step or one.step in seen or place > keep:
                path.unlink()
                continue
            path.replace(folder.best_of(place))
        except OSError as error:
            raise disk_error(path, None, error) from error
        seen.add(one.step)
        place += 1
