"""How far along a download or a decode is: a bar on a terminal, one plain line in a log file."""

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def progress_bar(label: str, total: int, unit: str) -> Iterator[Callable[[int], object]]:
    """Show progress on stderr while the block runs; the value is called with each advance.

    Bytes (`unit="B"`) are shown as kB and MB. Without a terminal one line is written and no bar.
    """
    if not sys.stderr.isatty():
        amount = f"{total / 1e6:.1f} MB" if unit == "B" else f"{total:,} {unit}"
        print(f"{label} ({amount})", file=sys.stderr, flush=True)
        yield lambda _: None
        return
    from tqdm import tqdm

    with tqdm(desc=label, total=total, unit=unit, unit_scale=unit == "B", leave=False) as bar:
        yield bar.update


def own_progress_lock() -> None:
    """In a process that was forked: share no lock of progress bars with its relatives.

    tqdm's lies in shared memory, and one of them that is killed while it holds it would hang all
    the others at their next line.
    """
    from tqdm import tqdm

    tqdm.set_lock(threading.RLock())
