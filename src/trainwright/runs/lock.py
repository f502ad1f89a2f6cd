"""One process at a time works in a run folder; a lock says which, and vanishes with the process."""

import errno
import fcntl
import logging
import os
import struct
import sys
from pathlib import Path

from trainwright.errors import CheckpointError, DiskError

log = logging.getLogger(__name__)

NAME = ".lock"
_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL}
# struct flock of fcntl.h: its layout, and the fields (type, whence, start, length, pid) in it.
_MAC = sys.platform == "darwin"
_LAYOUT = "@qqihh" if _MAC else "@hhqqi4x"

# Folders that this process holds. (A POSIX lock does not keep a process from locking again, and
# is lost when the process closes any descriptor of the file: so it is opened only once.)
_held: dict[Path, int] = {}  # and the process that has put them here: not a fork of it


class RunLock:
    """Held while a process trains in a run folder.

    A POSIX lock on the file `.lock`: the kernel drops it when the process ends, however that
    comes; a fork does not inherit it; a copy of the folder is not locked.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder.resolve() / NAME
        self._descriptor: int | None = None

    def acquire(self) -> "RunLock":
        """Take the lock.

        Raises CheckpointError that names the process which has it, DiskError where the folder
        cannot be written to.
        """
        if _held.get(self._path) == os.getpid():
            raise _in_use(self._path.parent, os.getpid())
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
        except OSError as error:
            raise DiskError(
                f"cannot write to the run folder {self._path.parent}\n  {error.strerror}"
            ) from error
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                pid = _pid_of_holder(descriptor)
                os.close(descriptor)
                raise _in_use(self._path.parent, pid) from error
            log.warning(
                "no locks on this file system: make sure that only one process uses %s", self._path
            )
        self._descriptor = descriptor
        _held[self._path] = os.getpid()
        return self

    def release(self) -> None:
        """Give the lock back; a second time does nothing."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
            _held.pop(self._path, None)

    def __enter__(self) -> "RunLock":
        return self

    def __exit__(self, *error: object) -> None:
        self.release()


def holder(folder: Path) -> int | None:
    """The process that trains in a run folder, 0 if it cannot be told which; None if there is none.

    So a run whose summary says `running` and which nobody holds was killed.
    """
    path = folder.resolve() / NAME
    if _held.get(path) == os.getpid():
        return os.getpid()
    try:
        # The folder may come from anyone: a pipe of that name would be waited for.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        return _pid_of_holder(descriptor)
    finally:
        os.close(descriptor)


def _pid_of_holder(descriptor: int) -> int | None:
    """The process that keeps us from a lock; None if none does."""
    if _MAC:
        asked = struct.pack(_LAYOUT, 0, 0, 0, fcntl.F_WRLCK, os.SEEK_SET)
    else:
        asked = struct.pack(_LAYOUT, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
    try:
        answer = struct.unpack(_LAYOUT, fcntl.fcntl(descriptor, fcntl.F_GETLK, asked))
    except OSError:
        return None
    kind, pid = (answer[3], answer[2]) if _MAC else (answer[0], answer[4])
    return None if kind == fcntl.F_UNLCK else max(int(pid), 0)


def _in_use(folder: Path, pid: int | None) -> CheckpointError:
    by = f"process {pid}" if pid else "another process"
    return CheckpointError(f"{folder} is in use by {by}\n  wait for it to end, or stop it")
