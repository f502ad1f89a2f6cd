"""The `key=value` words of a command: what it accepts, in one table; parsed, checked, explained."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

from trainwright.errors import ConfigError
from trainwright.wording import nearest, printable


class OneOf:
    """Parses one of a few words."""

    def __init__(self, *words: str) -> None:
        self.words = words

    def __call__(self, text: str) -> str:
        """The word. Raises ValueError with the nearest."""
        if text not in self.words:
            raise ValueError(
                f"it must be one of {', '.join(self.words)}{nearest(text, self.words)}"
            )
        return text


class SeveralOf:
    """Parses some of a few words, with commas between them."""

    def __init__(self, *words: str) -> None:
        self.words = words

    def __call__(self, text: str) -> tuple[str, ...]:
        """The words, each once. Raises ValueError with the nearest to one that is none."""
        found = listed(text)
        for word in found:
            if word not in self.words:
                known = ", ".join(self.words)
                raise ValueError(f"it must be one or more of {known}{nearest(word, self.words)}")
        return tuple(dict.fromkeys(found))


@dataclass(frozen=True)
class Key:
    """A key of a command: how its text becomes a value, the value without it, a line of help.

    `parse` raises ValueError with what it wants: "it must be ...".
    """

    name: str
    parse: Callable[[str], Any]
    default: Any
    help: str

    @property
    def options(self) -> tuple[str, ...]:
        """The words that it takes, where these are a few."""
        return self.parse.words if isinstance(self.parse, OneOf | SeveralOf) else ()


def parse_keys(words: Sequence[str], keys: Sequence[Key]) -> dict[str, Any]:
    """The value of every key, from words such as `n=64`; the default where it is not given.

    Raises ConfigError for a word that is no key=value, an unknown key, a wrong value, and for a
    key that is given twice.
    """
    known = {key.name: key for key in keys}
    values: dict[str, Any] = {}
    for word in words:
        name, separator, text = word.partition("=")
        if not separator:
            raise ConfigError(
                f"{printable(word)}: write key=value{_meant(name, known)}\n"
                f"  keys are: {', '.join(known) or 'none'}"
            )
        if name not in known:
            raise ConfigError(
                f"{printable(name)}: there is no such key{nearest(name, known)}\n"
                f"  keys are: {', '.join(known) or 'none'}"
            )
        if name in values:
            raise ConfigError(f"{name} is given twice")
        try:
            values[name] = known[name].parse(text)
        except ValueError as error:
            raise ConfigError(f"{name}={printable(text)}: {error}") from None
    return {key.name: values.get(key.name, key.default) for key in keys}


def keys_help(keys: Sequence[Key]) -> str:
    """A line a key, for `--help`."""
    width = max((len(key.name) for key in keys), default=0) + 1
    return "\n".join(f"  {key.name + '=':<{width}}  {key.help}" for key in keys)


def whole(minimum: int, maximum: int = 2**63 - 1) -> Callable[[str], int]:
    """A whole number from `minimum` to `maximum`."""

    def parse(text: str) -> int:
        limit = f"from {minimum} to {maximum:,}" if maximum < 2**62 else f"at least {minimum}"
        try:
            value = int(text)
        except ValueError:
            raise ValueError(f"it must be a whole number, {limit}") from None
        if not minimum <= value <= maximum:
            raise ValueError(f"it must be a whole number, {limit}")
        return value

    return parse


def number(minimum: float, maximum: float) -> Callable[[str], float]:
    """A number from `minimum` to `maximum`."""

    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not minimum <= value <= maximum:
            raise ValueError(f"it must be a number from {minimum:g} to {maximum:g}")
        return value

    return parse


def listed(text: str) -> tuple[str, ...]:
    """Words with commas between them, with or without brackets around: `a,b` or `[a, b]`."""
    inner = text.strip()
    if inner.startswith("[") and inner.endswith("]"):
        inner = inner[1:-1]
    words = tuple(word.strip() for word in inner.split(","))
    if not all(words):
        raise ValueError("it must be words with commas between them")
    return words


def text(value: str) -> str:
    """Any text, but some."""
    if not value:
        raise ValueError("it must not be empty")
    return value


def _meant(word: str, names: Collection[str]) -> str:
    return f": {word}=..." if word in names else ""
