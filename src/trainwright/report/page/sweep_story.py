"""What a report tells of many runs: a sweep by its sweep.json, others by what they differ in."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from trainwright.report.page.story import plain
from trainwright.report.scales import short_names
from trainwright.runs.ranking import direction
from trainwright.runs.record import Record
from trainwright.runs.stored import is_number, read_json_if_any
from trainwright.wording import value_text

MOST_SETTINGS = 2000  # in a page's table
MOST_LETTERS = 60  # of what a run is called in a key


def sweep_story(records: Sequence[Record]) -> dict[str, Any] | None:
    """Several runs as a table of what they differ in and what came of it.

    None where they do not differ, or have no objective. The form of every sweep's table: `rows`
    of `settings`, `metrics`, `status` and `run`; the names of both; the `objectives`, that is the
    metrics that the runs were made for, and of each whether `higher_is_better`.
    """
    found = [record.objective for record in records if record.objective]
    if len(records) < 2 or not found:
        return None
    settings, differing = _differing(records)
    if not differing:
        return None
    objective = f"validation/{found[0]}"
    measured = {name for record in records for name in record.metrics}
    names = [name for name in (objective, f"test/{found[0]}") if name in measured]
    return {
        "objectives": [objective],
        "higher_is_better": {objective: direction(objective, records) is not False},
        "settings": differing,
        "metrics": names,
        "rows": [
            {
                "settings": {key: plain(of_run[key]) for key in differing if key in of_run},
                "metrics": {name: r.metrics[name] for name in names if name in r.metrics},
                "status": r.status,
                "run": r.name,
            }
            for r, of_run in zip(records, settings, strict=True)
        ],
    }


def run_labels(records: Sequence[Record]) -> list[str]:
    """What to call each run beside the others: by the settings that differ, or the first of them.

    By its name where these are too long, or do not tell all apart.
    """
    settings, differing = _differing(records)
    chosen = [key for key in differing if key in ("model", "data")]
    # What comes with another model says less than its name.
    told = [key for key in differing if key.partition(".")[0] not in chosen or key in chosen]
    short = short_names(told)
    for number in range(len(told), 0, -1):  # of keys, as many as there is room for
        labels = [
            " ".join(f"{short[k]}={value_text(of_run[k])}" for k in told[:number] if k in of_run)
            for of_run in settings
        ]
        is_told = all(label and len(label) <= MOST_LETTERS for label in labels)
        if is_told and len({*labels}) == len(records):
            return [f"{label} …" for label in labels] if number < len(told) else labels
    return [record.name for record in records]


def _differing(records: Sequence[Record]) -> tuple[list[dict[str, Any]], list[str]]:
    """The settings of each run, and those of their keys in which not all runs are alike."""
    settings = [_settings(record) for record in records]
    keys = dict.fromkeys(key for of_run in settings for key in of_run)
    return settings, [k for k in keys if len({str(of_run.get(k)) for of_run in settings}) > 1]


def _settings(record: Record) -> dict[str, Any]:
    """What one would say a run was made with: the options that were chosen, and its settings."""
    ignored = ("run.", "logger.", "trust")
    chosen = {
        group: record.choices[group] for group in ("model", "data") if group in record.choices
    }
    return chosen | {
        key: value
        for key, value in record.settings.items()
        if not key.startswith(ignored) and not key.endswith("_target_")
    }


def told_sweep(folder: Path) -> dict[str, Any] | None:
    """A sweep by its sweep.json, in the same form, and the `verdict` on its settings.

    Every job is a row, whether it has left a run or not; the settings come from best to worst.
    None where there is no such file that can be read.
    """
    told = read_json_if_any(folder / "sweep.json")
    metrics, directions = _list(told.get("metrics")), _list(told.get("higher_is_better"))
    stored = _objects(told.get("settings"))
    if not metrics or not all(isinstance(metric, str) for metric in metrics) or not stored:
        return None
    settings = [_setting(one, metrics) for one in stored[:MOST_SETTINGS]]
    jobs = [job for setting in settings for job in setting["jobs"]]
    higher = [direction is True for direction in directions] + [True] * len(metrics)
    return {
        "objectives": metrics,
        "by_logarithm": _flags(told.get("by_logarithm")),
        "higher_is_better": dict(zip(metrics, higher, strict=False)),
        "settings": list(dict.fromkeys(key for job in jobs for key in job["settings"])),
        "metrics": metrics,
        "rows": jobs,
        "verdict": {
            "repeated": "fold" if any("data.fold" in job["settings"] for job in jobs) else "seed",
            "command": str(told.get("command") or ""),
            "bests": [_best(one) for one in _objects(told.get("best"))],
            "settings": [
                {key: value for key, value in setting.items() if key != "jobs"}
                for setting in settings
            ],
        },
    }


def _setting(stored: dict[str, Any], metrics: Sequence[str]) -> dict[str, Any]:
    """One setting of a sweep: its means over the seeds, their spread, and its jobs."""
    jobs = [_job(job, metrics) for job in _objects(stored.get("jobs"))]
    return {
        "point": _point(stored.get("point")),
        "mean": _by_metric(metrics, stored.get("mean")),
        "sd": _by_metric(metrics, stored.get("sd")),
        "seconds": _number(stored.get("seconds")),
        "is_on_front": stored.get("is_on_front") is True,
        "num": sum(metrics[0] in job["metrics"] for job in jobs),
        "failed": sum(job["status"] == "failed" for job in jobs),
        "jobs": jobs,
    }


def _job(stored: dict[str, Any], metrics: Sequence[str]) -> dict[str, Any]:
    return {
        "settings": _point(stored.get("point")),
        "metrics": _by_metric(metrics, stored.get("values")),
        "status": str(stored.get("status") or "planned"),
        "run": str(stored.get("folder") or ""),
    }


def _best(stored: dict[str, Any]) -> dict[str, Any]:
    """The best setting by one metric, and what the seeds say about its lead."""
    return {
        "metric": str(stored.get("metric")),
        "point": _point(stored.get("point")),
        "again": str(stored.get("command") or ""),
        "tied": len(_list(stored.get("within_seed_noise"))),
        "ahead": len(_list(stored.get("likely_worse"))),
        "compared": [
            {"point": _point(one.get("point")), "p_value": _number(one.get("p_value"))}
            for one in _objects(stored.get("compared"))
        ],
    }


def _by_metric(metrics: Sequence[str], stored: Any) -> dict[str, float]:
    """Those of some values, one a metric, that are numbers."""
    pairs = zip(metrics, _list(stored), strict=False)
    return {metric: value for metric, value in pairs if is_number(value)}


def _list(stored: Any) -> list[Any]:
    return stored if isinstance(stored, list) else []


def _objects(stored: Any) -> list[dict[str, Any]]:
    return [one for one in _list(stored) if isinstance(one, dict)]


def _point(stored: Any) -> dict[str, Any]:
    """The values that were typed, numbers as numbers, so that they sort and are drawn as such."""
    if not isinstance(stored, dict):
        return {}
    return {str(key): _typed(value) for key, value in stored.items()}


def _typed(text: Any) -> Any:
    try:
        value = float(text)
    except (TypeError, ValueError):
        return str(text)
    return (int(value) if value.is_integer() else value) if is_number(value) else str(text)


def _flags(stored: Any) -> dict[str, bool]:
    found = stored if isinstance(stored, dict) else {}
    return {str(key): value for key, value in found.items() if isinstance(value, bool)}


def _number(value: Any) -> float | None:
    return value if is_number(value) else None
