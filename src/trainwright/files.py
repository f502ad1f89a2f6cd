"""Files that are written whole or not at all, and what a person reads when the disk refuses."""

import contextlib
import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from trainwright.errors import ConfigError, DiskError
from trainwright.wording import format_bytes


def typed_path(text: str) -> Path:
    """The path that a person types: `~` and `~name` at its front are home folders, as in a shell.

    `./~name` is what lies here under that name, and so is `~name` where nobody is called that.
    Raises ConfigError where neither is.
    """
    path = Path(text)
    if not text.startswith("~"):
        return path
    try:
        return path.expanduser()
    except RuntimeError:
        name = path.parts[0]
        if Path(name).exists():
            return path
        raise ConfigError(
            f"{text}: no user is called {name[1:]}, and nothing here is called {name}\n"
            f"  write ~/... for your own home folder, or ./{text} for a new name that begins so"
        ) from None


def flush(path: Path) -> None:
    """Force a file's contents or a folder's entries to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary file beside `path` to write into; it takes the name when all has gone well.

    It is on disk before it does, and the name before this returns.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        flush(temporary)
        temporary.replace(path)
        flush(path.parent)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a file whole or not at all. Raises DiskError."""
    data = _encoded(text)
    try:
        with replacing(path) as temporary:
            temporary.write_bytes(data)
    except OSError as error:
        raise disk_error(path, len(data), error) from error


def append_line(path: Path, line: str) -> None:
    """Append a line whole or not at all: on a full disk half of it is taken back. Raises DiskError.

    It is on disk only after `flush`.
    """
    data = _encoded(line + "\n")
    try:
        with path.open("ab", buffering=0) as file:
            end = os.fstat(file.fileno()).st_size
            try:
                if file.write(data) != len(data):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
            except OSError:
                file.truncate(end)
                raise
    except OSError as error:
        raise disk_error(path, len(data), error) from error


def remember(name: str, line: str) -> None:
    """Add a line to a file in this user's state folder; where that cannot be, nothing is kept."""
    path = _state_folder() / name
    with contextlib.suppress(OSError, DiskError):
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        append_line(path, line)


def remembered(name: str) -> list[str]:
    """The lines of a file in this user's state folder."""
    try:
        return (_state_folder() / name).read_text().splitlines()
    except (OSError, ValueError):
        return []


def _state_folder() -> Path:
    from platformdirs import user_state_path

    return user_state_path("trainwright")


def _encoded(text: str) -> bytes:
    """UTF-8; of the name of a file that is not, the bytes as escapes."""
    return text.encode("utf-8", "backslashreplace")


def disk_error(path: Path, needed: int | None, error: Exception) -> DiskError:
    """The error for a file that could not be written, of `needed` bytes where that is known."""
    full = "No space" in str(error) or (isinstance(error, OSError) and error.errno == errno.ENOSPC)
    reason = os.strerror(errno.ENOSPC) if full else getattr(error, "strerror", None) or str(error)
    space = [f"{format_bytes(needed)} needed"] if needed is not None else []
    with contextlib.suppress(OSError):
        space.append(f"{format_bytes(shutil.disk_usage(path.parent).free)} free")
    is_about_space = full or getattr(error, "errno", None) in (None, errno.EDQUOT, errno.EFBIG)
    details = f": {', '.join(space)}" if space and is_about_space else ""
    return DiskError(f"could not write {path}\n  {reason}{details}")


def leftovers(folder: Path) -> list[Path]:
    """The unfinished files that a killed process has left in a folder and those directly in it."""
    found = [path for pattern in (".*.tmp", ".tmp*") for path in folder.rglob(pattern)]
    # A picture keeps its suffix, so that its format is known: `.000500.<process>.png`.
    found += [p for p in folder.rglob(".*.png") if p.stem.rpartition(".")[2].isdigit()]
    return sorted({path for path in found if path.is_file()})
