"""train.log: what the console shows of a run, with times."""

import contextlib
import logging
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path

from trainwright.errors import DiskError
from trainwright.files import append_line

# The logs of the run at work, where several take turns in one process, each in its context.
_current: ContextVar[tuple[Path, ...]] = ContextVar("logs of the run", default=())


@contextlib.contextmanager
def logged_to(path: Path, *, times: bool = True) -> Iterator[None]:
    """While this context is open, what the console shows is kept in a file too."""
    handler = _LogFile(path)
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s" if times else "%(message)s"))
    root = logging.getLogger("trainwright")
    root.addHandler(handler)
    outer = _current.set((*_current.get(), path))
    try:
        yield
    finally:
        _current.reset(outer)
        root.removeHandler(handler)
        handler.close()


class _LogFile(logging.Handler):
    """Appends lines whole or, where the disk is full, not at all: the console has them too."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path

    def emit(self, record: logging.LogRecord) -> None:
        current = _current.get()
        if current and self._path not in current:  # another run's; threads know of none
            return
        with contextlib.suppress(DiskError):
            append_line(self._path, self.format(record))
