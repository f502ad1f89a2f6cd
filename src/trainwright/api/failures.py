"""What goes wrong, as exceptions with the lines that the commands print."""

import contextlib
import re
from collections.abc import Iterator, Sequence

from trainwright.errors import SHOWN_WITH_DEBUG, ConfigError

SWEEP = "call trainwright.sweep"


@contextlib.contextmanager
def as_told(words: Sequence[str] = ()) -> Iterator[None]:
    """Raise what a user can mend as a TrainwrightError of at most five lines.

    It has a cause, with its traceback, where code of the user's own has failed. All else is a bug
    and goes through. `words`: those of the command line.
    """
    try:
        yield
    except Exception as error:
        from trainwright.cli.terminal.failure import told, was_interrupted

        if was_interrupted(error):
            raise KeyboardInterrupt from None
        ours = told(error, words, composing=True)
        if ours is None:
            raise
        lines = str(ours).splitlines()
        lines = [re.sub(r"(?<=for a run of each: )train -m .*", SWEEP, line) for line in lines]
        # Another of the same kind, without the way that this one has come inside of trainwright.
        anew = type(ours)("\n".join(line for line in lines if line != SHOWN_WITH_DEBUG))
        own_code = (ours.__cause__ or error) if SHOWN_WITH_DEBUG in lines else None
        raise anew from own_code


def refuse_flags(words: Sequence[object]) -> None:
    """Raise ConfigError for what is no key=value of a command line, or of no use to a program."""
    for word in words:
        if not isinstance(word, str):
            raise ConfigError(
                f"{word!r}: write settings as text, as for the command: 'trainer.epochs=2'"
            )
        if word.startswith("trainer.events="):
            raise ConfigError(
                f"{word}: events are what the command prints; a program has run.history\n"
                "  leave it out"
            )
        if word.startswith("-"):
            raise ConfigError(
                f"{word}: flags are for the shell; here are key=value and group=option\n"
                f"  for several values, {SWEEP}"
            )
