"""What a person reads of an explanation."""

import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from trainwright.cli.terminal.colour import has_colour
from trainwright.cli.terminal.sparkline import sparkline
from trainwright.cli.terminal.table import text_table
from trainwright.wording import format_figure, format_number, printable

if TYPE_CHECKING:
    from trainwright.inference.explain.explain import Explained
    from trainwright.inference.explain.importance import TableExplained
    from trainwright.inference.explain.sanity import Sane

RED, BLUE = (213, 94, 0), (0, 114, 178)  # speaks for what is explained, and against it


def picture_lines(explained: Mapping[str, "Explained"], files: Mapping[str, str]) -> list[str]:
    """A line an image."""
    rows = [
        [label, one.asked.name, one.asked.text(one.score), one.asked.text(one.base), files[label]]
        for label, one in explained.items()
    ]
    unit = next(iter(explained.values())).asked.unit.upper()
    return text_table(["EXAMPLE", "EXPLAINED", unit, "OF NO IMAGE", "PICTURE"], rows)


def part_lines(label: str, one: "Explained", top: int) -> list[str]:
    """The cells or tokens of an example that add or take off most, by the first method."""
    asked, subject = one.asked, one.subject
    told = f"{asked.text(one.score)}, without these {asked.text(one.base)}"
    if asked.is_probable:
        told = f"probability {told} (log-odds {one.score:+.3g} and {one.base:+.3g})"
    lines = [printable(f"{label}: {asked.name}, {told}")]
    parts, names = subject.parts(), subject.names()
    first, *_ = one.found.values()
    if has_colour(sys.stdout) and not names:
        lines.append(_shaded(parts, first.values.tolist()))
    rows = []
    for i in first.values.abs().argsort(descending=True)[:top].tolist():
        numbers = [
            f"{'+' if f.values[i] >= 0 else ''}"
            + format_figure(float(f.values[i]), 0.0 if f.error is None else float(f.error[i]))
            for f in one.found.values()
        ]
        rows.append([names[i] if names else str(i + 1), parts[i], *numbers])
    methods = [name.upper() for name in one.found]
    header = ["FEATURE", "IS"] if names else ["PLACE", "TOKEN"]
    return [*lines, *text_table([*header, *methods], rows, right=methods), ""]


def _shaded(parts: Sequence[str], values: Sequence[float]) -> str:
    """A text whose tokens stand on red or blue, the more they add or take off the brighter."""
    most = max(map(abs, values)) or 1.0
    told = []
    for part, value in zip(parts, values, strict=True):
        colour = ";".join(str(int(abs(value) / most * c)) for c in (RED if value > 0 else BLUE))
        told.append(f"\x1b[38;2;255;255;255;48;2;{colour}m{printable(part)}")
    return "".join(told) + "\x1b[0m"


def sanity_lines(checked: Mapping[str, "Sane"], *, is_probable: bool) -> list[str]:
    """What was found of each method."""
    rows = [
        [n, f"{s.correlation:+.2f}", *map(format_number, (s.deletion, s.at_random)), s.verdict()]
        for n, s in checked.items()
    ]
    header = ["METHOD", "SHUFFLED WEIGHTS", "DELETION", "AT RANDOM", "VERDICT"]
    left = "the probability" if is_probable else "how far the value has gone, below 0,"
    return [
        *text_table(header, rows, right=header[1:4]),
        "Shuffled weights: rank correlation with explanations of networks that know nothing.",
        f"Deletion: {left} on average while parts go, the most telling first; less is better.",
    ]


def table_lines(table: "TableExplained", top: int) -> list[str]:
    """How much each feature counts, and the curve of what follows from its values."""
    rows = [
        [
            f.feature,
            format_number(f.importance),
            " to ".join(map(format_number, f.interval or ())),
            sparkline(f.said),
            f"{format_number(min(f.said))} to {format_number(max(f.said))} ({f.output})",
        ]
        for f in table.features[:top]
    ]
    header = ["FEATURE", "IMPORTANCE", "95 % INTERVAL", "AS IT RISES", "ON AVERAGE IT IS"]
    left = len(table.features) - top
    return [
        f"By how much {table.metric}, {format_number(table.value)} on {table.num_rows:,} test "
        f"rows, {'falls' if table.higher_is_better else 'rises'} where a feature is shuffled:",
        *text_table(header, rows, right=["IMPORTANCE"]),
        *([f"and {left} more features (top=...)"] if left > 0 else []),
        f"Shuffled weights: rank correlation {table.sane.correlation:+.2f}: {table.sane.verdict()}",
    ]
