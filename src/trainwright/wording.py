"""What messages are made of: numbers, durations, sizes, names; and text from strangers."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from difflib import SequenceMatcher
from textwrap import wrap
from typing import Any

WIDTH = 116  # of a line that lists what there is
# What is worth a place on the line of an evaluation, in this order, where a task has it.
_FIRST = ("loss", "accuracy", "f1", "mae", "r2", "confident", "as_asked", "coverage")


def nearest(name: str, options: Collection[str]) -> str:
    """Return `; did you mean x?` where an option is close to `name`, and nothing otherwise."""
    found = closest(name, [str(option) for option in options])
    return "" if found is None else f"; did you mean {found}?"


def closest(name: str, options: Iterable[str]) -> str | None:
    """The option that `name` was a slip of the keyboard for, or the beginning of, or has in it.

    One slip in three letters is allowed. Of `validation/accuracy` the last part counts too.
    """
    found: list[tuple[int, str]] = []
    for option in options:
        for form in {option, option.rpartition("/")[2]}:
            slips = _slips(_letters(name), _letters(form))
            words, parts = name.split("_"), form.split("_")
            if form in words:
                found.append((1, option))
            elif len(words) == len(parts) > 1 and all(map(str.startswith, parts, words)):
                found.append((0, option))  # eval_every is evaluate_every, not save_every
            elif slips <= max(1, min(len(name), len(form)) // 3):
                found.append((slips, option))
            elif form.startswith(name.rstrip("]")) and len(name) > 2:
                found.append((len(form), option))
    return min(found, key=lambda one: one[0])[1] if found else None


def choices(said: str, name: str, options: Collection[str]) -> str:
    """`  said: a, b, c`, where `name` was none of these: at most four lines, whole.

    What needs more than one line begins with the nearest.
    """
    listed = sorted(str(option) for option in options)
    if len(text := f"  {said}: {', '.join(listed) or 'nothing'}") <= WIDTH:
        return text
    near = sorted(listed, key=lambda o: -SequenceMatcher(None, o, name[:100]).ratio())[:4]
    text = f"{said}: {', '.join([*near, *(o for o in listed if o not in near)])}"
    width, lines = WIDTH, [text] * 5
    while len(lines) > 4:
        lines = wrap(text, width, initial_indent="  ", subsequent_indent="    ",
                     break_long_words=False, break_on_hyphens=False)  # fmt: skip
        width += 10
    return "\n".join(lines)


def _letters(name: str) -> str:
    return name[:100].lower().replace("_", "").replace("-", "")


def _slips(one: str, other: str) -> int:
    """How many letters to add, drop, replace or swap with the next make `one` the `other`."""
    before: list[int] = []
    row = list(range(len(other) + 1))
    for i, letter in enumerate(one, 1):
        before, last, row = row, before, [i]
        for j, wanted in enumerate(other, 1):
            slips = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (letter != wanted))
            if i > 1 and j > 1 and letter == other[j - 2] and one[i - 2] == wanted:
                slips = min(slips, last[j - 2] + 1)
            row.append(slips)
    return row[-1]


def printable(text: str) -> str:
    """Text of a stranger as one harmless line: what a terminal might obey is escaped."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def format_number(value: float) -> str:
    """Four significant digits, without an exponent where that is readable."""
    if value == 0 or 1e-3 <= abs(value) < 1e5:
        return f"{value:.4g}"
    return f"{value:.2e}"


def format_figure(value: float, error: float) -> str:
    """`1.59 ± 0.13`: the standard error with two digits, the value as exactly."""
    if error == 0 or error != error:
        return format_number(value)
    digits = max(0, 1 - int(f"{abs(error):e}".split("e")[1]))
    return f"{value:,.{digits}f} ± {error:.{digits}f}"


def format_metrics(metrics: Mapping[str, float]) -> dict[str, str]:
    """Every metric as text; with its standard error where there is one, as `<name>_error`."""
    return {
        name: format_figure(value, metrics.get(f"{name}_error", 0.0))
        for name, value in metrics.items()
        if name.removesuffix("_error") == name or name.removesuffix("_error") not in metrics
    }


def format_count(number: int) -> str:
    """537034 as `537,034`."""
    return f"{number:,}"


def format_duration(seconds: float) -> str:
    """Seconds as `8.2 s`, `3 min 05 s` or `1 h 02 min`."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def metrics_text(metrics: Mapping[str, float], *, wanted: Sequence[str]) -> str:
    """The metrics worth a place on a line: what is wanted, losses, the best known, of each split.

    A metric of one output, `mae/width`, is left to the files: the one over all stands here.
    """
    names = [*wanted, *_FIRST]
    splits = dict.fromkeys(name.rpartition("/")[0] for name in metrics if "/" in name)
    names += [f"{split}/{name}" for split in splits if split not in metrics for name in names]
    chosen = [name for name in dict.fromkeys(names) if name in metrics]
    return "  ".join(f"{name.replace('_', ' ')} {format_number(metrics[name])}" for name in chosen)


def evaluation_line(
    *,
    step: int,
    epoch: float,
    train: Mapping[str, float],
    validation: Mapping[str, float],
    wanted: Sequence[str],
    is_best: bool,
    epsilon: float | None = None,
) -> str:
    """One line about one evaluation; a star marks the best so far. `epsilon`: of a private run."""
    losses = [f"{name} {format_number(train[name])}" for name in train if name.endswith("loss")]
    parts = [f"step {step:>6}", f"epoch {epoch:.2f}"]
    if len(losses) == 1:
        parts.append("train " + "  ".join(losses))
    parts.append("validation " + metrics_text(validation, wanted=wanted))
    if epsilon is not None:
        parts.append(f"epsilon {format_number(epsilon)}")
    return " | ".join(parts) + (" *" if is_best else "")


def value_text(value: Any) -> str:
    """A value of a config or summary as one would write it in YAML."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(value_text(item) for item in value[:100]) + "]"
    return str(value)[:1000]


def age_text(seconds: float) -> str:
    """A time span in its largest unit: `40 s`, `12 min`, `5 h`, `3 d`."""
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{int(seconds // size)} {unit}"
    return f"{max(0, int(seconds))} s"


def format_bytes(num_bytes: float) -> str:
    """A size in its largest unit: `512 B`, `3.4 MB` (of 1,000 kB)."""
    size = float(num_bytes)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" or size >= 100 else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:,.1f} TB"


def harmless(cell: Any) -> Any:
    """A cell that no spreadsheet takes for a formula: a text that begins like one is quoted."""
    if not isinstance(cell, str) or not cell.startswith(("=", "+", "-", "@", "\t", "\r")):
        return cell
    try:
        float(cell)
        return cell
    except ValueError:
        return f"'{cell}"
