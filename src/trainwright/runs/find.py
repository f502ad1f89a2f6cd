"""Which runs there are below a folder, and which one is meant by RUN."""

import os
from collections.abc import Iterator
from pathlib import Path

from trainwright.errors import ConfigError
from trainwright.files import typed_path
from trainwright.runs.elsewhere import noted
from trainwright.runs.ranking import ranked
from trainwright.runs.record import Record
from trainwright.wording import printable

DEFAULT_ROOT = Path("outputs")
MAX_DEPTH = 6  # <date>/<time>-sweep/<job> is three
MAX_CANDIDATES = 3  # named in an error, which has five lines
_RANKED = {"best": None, "highest": True, "lowest": False}


def find_runs(root: Path, *, elsewhere: bool = True) -> list[Record]:
    """Every run below `root`, the newest first. Links are not followed; no root, no runs.

    `elsewhere`: also those of that root whose folder was typed and lies outside.
    """
    records = [Record(path, root=root) for path in _run_folders(root, MAX_DEPTH)]
    for folder in noted(root) if elsewhere else ():
        records += [Record(path, root=folder.parent) for path in _run_folders(folder, 1)]
    return sorted(records, key=lambda record: (-record.started, record.name))


def _run_folders(folder: Path, depth: int) -> Iterator[Path]:
    """Folders of runs below one that is none. (os.scandir knows types without asking the disk.)"""
    try:
        with os.scandir(folder) as found:
            entries = sorted(found, key=lambda entry: entry.name)
    except OSError:
        return
    names = {entry.name for entry in entries}
    if _is_run(names):
        yield folder
        return
    if depth == 0:
        return
    for entry in entries:
        if not entry.name.startswith(".") and entry.is_dir(follow_symlinks=False):
            yield from _run_folders(Path(entry.path), depth - 1)


def _is_run(names: set[str]) -> bool:
    return "summary.json" in names or {"config.yaml", "checkpoints"} <= names


def is_run_folder(path: Path) -> bool:
    """Whether a path is a folder with the files of a run in it."""
    try:
        return path.is_dir() and _is_run({entry.name for entry in path.iterdir()})
    except OSError:
        return False


def find_run(run: str, root: Path = DEFAULT_ROOT) -> Record:
    """The run that RUN means: a path, `last`, `best:<metric>`, or a piece of one run's name.

    `highest:<metric>` and `lowest:<metric>` say which way is better of a metric that is not
    known. Raises ConfigError naming candidates where it is none, or several.
    """
    kind, _, metric = run.partition(":")
    if run != "last" and not (kind in _RANKED and metric):
        path = typed_path(run)
        is_checkpoint = path.is_file() and path.parent.name == "checkpoints"
        folder = path.parent.parent if is_checkpoint else path
        if is_run_folder(folder):
            return Record(
                folder,
                root=root if folder.is_relative_to(root) else None,
                named_checkpoint=path if is_checkpoint else None,
            )
    runs = find_runs(root)
    if not runs:
        raise ConfigError(
            f"{printable(run)}: there are no runs below {printable(str(root))}\n"
            "  RUN may also be a path; to look elsewhere: --root=FOLDER"
        )
    if run == "last":
        return runs[0]
    if kind in _RANKED and metric:
        return ranked(runs, metric, higher_is_better=_RANKED[kind])[0]
    return _named(run, runs)


def _named(run: str, runs: list[Record]) -> Record:
    wanted = run.strip("/")
    exact = [r for r in runs if wanted in (r.name, r.path.name)]
    found = exact or [r for r in runs if wanted in r.name]
    if len(found) == 1:
        return found[0]
    if not found:
        import difflib

        names = {r.path.name: r for r in runs}
        close = difflib.get_close_matches(run, names, n=MAX_CANDIDATES, cutoff=0.5)
        shown = [names[name] for name in close] or runs[:MAX_CANDIDATES]
        first = f"{printable(run)}: there is no such run" + (
            "; did you mean" if close else "; the newest are"
        )
        raise ConfigError("\n  ".join([first, *(printable(r.name) for r in shown)]))
    lines = [f"{printable(run)}: {len(found)} runs have that in their name; type more of it"]
    lines += [printable(r.name) for r in found[:MAX_CANDIDATES]]
    if len(found) > MAX_CANDIDATES:
        lines.append(f"and {len(found) - MAX_CANDIDATES} more")
    raise ConfigError("\n  ".join(lines))
