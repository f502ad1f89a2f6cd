"""The score of a generator as a table, beside what real images get."""

from collections.abc import Mapping
from typing import Any

from trainwright.wording import format_count, format_figure

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


def score_cells(score: Mapping[str, Any]) -> list[list[str]]:
    """A score as summary.json has it, under `test` and `score`: a header, and a row a figure.

    Where there are fewer real images than samples, a column has the mean over groups of as many
    samples: it alone is to be compared with theirs. The last column says what is better.
    """
    counts = [f"{format_count(score['num_samples'])} samples"]
    columns = [{name: (f["value"], f["error"]) for name, f in score["figures"].items()}]
    if "at_floor_samples" in score:
        counts.append(f"{format_count(score['num_floor'])} samples")
        grouped = score["at_floor_samples"]
        columns.append({name: (f["value"], f["error"]) for name, f in grouped.items()})
    counts.append(f"{format_count(score['num_floor'])} real")
    columns.append({n: (f["floor"], f["floor_error"]) for n, f in score["figures"].items()})
    rows = [
        [title, *(format_figure(*column[name]) for column in columns), better]
        for name, (title, better) in FIGURES.items()
        if name in score["figures"]
    ]
    return [["", *counts, "better"], *rows]


def class_cells(per_class: Mapping[str, Mapping[str, Any]]) -> list[list[str]]:
    """The score of each class, under `per_class` of a score: a header, and a row a class."""
    rows = [
        [
            name,
            format_figure(row["frechet"], row["frechet_error"]),
            format_figure(row["floor"], row["floor_error"]) if "floor" in row else "-",
            f"{row['as_asked']:.1%}" if "as_asked" in row else "-",
        ]
        for name, row in per_class.items()
    ]
    return [["class", "Fréchet distance", "of real", "as asked for"], *rows]


def score_table(score: Mapping[str, Any]) -> list[str]:
    """The lines for the terminal of `score_cells`."""
    return [
        f"{name:<31}{''.join(f'{cell:>20}' for cell in cells)}   {better}"
        for name, *cells, better in score_cells(score)
    ]


def class_table(per_class: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The lines for the terminal of `class_cells`."""
    return [
        f"{name[:30]:<31}{''.join(f'{cell:>20}' for cell in cells)}"
        for name, *cells in class_cells(per_class)
    ]
