"""What a page of the documentation tells its reader to type, and what it shows of the answer."""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
_BLOCK = re.compile(
    r"(?:^<!-- not run: (?P<why>[^\n]+) -->\n)?"
    r"^```(?P<language>\w+) ?(?P<file>\S*)\n(?P<body>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
_TIME = re.compile(r"(?:\d[\d.,]* (?:d|h|min|s|ms)\b ?)+")
_NUMBER = re.compile(r"[-+]?\d[\d.,:]*(?:e[-+]\d+)?(?:-\d+)*")


@dataclass(frozen=True)
class Block:
    """A fenced block: what it is written in, the file that it goes to, why it is not run."""

    language: str
    file: str
    body: str
    why_not: str | None

    def commands(self) -> list[tuple[str, list[str]]]:
        """What is typed, and the lines that are shown below it."""
        typed: list[tuple[str, list[str]]] = []
        for line in self.body.splitlines():
            if line.startswith("$ "):
                typed.append((line[2:], []))
            elif line.startswith("> ") and typed and typed[-1][0].endswith("\\"):
                typed[-1] = (f"{typed[-1][0]}\n{line[2:]}", [])
            else:
                typed[-1][1].append(line)
        return typed


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page, in order."""
    found = _BLOCK.finditer(page.read_text())
    return [Block(b["language"], b["file"], b["body"], b["why"]) for b in found]


def pages() -> list[Path]:
    """Every page that a reader may type from."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def missing(shown: list[str], printed: str) -> str | None:
    """The first shown line that was not printed, in order; any number or time may be another.

    `...` stands for any lines.
    """
    lines = iter([_loose(line) for line in printed.splitlines()])
    for line in shown:
        if line.strip() not in ("", "...") and not any(_loose(line) == told for told in lines):
            return line
    return None


def _loose(line: str) -> str:
    without = re.sub(r"[█▇▆▅▄▃▂▁ ]+", " ", line)
    without = _NUMBER.sub("#", _TIME.sub("# ", without))
    return " ".join(without.replace(" *", "").split())
