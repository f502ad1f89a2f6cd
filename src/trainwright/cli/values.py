"""Stored values as text for the terminal."""

from typing import Any


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


def size_text(num_bytes: int) -> str:
    """A size in its largest unit: `512 B`, `3.4 MB` (of 1,000 kB)."""
    size = float(num_bytes)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" or size >= 100 else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:,.1f} TB"
