"""The score of a generator as a table for the terminal, beside what real images get."""

from collections.abc import Mapping
from typing import Any

from trainwright.report.text import format_count, format_number

# What each figure is called, in the order of reading, and what is better.
FIGURES = {
    "frechet": ("Fréchet distance", "lower"),
    "kid": ("kernel distance (KID)", "lower"),
    "precision": ("precision", "higher"),
    "recall": ("recall", "higher"),
    "density": ("density", "higher"),
    "coverage": ("coverage", "higher"),
    "confident": ("classified with over 90 %", "higher"),
    "as_asked": ("classified as asked for", "higher"),
    "class_entropy": ("entropy of the classes", "higher"),
    "smallest_class": ("rarest class / equal share", "higher"),
    "nearest": ("distance to training images", "as real"),
    "copying": ("nearer to them than real ones", "0.5"),
}


def score_table(score: Mapping[str, Any]) -> list[str]:
    """The lines for a score as summary.json has it, under `test` and `score`.

    Where there are fewer real images than samples, a column has the mean over groups of as many
    samples: it alone is to be compared with theirs.
    """
    counts = [f"{format_count(score['num_samples'])} samples"]
    columns = [{name: (f["value"], f["error"]) for name, f in score["figures"].items()}]
    if "at_floor_samples" in score:
        counts.append(f"{format_count(score['num_floor'])} samples")
        grouped = score["at_floor_samples"]
        columns.append({name: (f["value"], f["error"]) for name, f in grouped.items()})
    counts.append(f"{format_count(score['num_floor'])} real")
    columns.append({n: (f["floor"], f["floor_error"]) for n, f in score["figures"].items()})
    header = "".join(f"{count:>20}" for count in counts)
    lines = [f"{'':31}{header}   better"]
    for name, (title, better) in FIGURES.items():
        if name in score["figures"]:
            cells = "".join(f"{_cell(*column[name]):>20}" for column in columns)
            lines.append(f"{title:<31}{cells}   {better}")
    return lines


def class_table(per_class: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The lines for the score of each class, under `per_class` of a score."""
    lines = [f"{'class':<31}{'Fréchet distance':>20}{'of real':>20}{'as asked for':>20}"]
    for name, row in per_class.items():
        distance = _cell(row["frechet"], row["frechet_error"])
        floor = _cell(row["floor"], row["floor_error"]) if "floor" in row else "-"
        asked = f"{row['as_asked']:.1%}" if "as_asked" in row else "-"
        lines.append(f"{name[:30]:<31}{distance:>20}{floor:>20}{asked:>20}")
    return lines


def _cell(value: float, error: float) -> str:
    """`1.59 ± 0.13`: the error with two digits, the value as exactly."""
    if error == 0 or error != error:
        return format_number(value)
    digits = max(0, 1 - _exponent(error))
    return f"{value:,.{digits}f} ± {error:.{digits}f}"


def _exponent(number: float) -> int:
    return int(f"{abs(number):e}".split("e")[1])
