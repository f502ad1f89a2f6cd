"""`runs clean`: what would be freed; deleted only with a yes."""

import argparse
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from trainwright.cli.terminal.keys import Key
from trainwright.cli.terminal.table import text_table
from trainwright.errors import CheckpointError, DiskError
from trainwright.runs.find import find_runs
from trainwright.runs.lock import RunLock
from trainwright.runs.query import parse_condition, require_known, require_spared
from trainwright.runs.record import UNKNOWN, Record
from trainwright.wording import format_bytes, format_count, printable

KEYS: tuple[Key, ...] = ()
EXAMPLES = """\
  runs clean                                    runs that ended before their first checkpoint
  runs clean status=failed,stopped 'age>30d'    by any filter of `runs list`
  runs clean 'validation/accuracy<0.5' --yes

Lists what would be freed and asks; without a terminal it deletes only with --yes. Runs that are
still running are never touched; links are not followed; nothing outside --root is deleted."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Filters, and the yes."""
    parser.add_argument("filters", nargs="*", help="as for `runs list`; all of them must hold")
    parser.add_argument("--yes", action="store_true", help="delete without asking")


def execute(arguments: argparse.Namespace) -> int:
    """List, ask, delete. Raises DiskError where folders cannot be deleted: all others are."""
    conditions = [parse_condition(word) for word in arguments.filters]
    everything = find_runs(arguments.root, elsewhere=False)
    require_known([condition.key for condition in conditions], everything)
    require_spared(conditions, everything)
    if conditions:
        chosen = [run for run in everything if all(c.holds(run) for c in conditions)]
    else:
        chosen = [run for run in everything if _has_nothing(run)]
    strange = [run for run in chosen if not _is_ours(run)]
    chosen = [run for run in chosen if _is_ours(run)]
    if strange:
        first = printable(strange[0].name)
        print(f"{len(strange):,} left alone that may not be runs: {first} has no run's config")
    running = [run for run in chosen if run.status == "running"]
    chosen = [run for run in chosen if run.status != "running" and run.path != arguments.root]
    if running:
        print(f"{len(running):,} running and left alone; `runs list status=running` shows them")
    if not chosen:
        print("nothing to clean")
        return 0
    sizes = [_size(run.path) for run in chosen]
    print("\n".join(_table(chosen, sizes)))
    if not arguments.yes and not _agreed(_total(sizes)):
        return 0
    freed, errors = [], []
    for run, size in zip(chosen, sizes, strict=True):
        try:
            if _delete(run, arguments.root):
                freed.append(size)
        except DiskError as error:
            errors.append(error)
    print(f"deleted {_total(freed)}")
    if errors:
        others = f"\n  and {len(errors) - 1:,} more" if len(errors) > 1 else ""
        raise DiskError(f"{errors[0]}{others}") from errors[0]
    return 0


def _total(sizes: Sequence[int]) -> str:
    return f"{len(sizes):,} {'run' if len(sizes) == 1 else 'runs'}, {format_bytes(sum(sizes))}"


def _is_ours(run: Record) -> bool:
    """Whether a folder is a run beyond doubt: programs of other people write a summary.json too."""
    return all(isinstance(run.config.get(section), dict) for section in ("trainer", "data"))


def _has_nothing(run: Record) -> bool:
    """Whether a run ended, or was torn, before it had saved or measured anything."""
    ended = run.status in ("failed", "stopped", "killed", UNKNOWN)
    try:
        saved = any((run.path / "checkpoints").glob("*.safetensors"))
    except OSError:
        return False
    return ended and not saved and not run.step


def _table(runs: Sequence[Record], sizes: Sequence[int]) -> list[str]:
    cells = [
        [run.name, run.status, format_count(run.step or 0), format_bytes(size)]
        for run, size in zip(runs, sizes, strict=True)
    ]
    return text_table(["NAME", "STATUS", "STEPS", "SIZE"], cells, right=["STEPS", "SIZE"])


def _agreed(total: str) -> bool:
    if not sys.stdin.isatty():
        print(f"would free {total}; nothing is deleted without --yes")
        return False
    try:
        answer = input(f"delete {total}? [y/N] ")
    except EOFError:
        answer = ""
    if answer.strip().lower() in ("y", "yes"):
        return True
    print("nothing was deleted")
    return False


def _size(folder: Path) -> int:
    """Bytes of the files below; a link counts as itself."""
    total = 0
    for where, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(f"{where}/{name}").st_size
            except OSError:
                continue
    return total


def _delete(run: Record, root: Path) -> bool:
    """Delete a run's folder, and those above it that are then empty, up to the root.

    False where it has been resumed meanwhile. Raises DiskError where it cannot be deleted; one that
    may not be written to, or in part not, is left whole.
    """
    where = root.resolve()
    inside = run.path.parent.resolve().is_relative_to(where)
    if run.path.is_symlink() or not inside:  # replaced by a link while we asked
        raise DiskError(f"{run.path} is no longer a folder in {root}; nothing in it was deleted")
    for folder in [run.path.parent, *(Path(where) for where, _, _ in os.walk(run.path))]:
        if not os.access(folder, os.W_OK | os.X_OK):
            raise DiskError(
                f"could not delete {run.path}: nothing in it was deleted\n"
                f"  Permission denied: {folder}"
            )
    try:
        with RunLock(run.path).acquire():  # so that nobody resumes it meanwhile
            shutil.rmtree(run.path)  # removes links, not what they lead to
    except CheckpointError:
        print(f"{printable(run.name)} was resumed in the meantime, and is left alone")
        return False
    except OSError as error:
        raise DiskError(
            f"could not delete {run.path}\n  {error.strerror}: {error.filename}"
        ) from error
    for folder in run.path.parents:
        if folder.resolve() == where:
            break
        try:
            folder.rmdir()
        except OSError:  # other runs are in it
            break
    return True
