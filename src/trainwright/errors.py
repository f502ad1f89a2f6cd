"""Errors that are the user's to mend: what was wrong, where, what would be right, and an exit code.

The command line prints them without a traceback; anything else that is raised is a bug of ours.
"""

import contextlib
import importlib
import linecache
import re
import sys
import sysconfig
import traceback
from itertools import dropwhile
from pathlib import Path

SHOWN_WITH_DEBUG = "  with --debug the whole traceback is shown"
OWN_CODE = "code of your own fails"
_OURS = str(Path(__file__).parent)
_NOT_THEIRS = (
    _OURS,
    str(Path(__file__).parents[1] / "hydra_plugins"),
    sysconfig.get_paths()["stdlib"],
    "<",
)
_CALLED_WRONGLY = re.compile(r"(?:\w+\.<locals>\.)?([\w.]+)\(\) (?:missing|takes|got)\b")


class TrainwrightError(Exception):
    """Base of all errors that end a command with a message instead of a traceback.

    The message has at most five lines. `exit_code` is part of the contract with the shell.
    """

    exit_code = 1

    def _render_traceback_(self) -> list[str]:
        """The lines that a notebook shows: the way through trainwright is nothing to a user."""
        cause = [] if self.__cause__ is None else traceback.format_exception(self.__cause__)
        return [*cause, f"{type(self).__name__}: {self}"]


class ConfigError(TrainwrightError):
    """A wrong key, option, type, value or combination in the config."""

    exit_code = 2


class DataError(TrainwrightError):
    """A dataset is missing, damaged, empty or not what it says it is."""

    exit_code = 3


class CheckpointError(TrainwrightError):
    """A checkpoint is missing, damaged, or not from a run like this one."""

    exit_code = 4


class NonFiniteError(TrainwrightError):
    """A loss or gradient became NaN or infinite."""

    exit_code = 5


class IllError(TrainwrightError):
    """An evaluation has found the run ill, and going back has not cured it."""

    exit_code = 5


class DiskError(TrainwrightError):
    """A file or folder of the run could not be written."""

    exit_code = 6


class OutOfMemoryError(TrainwrightError):
    """The device or the machine has too little memory for this run."""

    exit_code = 7


def own_code_failed(what: str, error: BaseException) -> ConfigError:
    """What failed in code of the user's own, in which of its lines, and why."""
    first = (str(error).strip().splitlines() or [""])[0]
    lines = [
        f"{what}: {type(error).__name__}: {first}",
        *(f"  {line}" for line in [own_line(error)] if line),
        SHOWN_WITH_DEBUG,
    ]
    return ConfigError("\n".join(lines))


def own_line(error: BaseException) -> str | None:
    """The line of the user's own code where an error arose: `mine.py:12: self.layer(x)`.

    Of a function of theirs that was called with other arguments than it takes, its first line. None
    where no code of theirs was at work: all that is neither ours, nor Python's, nor installed.
    """
    frames = traceback.extract_tb(error.__traceback__)
    called = dropwhile(lambda frame: not frame.filename.startswith(_OURS), frames)  # by us
    theirs = [frame for frame in called if _is_theirs(frame.filename)]
    if theirs:
        return f"{Path(theirs[-1].filename).name}:{theirs[-1].lineno}: {theirs[-1].line}"
    wrongly = _CALLED_WRONGLY.match(str(error)) if isinstance(error, TypeError) else None
    if wrongly is None:
        return None
    name, *inner = wrongly[1].split(".")
    for module in list(sys.modules.values()):
        if name not in getattr(module, "__dict__", ()) or not _is_theirs(module.__file__ or "<"):
            continue
        found = vars(module)[name]
        for part in inner:
            found = getattr(found, part, None)
        if (code := getattr(found, "__code__", None)) is not None:
            line = linecache.getline(code.co_filename, code.co_firstlineno).strip()
            return f"{Path(code.co_filename).name}:{code.co_firstlineno}: {line}"
    return None


def _is_theirs(file: str) -> bool:
    return not file.startswith(_NOT_THEIRS) and "-packages" not in file


def install(extra: str) -> str:
    """The command that installs an extra from where trainwright itself has come from."""
    checkout = Path(__file__).parents[2]
    if (checkout / "pyproject.toml").is_file():
        where = "." if Path.cwd() == checkout else checkout
        return f"pip install -e '{where}[{extra}]'"
    return f"pip install '{_came_from() or 'trainwright'}[{extra}]'"


def _came_from() -> Path | None:
    """The folder or wheel that pip has installed it from, if that was one and is there."""
    import json
    from importlib import metadata
    from urllib.parse import unquote, urlsplit

    with contextlib.suppress(metadata.PackageNotFoundError, ValueError, KeyError):
        told = metadata.distribution("trainwright").read_text("direct_url.json")
        url = urlsplit(json.loads(told or "{}")["url"])
        if url.scheme == "file" and Path(unquote(url.path)).exists():
            return Path(unquote(url.path))
    return None


def require_extra(what: str, *packages: str, extra: str) -> None:
    """Import what an option such as `logger=wandb` needs. Raises ConfigError naming the extra."""
    try:
        for package in packages:
            importlib.import_module(package)
    except ImportError as error:
        raise ConfigError(
            f"{what} needs a package that is not installed ({error})\n  {install(extra)}"
        ) from error
