"""Errors that are the user's to mend: what was wrong, where, what would be right, and an exit code.

The command line prints them without a traceback; anything else that is raised is a bug of ours.
"""

import importlib


class TrainwrightError(Exception):
    """Base of all errors that end a command with a message instead of a traceback.

    The message has at most five lines. `exit_code` is part of the contract with the shell.
    """

    exit_code = 1


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


def require_extra(what: str, *packages: str, extra: str) -> None:
    """Import what an option such as `logger=wandb` needs. Raises ConfigError naming the extra."""
    try:
        for package in packages:
            importlib.import_module(package)
    except ImportError as error:
        raise ConfigError(
            f"{what} needs a package that is not installed ({error})\n"
            f"  pip install 'trainwright[{extra}]'"
        ) from error
