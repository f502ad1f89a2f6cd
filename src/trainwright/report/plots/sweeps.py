"""Pictures of a sweep: values against what was swept, curves of all runs, what mattered."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from trainwright.report.plots.figures import INK, PALETTE, new_figure, save_figure, style
from trainwright.report.scales import apart, is_logarithmic, kinds, numbers_of, round_numbers

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MAX_COLUMNS = 3
MAX_TICKS = 5  # of an axis that has a tick for each value
LETTER, LINE = 0.028, 0.04  # of an axis, for a letter along it, and a label across
MAX_LABELS = 12  # of points
MAX_CURVES = 200  # more are a grey wall
NUM_TREES = 200
MAX_EXAMPLES = 2000  # of a forest; more take long, and say the same


Logs = Mapping[str, bool]  # whether a key was searched by its logarithm, where it was searched
NO_LOGS: Logs = {}


@dataclass(frozen=True)
class Trial:
    """A job that has a value: its point as typed, and its curve of (step, value)."""

    point: Mapping[str, str]
    value: float
    curve: Sequence[tuple[float, float]]


def plot_values(
    trials: Sequence[Trial], keys: Sequence[str], label: str, path: Path, *, logs: Logs = NO_LOGS
) -> None:
    """The value of every trial against each key that was swept, a panel a key."""
    num_columns = min(MAX_COLUMNS, len(keys))
    num_rows = math.ceil(len(keys) / num_columns)
    figure = new_figure(3.4 * num_columns, 2.8 * num_rows)
    for index, key in enumerate(keys):
        axes = figure.add_subplot(num_rows, num_columns, index + 1)
        style(axes, title=key)
        places = _scale(axes, [trial.point.get(key, "-") for trial in trials], logs.get(key))
        values = [trial.value for trial in trials]
        axes.plot(places, values, "o", color=PALETTE[0], markersize=5, alpha=0.6)
        if index % num_columns == 0:
            axes.set_ylabel(label, fontsize=8.5, color=INK)
    save_figure(figure, path)


def plot_curves_of_all(
    trials: Sequence[Trial], label: str, path: Path, *, higher_is_better: bool
) -> None:
    """The learning curves of all trials, the best settings in colour, the others in grey.

    All seeds of a setting have one colour; where there are only seeds, each has its own.
    """
    figure = new_figure(7, 4)
    axes = figure.add_subplot()
    style(axes, title=label, xlabel="step")
    ordered = sorted(trials, key=lambda trial: trial.value, reverse=higher_is_better)
    ordered = [trial for trial in ordered[:MAX_CURVES] if trial.curve]
    texts = [_setting_text(trial) for trial in ordered]
    places = {text: place for place, text in enumerate(dict.fromkeys(texts))}
    for index, (trial, text) in reversed(list(enumerate(zip(ordered, texts, strict=True)))):
        place = places[text]
        is_named = place < len(PALETTE) - 1
        is_first = text not in texts[:index]  # of its setting: one line in the key is enough
        axes.plot(
            [step for step, _ in trial.curve],
            [value for _, value in trial.curve],
            marker="o" if len(trial.curve) == 1 else None,
            markersize=4,
            color=PALETTE[place] if is_named else "#bbbbbb",
            linewidth=1.5 if is_named else 0.7,
            label=_cut(text, 60) if is_named and is_first else "_",
            zorder=3 if is_named else 1,
        )
    handles, names = axes.get_legend_handles_labels()
    if names:
        axes.legend(
            handles[::-1],
            names[::-1],
            loc="upper left",
            bbox_to_anchor=(0, -0.14),
            fontsize=7,
            labelcolor=INK,
            frameon=False,
        )
    save_figure(figure, path)


def _setting_text(trial: Trial) -> str:
    keys = [key for key in trial.point if key != "seed"] or list(trial.point)
    return " ".join(f"{key}={trial.point[key]}" for key in keys)


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"


def plot_parallel(
    trials: Sequence[Trial],
    keys: Sequence[str],
    label: str,
    path: Path,
    *,
    higher_is_better: bool,
    logs: Logs = NO_LOGS,
) -> None:
    """Parallel coordinates: a line a trial through its values, coloured by how good it is."""
    from matplotlib import colormaps
    from matplotlib.collections import LineCollection

    figure = new_figure(2.0 + 1.6 * (len(keys) + 1), 4)
    axes = figure.add_subplot()
    columns = [
        _Column.of([trial.point.get(key, "-") for trial in trials], logs.get(key)) for key in keys
    ]
    values = np.array([trial.value for trial in trials])
    low, high = float(values.min()), float(values.max())
    shares = (values - low) / (high - low) if high > low else np.full(len(values), 0.5)
    heights = np.array([[*row] for row in zip(*(c.shares for c in columns), strict=True)])
    goodness = shares if higher_is_better else 1 - shares
    order = np.argsort(goodness)  # the best on top
    lines = [list(enumerate([*heights[index], shares[index]])) for index in order]
    colours = colormaps["viridis"](goodness[order])
    axes.add_collection(LineCollection(lines, colors=colours, linewidths=1.2, alpha=0.8))
    axes.set_ylim(-0.05, 1.05)
    for place, column in enumerate(columns):
        for share, text in column.ticks:
            axes.annotate(
                text, (place, share), xytext=(4, 0), textcoords="offset points", fontsize=7
            )
    for share, value in ((0.0, low), (1.0, high)):
        axes.annotate(
            f"{value:.4g}", (len(keys), share), xytext=(4, 0), textcoords="offset points",
            fontsize=7,
        )  # fmt: skip
    axes.set_xticks(range(len(keys) + 1), [*keys, label], fontsize=8, color=INK)
    axes.set_xlim(-0.2, len(keys) + 0.6)
    axes.set_yticks([])
    axes.grid(True, axis="x", color="#999999", linewidth=0.8)
    axes.spines[:].set_visible(False)
    save_figure(figure, path)


def plot_front(
    points: Sequence[tuple[float, float]],
    labels: Sequence[str | None],
    axis_labels: tuple[str, str],
    path: Path,
) -> None:
    """Two metrics against each other, a point a setting; those that have a label are the front."""
    figure = new_figure(6, 4.2)
    axes = figure.add_subplot()
    style(axes, title="Pareto front", xlabel=axis_labels[0])
    axes.set_ylabel(axis_labels[1], fontsize=8.5, color=INK)
    xs, ys = [x for x, _ in points], [y for _, y in points]
    if is_logarithmic(ys):
        axes.set_yscale("log")
    axes.plot(xs, ys, "o", color="#bbbbbb", markersize=5)
    front = sorted(
        (*p, label) for p, label in zip(points, labels, strict=True) if label is not None
    )
    axes.plot(
        [x for x, _, _ in front], [y for _, y, _ in front], "o-", color=PALETTE[0], markersize=6,
        linewidth=1,
    )  # fmt: skip
    for x, y, label in front[:MAX_LABELS]:
        side, shift = ("left", 5) if 2 * x < min(xs) + max(xs) else ("right", -5)
        axes.annotate(
            label, (x, y), xytext=(shift, 4), textcoords="offset points", fontsize=6.5, ha=side
        )
    save_figure(figure, path)


def plot_importance(trials: Sequence[Trial], keys: Sequence[str], path: Path) -> None:
    """How much of the value each key decides: by permutation in a random forest (Breiman 2001).

    The bar is the mean drop of the forest's R² over ten shuffles of that key, the line its sd.
    """
    names, means, sds = importance(trials, keys)
    figure = new_figure(6, 1.2 + 0.35 * len(names))
    axes = figure.add_subplot()
    style(axes, title="importance", xlabel="drop of R² when the key is shuffled")
    places = range(len(names))
    axes.barh(places, means, xerr=sds, color=PALETTE[0], height=0.6, ecolor="#777777")
    axes.set_yticks(places, names, fontsize=8)
    axes.invert_yaxis()
    save_figure(figure, path)


def importance(
    trials: Sequence[Trial], keys: Sequence[str]
) -> tuple[list[str], list[float], list[float]]:
    """Keys from the most important to the least, with the mean and sd of their importance."""
    from sklearn.ensemble import RandomForestRegressor
    from sklearn.inspection import permutation_importance

    columns = [_Column.of([trial.point.get(key, "-") for trial in trials]).shares for key in keys]
    inputs, values = np.array(columns).T, np.array([trial.value for trial in trials])
    some = np.random.default_rng(0).permutation(len(values))[:MAX_EXAMPLES]
    inputs, values = inputs[some], values[some]
    forest = RandomForestRegressor(NUM_TREES, random_state=0).fit(inputs, values)
    found = permutation_importance(forest, inputs, values, n_repeats=10, random_state=0)
    order = np.argsort(-found.importances_mean)
    return (
        [keys[index] for index in order],
        [float(found.importances_mean[index]) for index in order],
        [float(found.importances_std[index]) for index in order],
    )


@dataclass(frozen=True)
class _Column:
    """Where the values of one key lie between 0 and 1, and what to write there."""

    shares: list[float]
    ticks: list[tuple[float, str]]

    @classmethod
    def of(cls, texts: Sequence[str], log: bool | None = None) -> "_Column":
        numbers = numbers_of(texts)
        if numbers is None:
            words = kinds(texts)
            places = {text: index / max(1, len(words) - 1) for index, text in enumerate(words)}
            return cls([places[text] for text in texts], [(p, t) for t, p in places.items()])
        scaled = [math.log(n) for n in numbers] if is_logarithmic(numbers, log) else numbers
        low, high = min(scaled), max(scaled)
        width = (high - low) or 1.0
        shares = [(value - low) / width for value in scaled]
        shown = dict(zip(shares, numbers, strict=True))
        several = sorted(shown) if len(shown) <= 6 else [min(shown), max(shown)]
        shown = {share: shown[share] for share in apart(several, LINE)}
        return cls(shares, [(share, f"{number:.3g}") for share, number in shown.items()])


def _scale(axes: "Axes", texts: Sequence[str], log: bool | None) -> list[float]:
    """Where the values of a key lie on an axis, which is labelled for them."""
    numbers = numbers_of(texts)
    if numbers is None:
        words = kinds(texts)
        axes.set_xticks(range(len(words)), [_cut(word, 14) for word in words])
        axes.set_xlim(-0.5, len(words) - 0.5)
        return [float(words.index(text)) for text in texts]
    by_log = is_logarithmic(numbers, log)
    if by_log:
        axes.set_xscale("log")
    different = sorted(set(numbers))
    if by_log or len(different) <= MAX_TICKS:
        wanted = different if len(different) <= MAX_TICKS else round_numbers(different)
        labels = {number: f"{number:.4g}" for number in wanted}
        ticks = apart(wanted, LETTER * (1 + max(map(len, labels.values()))), by_log=by_log)
        axes.set_xticks(ticks, [labels[tick] for tick in ticks])
        axes.set_xticks([], minor=True)
    return numbers
