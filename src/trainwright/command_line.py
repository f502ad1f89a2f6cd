"""Commands that are printed, spelled so that they mean the same when they are typed.

Two readers take them apart: the shell, and Hydra's override grammar, in which `run (1)`, `2024`,
`lr=0.1` and every letter that is not ASCII mean something else, or nothing, without quotes.
"""

import re
import shlex
from collections.abc import Iterable
from pathlib import Path

_MEANS_ITSELF = re.compile(r"[A-Za-z_/.]([ \w/.:%@+-]*[\w/.%@+-])?", re.ASCII)
_VALUES = {"true", "false", "null", "nan", "inf", "infinity"}
_MISSING = "???"  # what Hydra takes for a value that is still to be given
_BEFORE_INTERPOLATION = re.compile(r"(\\*)\$\{")


def override(key: str, text: str | Path) -> str:
    """`key=text` for Hydra, which reads back that text whatever is in it.

    Of a path that begins with ~ what is meant is that name, and no home folder.
    """
    if isinstance(text, Path):
        text = str(text.absolute() if str(text).startswith(("~", _MISSING)) else text)
    return f"{key}={_value(text)}"


def listing(key: str, texts: Iterable[str]) -> str:
    """`key=[text,text]` for Hydra."""
    return f"{key}=[{','.join(map(_value, texts))}]"


def quoted(text: str) -> str:
    """Text in quotes, as Hydra's grammar has them: a backslash counts only before a quote."""
    mark = "'" if '"' in text and "'" not in text else '"'
    inner = re.sub(rf"(\\*){mark}", lambda found: 2 * found[1] + "\\" + mark, text)
    inner = re.sub(r"\\+$", lambda found: 2 * found[0], inner)
    return f"{mark}{inner}{mark}"


def literal(text: str) -> str:
    """Text as a value of a config, in which `${...}` would be replaced by another value."""
    return _BEFORE_INTERPOLATION.sub(lambda found: 2 * found[1] + "\\${", text)


def command(*words: str) -> str:
    """Words as a line for the shell. What a terminal would obey or could not show is escaped."""
    return " ".join(shlex.quote(w) if w.isprintable() else _escaped(w) for w in words)


def _value(text: str) -> str:
    if _MEANS_ITSELF.fullmatch(text) and text.lower() not in _VALUES and not _is_number(text):
        return text
    return quoted(literal(text))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _escaped(word: str) -> str:
    r"""`$'...'`, as bash and zsh have it: a byte that cannot be shown as \xff."""
    shown = (f"\\{c}" if c in "\\'" else c if c.isprintable() else _bytes_of(c) for c in word)
    return f"$'{''.join(shown)}'"


def _bytes_of(character: str) -> str:
    return "".join(f"\\x{byte:02x}" for byte in character.encode(errors="surrogateescape"))
