"""train.log: what the console shows of a run, with times."""

import contextlib
import logging
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path

from trainwright.errors import DiskError
from trainwright.files import append_line

# The log of the run at work here, where several take turns in one process, each in a context.
_current: ContextVar[Path | None] = ContextVar("log of the run", default=None)


@contextlib.contextmanager
def logged_to(path: Path) -> Iterator[None]:
    """While this context is open, what the console shows is kept in a file too."""
    handler = _LogFile(path)
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    root = logging.getLogger("trainwright")
    root.addHandler(handler)
    _current.set(path)
    try:
        yield
    finally:
        _current.set(None)
        root.removeHandler(handler)
        handler.close()


class _LogFile(logging.Handler):
    """Appends lines whole or, where the disk is full, not at all: the console has them too."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path

    def emit(self, record: logging.LogRecord) -> None:
        if _current.get() not in (None, self._path):  # another run's; threads know of none
            return
        with contextlib.suppress(DiskError):
            append_line(self._path, self.format(record))
