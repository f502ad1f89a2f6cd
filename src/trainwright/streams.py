"""Standard input, output and error of a process of ours: safe to write to, and who reads them.

`prepare` is the first thing that every such process does. From then on a stream that was closed is
/dev/null, and a letter that the encoding does not know has a substitute. What nobody takes (a pipe
is closed, a disk is full, a terminal is gone) ends a command whose output is what it is for; after
`outlive_readers` it is dropped.
"""

import codecs
import contextlib
import io
import json
import locale
import os
import select
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, TextIO

BROKEN_PIPE = 128 + 13  # exit code, as after SIGPIPE
DISK = 6  # exit code, as of DiskError

# The exit code of a command whose output was lost, for what follows may not hear of its SystemExit.
lost: list[int] = []

_QUIET, _EVENTS = "TRAINWRIGHT_QUIET", "TRAINWRIGHT_EVENTS"  # inherited by who is started
_PLAIN = {"±": "+/-", "…": "...", "≤": "<=", "≥": ">=", "µ": "u", "·": ".", "²": "^2", "★": "*"}
_PLAIN |= dict(zip("▁▂▃▄▅▆▇█", "_.,-=+*#", strict=True))


def prepare() -> None:
    """Open what is closed, and let nothing that is written fail for its letters."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)
    with contextlib.suppress(locale.Error):  # files are read and written as UTF-8, whatever it is
        locale.setlocale(locale.LC_CTYPE, "C.UTF-8")
    codecs.register_error("plain", _in_plain_letters)
    sys.stdin = sys.stdin or open(0)  # noqa: SIM115
    sys.stdout, sys.stderr = _safe(sys.stdout, 1), _safe(sys.stderr, 2)


def outlive_readers() -> None:
    """Go on, from here, when nobody takes standard output any more."""
    raw = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    if isinstance(raw, _Descriptor):
        raw.ends_process = False


def tell_now(text: str) -> None:
    """Write to standard error from a signal's handler, which may interrupt a `print`."""
    with contextlib.suppress(OSError):
        os.write(2, text.encode())


@contextlib.contextmanager
def spoken(*, quiet: bool = False, events: bool = False) -> Iterator[None]:
    """Speak in short, or in events, while this context is open; so does who is started in it."""
    before = {name: os.environ.get(name) for name in (_QUIET, _EVENTS)}
    os.environ.update({_QUIET: "1"} if quiet else {})
    os.environ.update({_EVENTS: "json"} if events else {})
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            os.environ.update({} if value is None else {name: value})


def is_quiet() -> bool:
    """Whether only errors and the line with the result are wanted."""
    return _QUIET in os.environ


def tells_events() -> bool:
    """Whether standard output belongs to events; then text goes to standard error."""
    return os.environ.get(_EVENTS) == "json"


def say(text: str) -> None:
    """Print what a person may like to know, where that is wanted."""
    if not is_quiet():
        print(text, file=sys.stderr if tells_events() else sys.stdout, flush=True)


def tell(event: str, **facts: Any) -> None:
    """Print an event as a line of JSON, where these are wanted. NaN and infinity are no facts."""
    if tells_events():
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        line = json.dumps({"event": event, "time": now, **facts}, allow_nan=False, default=str)
        print(line, flush=True)


class _Descriptor(io.FileIO):
    """Standard output or error. The first write that fails may end the process; none after it."""

    def __init__(self, number: int) -> None:
        super().__init__(number, "w", closefd=False)
        self.name = {1: "<stdout>", 2: "<stderr>"}[number]
        self.ends_process = number == 1

    def write(self, data: Any) -> int:
        """Write, or drop what cannot be written. Waits where the other end is slow to read."""
        try:
            while (count := super().write(data)) is None:  # it does not block, so that we must
                select.select([], [self], [])
        except OSError as error:
            if not self.ends_process:
                return len(data)
            self.ends_process = False
            lost.append(BROKEN_PIPE if isinstance(error, BrokenPipeError) else DISK)
            if lost != [BROKEN_PIPE]:
                print(f"error: standard output: {error.strerror}", file=sys.stderr, flush=True)
            sys.exit(lost[0])
        return count


def _safe(stream: TextIO | None, number: int) -> TextIO:
    """The stream anew. One of another kind, such as a console of Windows, stays as it is."""
    raw = getattr(getattr(stream, "buffer", None), "raw", getattr(stream, "buffer", None))
    if stream is not None and not isinstance(raw, io.FileIO):
        return stream
    return io.TextIOWrapper(
        io.BufferedWriter(_Descriptor(number)),
        encoding="utf-8" if stream is None else stream.encoding,
        errors="plain",
        line_buffering=number == 2 or os.isatty(number) or bool(os.environ.get("PYTHONUNBUFFERED")),
    )


def _in_plain_letters(error: UnicodeError) -> tuple[str, int]:
    """What to write for letters that an encoding has not: a likeness, or their number."""
    assert isinstance(error, UnicodeEncodeError)
    letters = error.object[error.start : error.end]
    return "".join(_PLAIN.get(c, ascii(c)[1:-1]) for c in letters), error.end
