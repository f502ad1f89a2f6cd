"""The plots in a sweep's folder, from its verdict."""

from trainwright.report.sweeps import (
    Trial,
    plot_curves_of_all,
    plot_importance,
    plot_parallel,
    plot_values,
)
from trainwright.sweep.job import short
from trainwright.sweep.lines import read_lines
from trainwright.sweep.store import Store
from trainwright.sweep.verdict import Row, Verdict

ENOUGH = 8  # jobs with a value, to say what mattered


def draw(verdict: Verdict, store: Store) -> None:
    """Draw values.png, curves.png, parallel.png and importance.png, as far as there is enough."""
    trials = [_trial(row, verdict, store) for row in verdict.rows if row.value is not None]
    keys = [key for key in verdict.keys if key != "seed"] or list(verdict.keys)
    if len(trials) < 2 or not keys:
        return
    store.plots.mkdir(exist_ok=True)
    higher, label = verdict.ranked.higher_is_better, verdict.ranked.label
    plot_values(trials, keys, label, store.plots / "values.png")
    plot_curves_of_all(trials, label, store.plots / "curves.png", higher_is_better=higher)
    if len(keys) > 1:
        parallel = store.plots / "parallel.png"
        plot_parallel(trials, keys, label, parallel, higher_is_better=higher)
        if len(trials) >= ENOUGH:
            plot_importance(trials, keys, store.plots / "importance.png")


def _trial(row: Row, verdict: Verdict, store: Store) -> Trial:
    assert row.value is not None
    folder = store.run_folder(row.state) if "folder" in row.state else store.folder(row.job)
    metric = verdict.ranked.metric
    curve = [
        (float(line["step"]), float(line[metric]))
        for line in read_lines(folder / "metrics.jsonl")
        if line.get(metric) is not None
    ]
    point = {key: short(text) for key, text in row.job.point.items()}
    return Trial(point, row.value, curve)
