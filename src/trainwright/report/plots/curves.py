"""metrics.jsonl becomes plots: one panel for each family of metrics, and the learning rates."""

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainwright.report.plots.figures import (
    CLASS_PALETTE,
    INK,
    PALETTE,
    key_above,
    new_figure,
    new_panels,
    number,
    save_figure,
    style,
    value_axis,
)
from trainwright.report.plots.series import (
    BY_CLASS,
    MOST_LINES,
    PHASES,
    Series,
    collect,
    kind_names,
    panels,
    smoothed,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PANEL = (4.0, 2.8)  # inches
MANY = 60  # points from which a curve is smoothed
# Drawn by logarithm where they span a decade and a half.
LOGARITHMIC = {"loss", "gradient norm", "mean squared error", "Fréchet distance"}


def plot_curves(rows: Iterable[Mapping[str, Any]], path: str | Path) -> bool:
    """Draw all metrics against the step, one panel for each family, and say whether there were any.

    `rows` are the parsed lines of metrics.jsonl: `step` and numbers under `train/metric` or
    `validation/metric`, those of one player as `train/player/metric`. Long curves are drawn thin,
    with their exponential moving average on top. Values that are not finite leave a gap. With
    nothing to draw no file is written and False returned. Raises OSError when the disk refuses.
    """
    groups = panels(collect(rows))
    if not groups:
        return False
    columns = min(len(groups), 2 if len(groups) in (2, 4) else 3)
    figure, places = new_panels(len(groups), columns=columns, size=PANEL)
    curves = [curve for group in groups.values() for curve in group]
    owners = list(dict.fromkeys(curve.owner for curve in curves))
    for axes, (title, group) in zip(places, groups.items(), strict=True):
        suffix = _draw_panel(axes, group, owners)
        values = [value for curve in group for value in curve.values if not math.isnan(value)]
        value_axis(axes, values, log_from=30 if title in LOGARITHMIC else math.inf)
        is_lowest = axes in places[-columns:]
        style(axes, title=title + suffix, xlabel=_steps(group) if is_lowest else "")
        _step_axis(axes, curves)
        key_above(axes)
    save_figure(figure, path)
    return True


def plot_learning_rate(rows: Iterable[Mapping[str, Any]], path: str | Path) -> bool:
    """Draw the learning rates (`lr`, or `lr/player` for each player) against the step.

    Players with one and the same schedule share a line. Returns whether there was a rate; without
    one no file is written. Raises OSError when the disk refuses.
    """
    from matplotlib.ticker import MaxNLocator

    rates: dict[str, list[Series]] = {}
    for curve in collect(rows):
        if curve.name == "lr" and curve.phase == "train":
            rates.setdefault(str((curve.steps, curve.values)), []).append(curve)
    if not rates:
        return False
    figure = new_figure(1.4 * PANEL[0], PANEL[1])
    axes = figure.add_subplot()
    for index, shared in enumerate([*rates.values()][:MOST_LINES]):
        owners = ", ".join(curve.owner for curve in shared if curve.owner)
        _draw_curve(axes, shared[0], _colour(index), owners, smooth=False)
    style(axes, title="learning rate", xlabel="step")
    _step_axis(axes, [shared[0] for shared in rates.values()])
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_locator(MaxNLocator(nbins=5, steps=[1, 2, 5, 10]))
    axes.yaxis.set_major_formatter(number)
    key_above(axes)
    save_figure(figure, path)
    return True


def plot_rates(
    rates: Sequence[float], losses: Sequence[float], marks: Mapping[str, float], path: str | Path
) -> None:
    """Draw a loss over the learning rate, with rates that are marked by name.

    Raises OSError when the disk refuses.
    """
    figure = new_figure(1.4 * PANEL[0], PANEL[1])
    axes = figure.add_subplot()
    axes.plot(rates, losses, color=INK)
    axes.set_xscale("log")
    for index, (name, rate) in enumerate(marks.items()):
        axes.axvline(rate, color=_colour(index), linestyle="--", label=f"{name} {rate:.1e}")
    style(axes, title="smoothed loss", xlabel="learning rate")
    key_above(axes)
    save_figure(figure, path)


def _draw_panel(axes: "Axes", group: Sequence[Series], owners: Sequence[str]) -> str:
    """Draw the curves of one panel, and return what its title should add about their phases.

    With one metric of one player the colour tells the phase. Otherwise it tells the player or the
    class (one colour in all panels) or the metric; dashes tell a second phase; and a dot at the end
    of a line is left to the title, since a key of six would not fit.
    """
    kinds = kind_names(group)
    if len(kinds) == 1:
        for curve in group:
            _draw_curve(axes, curve, PALETTE[PHASES.index(curve.phase)], curve.phase)
        return ""

    colours = _colours(kinds, owners)
    lines = [curve for curve in group if not curve.is_point]
    named = lines or group
    phases = sorted({curve.phase for curve in named}, key=PHASES.index)
    for curve in group:
        kind = kinds[curve.kind]
        label = kind if kind and len(phases) == 1 else f"{kind} {curve.phase}".strip()
        dashed = curve.phase != phases[0]
        label = label if curve in named else ""
        _draw_curve(axes, curve, colours[curve.kind], label, dashed=dashed)
    dots = sorted({curve.phase for curve in group} - set(phases), key=PHASES.index)
    notes = [*(phases if phases != ["train"] else []), *(f"dots: {phase}" for phase in dots)]
    return f" ({'; '.join(notes)})" if notes else ""


def _steps(group: Sequence[Series]) -> str:
    """What the step axis is called: a point of training is no single batch."""
    is_trained = any(curve.phase == "train" for curve in group)
    return "step (training: mean since the point before)" if is_trained else "step"


def _colours(
    kinds: Mapping[tuple[str, str], str], owners: Sequence[str]
) -> dict[tuple[str, str], str]:
    """The colour of each kind in a panel of several, as `kind_names` gives and names them."""
    if all(name in BY_CLASS for _, name in kinds):
        classes = [owner for owner, _ in kinds if owner]
        return {kind: CLASS_PALETTE[classes.index(kind[0])] if kind[0] else INK for kind in kinds}
    if list(kinds.values()) == [owner for owner, _ in kinds]:
        return {kind: _colour(owners.index(kind[0])) for kind in kinds}
    return {kind: _colour(index) for index, kind in enumerate(kinds)}


def _draw_curve(
    axes: "Axes",
    curve: Series,
    colour: str,
    label: str,
    *,
    smooth: bool = True,
    dashed: bool = False,
) -> None:
    """Draw one curve: a dot where it is one number, smoothed where it is long, else a line."""
    # Matplotlib leaves out of the key what begins with "_": what has no name, but not a class _a.
    label = f" {label}" if label.startswith("_") else label or "_"
    form: dict[str, Any] = {"color": colour, "label": label}
    if curve.is_point:
        axes.plot(curve.steps, curve.values, "o", markersize=5, zorder=3, clip_on=False, **form)
        return
    values = curve.values
    if smooth and len(values) >= MANY:
        axes.plot(curve.steps, values, color=colour, linewidth=0.7, alpha=0.3)
        values = smoothed(values, span=len(values) / 40)
    axes.plot(curve.steps, values, "--" if dashed else "-", linewidth=1.6, **form)


def _step_axis(axes: "Axes", curves: Sequence[Series]) -> None:
    """Let the axis run from 0 to the last step of all curves, so that panels can be compared."""
    from matplotlib.ticker import MaxNLocator

    last = max(step for curve in curves for step in curve.steps)
    axes.set_xlim(0, 1.02 * max(last, 1))
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 2.5, 5, 10], integer=True))
    axes.xaxis.set_major_formatter(number)


def _colour(index: int) -> str:
    return PALETTE[index % len(PALETTE)]
