"""What a person reads when a command fails: at most five lines, and the contract's exit code."""

import re
import sys
import traceback
from collections.abc import Sequence

from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from trainwright.compose import section_keys
from trainwright.config import nearest, unknown_key
from trainwright.errors import ConfigError, DiskError, TrainwrightError

MAX_LINES = 5
MAX_WIDTH = 300


def explain(error: Exception, arguments: Sequence[str]) -> int:
    """Print what went wrong and return the exit code; a traceback only where it is our bug."""
    ours = _as_ours(error, arguments)
    if ours is None:
        traceback.print_exception(error)
        print("this is a bug in trainwright or in a class of your own", file=sys.stderr)
        return 1
    lines = [line[:MAX_WIDTH] for line in str(ours).splitlines() if line.strip()]
    print("error: " + "\n".join(lines[:MAX_LINES]), file=sys.stderr)
    return ours.exit_code


def _as_ours(error: Exception, arguments: Sequence[str]) -> TrainwrightError | None:
    """The error in our words, or None if it is a bug."""
    if isinstance(error, TrainwrightError):
        return error
    if isinstance(error, MissingConfigException):
        return _no_such_option(error)
    if isinstance(error, OverrideParseException):
        return ConfigError(
            f"{error.override!r} is no override: write key=value, group=option, or ~key to delete\n"
            f"  {str(error).splitlines()[0]}\n"
            "  values with spaces, commas or brackets need quotes: 'key=[1, 2]'"
        )
    if isinstance(error, YAMLError):
        return ConfigError(f"a config file is not valid YAML: {error}")
    if isinstance(error, HydraException | OmegaConfBaseException):
        return _from_message(error, arguments)
    if isinstance(error, OSError) and error.errno is not None:
        return DiskError(f"{error.filename or 'a file'}: {error.strerror}")
    return None


def _no_such_option(error: MissingConfigException) -> ConfigError:
    """A group has no such option, or a config lists one that does not exist."""
    group, _, option = str(error.missing_cfg_file or "").rpartition("/")
    options = sorted(error.options or [])
    if not group or not options:
        return ConfigError(str(error).splitlines()[0])
    return ConfigError(
        f"{group}={option}: there is no such option{nearest(option, options)}\n"
        f"  {group} accepts: {', '.join(options)}"
    )


def _from_message(error: Exception, arguments: Sequence[str]) -> ConfigError:
    """Hydra says which key it could not override, or what is wrong with a value."""
    text = str(error)
    key = re.match(r"Could not (?:override|append to config) '([^']+)'", text)
    if key is not None:
        parent = key[1].rpartition(".")[0]
        return unknown_key(key[1], section_keys(parent, arguments))
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return ConfigError("\n  ".join(lines))
