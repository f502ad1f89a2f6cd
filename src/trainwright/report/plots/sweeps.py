"""Pictures of a sweep: values against what was swept, curves of all runs, what mattered."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from trainwright.report.plots.figures import (
    INK,
    PALETTE,
    new_figure,
    new_panels,
    save_figure,
    style,
)
from trainwright.report.scales import Scale, apart, is_logarithmic, round_numbers, short_names

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MAX_COLUMNS = 3
MAX_TICKS = 5  # of an axis that has a tick for each value
LETTER = 0.028  # of an axis: the room of a letter along it
MAX_LABELS = 12  # of points
MAX_WORD, MAX_NAME, MAX_TITLE = 14, 24, 40  # letters below an axis, of a line, above a panel
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
    columns = min(MAX_COLUMNS, len(keys))
    figure, panels = new_panels(len(keys), columns=columns, size=(3.4, 2.8))
    values = [trial.value for trial in trials]
    for index, (axes, key) in enumerate(zip(panels, keys, strict=True)):
        style(axes, title=_cut(key, MAX_TITLE), ylabel=label if index % columns == 0 else "")
        scale = _scale(trials, key, logs)
        _label(axes, scale)
        axes.plot(scale.places, values, "o", color=PALETTE[0], markersize=5, alpha=0.6)
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
    texts = [setting_text(trial.point) for trial in ordered]
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
            label=_cut(text, 110) if is_named and is_first else "_",
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


def _scale(trials: Sequence[Trial], key: str, logs: Logs = NO_LOGS) -> Scale:
    return Scale.of([trial.point.get(key, "-") for trial in trials], logs.get(key))


def setting_text(point: Mapping[str, str]) -> str:
    """A setting in a line, with short names; its seed only where nothing else is swept."""
    keys = [key for key in point if key != "seed"] or list(point)
    short = short_names(keys)
    return " ".join(f"{short[key]}={point[key]}" for key in keys)


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
    scales = [_scale(trials, key, logs) for key in keys]
    values = np.array([trial.value for trial in trials])
    low, high = float(values.min()), float(values.max())
    shares = (values - low) / (high - low) if high > low else np.full(len(values), 0.5)
    heights = np.array([scale.shares for scale in scales] + [shares]).T  # (trials, keys + 1)
    goodness = shares if higher_is_better else 1 - shares
    order = np.argsort(goodness)  # the best on top
    lines = [list(enumerate(heights[index])) for index in order]
    colours = colormaps["viridis"](goodness[order])
    axes.add_collection(LineCollection(lines, colors=colours, linewidths=1.2, alpha=0.8))
    axes.set_ylim(-0.05, 1.05)
    labels = [*(scale.share_labels for scale in scales), {0.0: f"{low:.4g}", 1.0: f"{high:.4g}"}]
    for place, of_axis in enumerate(labels):
        for share, text in of_axis.items():
            axes.annotate(
                text, (place, share), xytext=(4, 0), textcoords="offset points", fontsize=7
            )
    names = [_cut(name, MAX_NAME) for name in (*short_names(keys).values(), label)]
    axes.set_xticks(range(len(names)), names, fontsize=8, color=INK)
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
    style(axes, title="Pareto front", xlabel=axis_labels[0], ylabel=axis_labels[1])
    xs, ys = zip(*points, strict=True)
    if is_logarithmic(ys):
        axes.set_yscale("log")
    axes.plot(xs, ys, "o", color="#bbbbbb", markersize=5)
    front = sorted((*p, name) for p, name in zip(points, labels, strict=True) if name is not None)
    at = [[x for x, _, _ in front], [y for _, y, _ in front]]
    axes.plot(*at, "o-", color=PALETTE[0], markersize=6, linewidth=1)
    for number, (x, y, label) in enumerate(front[:MAX_LABELS], start=1):
        form: dict[str, Any] = {"textcoords": "offset points", "fontsize": 7}
        axes.annotate(f"{number}", (x, y), xytext=(5, 4), **form)
        axes.plot([], [], " ", label=f"{number}  {_cut(label, 90)}")
    form = {"loc": "upper left", "bbox_to_anchor": (0, -0.14), "handlelength": 0}
    axes.legend(fontsize=7, labelcolor=INK, frameon=False, **form)
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

    inputs = np.array([_scale(trials, key).shares for key in keys]).T  # (trials, keys)
    values = np.array([trial.value for trial in trials])
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


def _label(axes: "Axes", scale: Scale) -> None:
    """Make an x axis what a scale is, with ticks that do not print over each other."""
    if scale.words:
        words = [_cut(word, MAX_WORD) for word in scale.words]
        is_turned = LETTER * (1 + max(map(len, words))) * len(words) > 1
        turned: dict[str, Any] = {"rotation": 30, "ha": "right", "rotation_mode": "anchor"}
        axes.set_xticks(range(len(words)), words, **(turned if is_turned else {}))
        axes.set_xlim(-0.5, len(words) - 0.5)
        return
    if scale.by_log:
        axes.set_xscale("log")
    different = sorted(set(scale.places))
    if scale.by_log or len(different) <= MAX_TICKS:
        wanted = different if len(different) <= MAX_TICKS else round_numbers(different)
        labels = {number: f"{number:.4g}" for number in wanted}
        room = LETTER * (1 + max(map(len, labels.values())))
        ticks = apart(wanted, room, by_log=scale.by_log)
        axes.set_xticks(ticks, [labels[tick] for tick in ticks])
        axes.set_xticks([], minor=True)
