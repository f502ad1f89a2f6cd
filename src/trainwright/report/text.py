"""Numbers and lines for the terminal."""

from collections.abc import Mapping

# What is worth a place on the line of an evaluation, in this order, where a task has it.
_FIRST = ("loss", "accuracy", "f1", "mae", "r2", "confident", "as_asked", "coverage")


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


def metrics_text(metrics: Mapping[str, float], *, objective: str) -> str:
    """The metrics worth a place on a line: the objective, then losses and the best known."""
    names = [objective, *_FIRST, *(name for name in metrics if "/" in name)]
    chosen = [name for name in dict.fromkeys(names) if name in metrics]
    return "  ".join(f"{name.replace('_', ' ')} {format_number(metrics[name])}" for name in chosen)


def evaluation_line(
    *,
    step: int,
    epoch: float,
    train: Mapping[str, float],
    validation: Mapping[str, float],
    objective: str,
    is_best: bool,
) -> str:
    """One line about one evaluation; a star marks the best so far."""
    losses = [f"{name} {format_number(train[name])}" for name in train if name.endswith("loss")]
    parts = [f"step {step:>6}", f"epoch {epoch:.2f}"]
    if len(losses) == 1:
        parts.append("train " + "  ".join(losses))
    parts.append("validation " + metrics_text(validation, objective=objective))
    return " | ".join(parts) + (" *" if is_best else "")
