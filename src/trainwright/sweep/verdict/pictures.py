"""The plots in a sweep's folder, from its verdict."""

from collections.abc import Mapping
from statistics import fmean

from trainwright.report.plots.sweeps import (
    MAX_CURVES,
    Trial,
    plot_curves_of_all,
    plot_front,
    plot_importance,
    plot_parallel,
    plot_values,
    setting_text,
)
from trainwright.runs.metrics import read_rows
from trainwright.sweep.job import short
from trainwright.sweep.store import Store
from trainwright.sweep.verdict.verdict import REPEATED, Row, Verdict

ENOUGH = 8  # jobs with a value, to say what mattered


def draw(verdict: Verdict, store: Store) -> None:
    """Draw values.png, curves.png, parallel.png and importance.png, as far as there is enough.

    All of them show the first metric; of several, front.png shows the first two.
    """
    counted = [row for setting in verdict.settings for row in setting.counted]
    first = verdict.ranking[0]
    best_first = sorted(counted, key=lambda row: first.cost(row.value()))
    trials = [
        _trial(row, first.metric, store, with_curve=place < MAX_CURVES)
        for place, row in enumerate(best_first)
    ]
    keys = [key for key in verdict.keys if key not in REPEATED] or list(verdict.keys)
    if len(trials) < 2 or not keys:
        return
    store.plots.mkdir(exist_ok=True)
    higher, label = first.higher_is_better, first.label
    logs = {str(key): log is True for key, log in store.plan().get("by_logarithm", {}).items()}
    plot_values(trials, keys, label, store.plots / "values.png", logs=logs)
    plot_curves_of_all(trials, label, store.plots / "curves.png", higher_is_better=higher)
    if len(verdict.ranking) > 1:
        _draw_front(verdict, store)
    if len(keys) > 1:
        parallel = store.plots / "parallel.png"
        plot_parallel(trials, keys, label, parallel, higher_is_better=higher, logs=logs)
        if len(trials) >= ENOUGH:
            plot_importance(trials, keys, store.plots / "importance.png")


def _trial(row: Row, metric: str, store: Store, *, with_curve: bool) -> Trial:
    folder = store.run_folder(row.state) if "folder" in row.state else store.folder(row.job)
    lines = read_rows(folder) if with_curve else ()
    curve = [
        (float(line["step"]), float(line[metric])) for line in lines if line.get(metric) is not None
    ]
    return Trial(_short(row.job.point), row.value(), curve)


def _short(point: Mapping[str, str]) -> dict[str, str]:
    return {key: short(text) for key, text in point.items()}


def _draw_front(verdict: Verdict, store: Store) -> None:
    """The means of the first two metrics, a point a setting."""
    settings = [setting for setting in verdict.settings if setting.counted]
    points = [(fmean(s.values(0)), fmean(s.values(1))) for s in settings]
    labels = [setting_text(_short(s.point)) if s in verdict.front else None for s in settings]
    axes = verdict.ranking[0].label, verdict.ranking[1].label
    plot_front(points, labels, axes, store.plots / "front.png")
