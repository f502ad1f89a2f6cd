"""The process of a command: what Python does for one that goes on for long, and this one need not.

The scripts `train` and `runs` begin here. What is called from other programs is `main` of
`cli/train.py` and `cli/runs.py`, which leave the process as it is.
"""

import atexit
import contextlib
import os
import sys
from collections.abc import Callable
from pathlib import Path

from trainwright.streams import lost, prepare


def train() -> None:
    """The command `train`."""
    from trainwright.cli.train import main

    live(main)


def runs() -> None:
    """The command `runs`."""
    from trainwright.cli.runs import main

    live(main)


def live(main: Callable[[], None]) -> None:
    """Call `main`, and let the process end without taking Python and torch apart first.

    Threads are waited for and functions for the end are called as ever, for what is registered
    first comes last.
    """
    prepare()
    try:
        Path.cwd()
    except OSError:  # removed since the shell went there
        told = "error: the working directory does not exist any more\n  cd to one that does"
        print(told, file=sys.stderr)
        sys.exit(2)
    codes: list[int] = []
    atexit.register(_leave, codes)
    try:
        main()
        codes.append(0)
    except SystemExit as stop:
        if isinstance(stop.code, int):
            codes.append(stop.code)
        raise


def _leave(codes: list[int]) -> None:
    """End now, with the code that is known; without one it ended with an error: as Python does."""
    with contextlib.suppress(SystemExit):  # nobody takes what is left
        sys.stdout.flush()
    sys.stderr.flush()
    if codes:
        os._exit(codes[0] or sum(lost))
