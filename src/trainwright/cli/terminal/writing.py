"""Texts on the terminal while they are written: the first at once, the others after it."""

import json
import sys
from collections import defaultdict
from typing import TYPE_CHECKING

from trainwright.wording import printable

if TYPE_CHECKING:
    from trainwright.tasks.show import Writing

BETWEEN = "\n\n----\n"


def write_down(writing: "Writing", *, as_lines: bool) -> None:
    """Print texts in order, each as far as it is; `as_lines`: what is told of each as JSON."""
    waiting: dict[int, list[str]] = defaultdict(list)
    now, done = 0, set[int]()
    is_terminal = sys.stdout.isatty()
    lines: dict[int, str] = {}
    for piece in writing.pieces:
        if piece.facts is not None:
            done.add(piece.number)
            lines[piece.number] = json.dumps(dict(piece.facts), ensure_ascii=False)
        waiting[piece.number].append(piece.text)
        while now < writing.num and (now in done or waiting[now]):
            if as_lines:
                text = f"{lines[now]}\n" if now in done else ""
            else:
                text = "".join(waiting.pop(now, []))
                text = _harmless(text) if is_terminal else text
            print(text, end="", flush=True)
            if now not in done:
                break
            now += 1
            if not as_lines:
                print(BETWEEN if now < writing.num else "\n", end="", flush=True)


def whole_text(writing: "Writing") -> str:
    """The same, for a file."""
    texts: dict[int, str] = defaultdict(str)
    for piece in writing.pieces:
        texts[piece.number] += piece.text
    return BETWEEN.join(texts[number] for number in sorted(texts))


def _harmless(text: str) -> str:
    """What a terminal might obey is escaped; lines stay lines."""
    return "\n".join("\t".join(map(printable, line.split("\t"))) for line in text.split("\n"))
