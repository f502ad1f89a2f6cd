"""What a person reads when a command fails: at most five lines, and the contract's exit code."""

import re
import sys
import traceback
from collections.abc import Sequence

from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from trainwright.cli.terminal.colour import painted
from trainwright.command_line import command, quoted
from trainwright.config.compose import no_such_key
from trainwright.config_folder import GROUPS, group_options, own_config_folder
from trainwright.errors import (
    OWN_CODE,
    ConfigError,
    DiskError,
    TrainwrightError,
    own_code_failed,
    own_line,
)
from trainwright.streams import tell
from trainwright.wording import choices, nearest, printable

# What of Hydra is at work while config files are read.
_READERS = ("config_repository.py", "config_loader_impl.py", "defaults_list.py")
MAX_LINES = 5
MAX_WIDTH = 1000  # more than all keys of the trainer, or a command with a long path


def explain(
    error: Exception,
    arguments: Sequence[str],
    *,
    debug: bool,
    job: str = "",
    composing: bool = False,
) -> int:
    """Print what went wrong and return the exit code; a traceback only where it is our bug.

    `job` says which one of a sweep it was, `composing` that no job had begun.
    """
    ours = told(error, arguments, composing=composing)
    if ours is None or debug:
        traceback.print_exception(error)
    if ours is None:
        what = "this is a bug in trainwright or in a class of your own"
        print(f"{painted('error:', 'red', sys.stderr)} {what}", file=sys.stderr)
        tell("failure", error=f"{type(error).__name__}: {error}", exit_code=1)
        return 1
    print(f"{painted(f'error{job}:', 'red', sys.stderr)} {ours}", file=sys.stderr)
    tell("failure", error=str(ours), exit_code=ours.exit_code)
    return ours.exit_code


def told(
    error: Exception, arguments: Sequence[str], *, composing: bool = False
) -> TrainwrightError | None:
    """The error as a person is told of it, in at most five lines; None where it is our bug."""
    ours = _as_ours(error, arguments)
    if ours is None and composing and own_config_folder() is not None and _was_reading(error):
        ours = _broken_file(error)
    if ours is not None:
        lines = [_shortened(printable(line)) for line in str(ours).splitlines() if line.strip()]
        ours.args = ("\n".join(lines[:MAX_LINES]),)
    return ours


def was_interrupted(error: BaseException | None) -> bool:
    """Whether Ctrl-C is behind an error: a library that cleans up then may raise another over it.

    (OmegaConf does, where it has not yet given a list its contents.)
    """
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error is not None


def _shortened(line: str) -> str:
    """A line that ends between two words where it is too long."""
    return line if len(line) <= MAX_WIDTH else line[:MAX_WIDTH].rpartition(" ")[0] + " ..."


def _as_ours(error: Exception, arguments: Sequence[str]) -> TrainwrightError | None:
    """The error in our words, or None if it is a bug."""
    if isinstance(error, TrainwrightError):
        return error
    if isinstance(error, MissingConfigException):
        return _no_such_option(error)
    if isinstance(error, OverrideParseException):
        return _no_override(error)
    if isinstance(error, YAMLError):
        return ConfigError(f"a config file is not valid YAML: {error}")
    if isinstance(error, HydraException | OmegaConfBaseException):
        return _from_message(error, arguments)
    if isinstance(error, ValueError) and "Config group override must be" in str(error):
        return ConfigError(
            "a group takes the name of an option, such as model=mlp, not a number or null\n"
            "  to leave a group out, delete it: ~experiment"
        )
    if isinstance(error, OSError) and error.errno is not None:
        return DiskError(f"{error.filename or 'a file'}: {error.strerror}")
    return None if own_line(error) is None else own_code_failed(OWN_CODE, error)


def _was_reading(error: Exception) -> bool:
    """Whether an error arose while Hydra read config files, and not in a sweep that it began."""
    frames = traceback.walk_tb(error.__traceback__)
    return any(frame.f_code.co_filename.endswith(_READERS) for frame, _ in frames)


def _broken_file(error: Exception) -> ConfigError:
    """Hydra lets through whatever reading a config file raises."""
    first = next(iter(str(error).strip().splitlines()), "") or type(error).__name__
    if isinstance(error, RecursionError):
        first = "it lists itself in its defaults, or is nested too deep"
    return ConfigError(
        f"a config file in {own_config_folder()} cannot be read\n  {first}\n"
        "  it must be YAML: keys and values, and perhaps a list of defaults"
    )


def _no_such_option(error: MissingConfigException) -> ConfigError:
    """A group has no such option, or a config lists one that does not exist."""
    group, _, option = str(error.missing_cfg_file or "").rpartition("/")
    options = group_options(group) or sorted(error.options or [])
    if not group or not options:
        return ConfigError(str(error).splitlines()[0])
    return ConfigError(
        f"{group}={option}: there is no such option{nearest(option, options)}\n"
        f"{choices(f'{group} accepts', option, options)}"
    )


def _no_override(error: OverrideParseException) -> ConfigError:
    """Something on the command line that is no key=value."""
    word = str(error.override)
    if word in GROUPS:
        return ConfigError(
            f"{word!r}: choose one of the group: {word}=...\n"
            f"  {word} accepts: {', '.join(group_options(word))}"
        )
    meant = [f"{group}={word}" for group in GROUPS if word in group_options(group)]
    hint = f"; did you mean {' or '.join(meant)}?" if meant else ""
    key, _, value = word.partition("=")
    quotes = "what has spaces, brackets or commas needs quotes: 'model.widths=[512, 256]'"
    if key and value and value[0] not in "[{":
        quotes = f"as text it needs quotes, twice: {command(f'{key}={quoted(value)}')}"
    return ConfigError(
        f"{word!r} is not an override{hint}\n"
        f"  write key=value, group=option, or ~key to delete\n  {quotes}"
    )


def _from_message(error: Exception, arguments: Sequence[str]) -> ConfigError:
    """Hydra says which key it could not override, or what is wrong with a value."""
    text = str(error)
    if several := re.match(r"Ambiguous value for argument '(.*)'$", text, re.MULTILINE):
        key, _, value = several[1].partition("=")
        listed = "" if key in GROUPS else f"\n  as a list: {command(f'{key}=[{value}]')}"
        return ConfigError(
            f"{several[1]}: these are several values, and one run takes one\n"
            f"  for a run of each: {command('train', '-m', several[1])}{listed}"
        )
    found = re.match(r"Could not (?:override|append to config) '([^']+)'", text)
    if found is None:
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        return ConfigError("\n  ".join(lines))
    return no_such_key(found[1], arguments)
