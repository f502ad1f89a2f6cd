"""What a report tells of many runs: a sweep by its sweep.json, others by what they differ in."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from trainwright.catalogue.record import Record
from trainwright.catalogue.stored import UnreadableError, read_json
from trainwright.cli.story import is_finite, plain

MOST_SETTINGS = 2000  # in a page's table


def sweep_story(records: Sequence[Record]) -> dict[str, Any] | None:
    """Several runs as a table of what they differ in and what came of it.

    None where they do not differ, or have no objective. The form of every sweep's table: `rows`
    of `settings`, `metrics`, `status` and `run`; the names of both; and the `objective`.
    """
    objectives = [record.objective for record in records if record.objective]
    if len(records) < 2 or not objectives:
        return None
    objective = f"validation/{objectives[0]}"
    ignored = ("run.", "logger.", "trust")
    keys = dict.fromkeys(key for record in records for key in record.settings)
    differing = [
        key
        for key in keys
        if not key.startswith(ignored)
        and len({str(record.settings.get(key)) for record in records}) > 1
    ]
    if not differing:
        return None
    found = dict.fromkeys(name for record in records for name in record.metrics)
    names = [n for n in found if n == objective or n == f"test/{objectives[0]}"]
    return {
        "objective": objective,
        "higher_is_better": _is_higher_better(records, objectives[0]),
        "settings": differing,
        "metrics": names,
        "rows": [
            {
                "settings": {k: plain(r.settings[k]) for k in differing if k in r.settings},
                "metrics": {n: r.metrics[n] for n in names if n in r.metrics},
                "status": r.status,
                "run": r.name,
            }
            for r in records
        ],
    }


def _is_higher_better(records: Sequence[Record], metric: str) -> bool:
    """As the runs' best checkpoints tell: whether `best` beats `last` upwards."""
    for record in records:
        best, last = (record.evaluation(which).get(metric) for which in ("best", "last"))
        if best is not None and last is not None and best != last:
            return best > last
    return metric not in ("loss", "mse", "mae", "sliced_wasserstein")


def told_sweep(folder: Path) -> dict[str, Any] | None:
    """A sweep by its sweep.json, in the same form, and the `verdict` on its settings.

    Every job is a row, whether it has left a run or not; the settings come from best to worst.
    None where there is no such file that can be read.
    """
    try:
        told = read_json(folder / "sweep.json")
    except (FileNotFoundError, UnreadableError):
        return None
    metric, stored = told.get("metric"), told.get("settings")
    if not isinstance(metric, str) or not isinstance(stored, list):
        return None
    settings = [_setting(one) for one in stored[:MOST_SETTINGS] if isinstance(one, dict)]
    jobs = [job for setting in settings for job in setting["jobs"]]
    tied = told.get("within_seed_noise")
    return {
        "objective": metric,
        "higher_is_better": told.get("higher_is_better") is True,
        "settings": list(dict.fromkeys(key for job in jobs for key in job["point"])),
        "metrics": [metric],
        "rows": [
            {
                "settings": job["point"],
                "metrics": {} if job["value"] is None else {metric: job["value"]},
                "status": job["status"],
                "run": job["run"],
            }
            for job in jobs
        ],
        "verdict": {
            "command": str(told.get("command") or ""),
            "again": str(told.get("best_command") or ""),
            "tied": len(tied) if isinstance(tied, list) else 0,
            "settings": [
                {key: value for key, value in setting.items() if key != "jobs"}
                for setting in settings
            ],
        },
    }


def _setting(stored: dict[str, Any]) -> dict[str, Any]:
    """One setting of a sweep: its mean over the seeds, their spread, and its jobs."""
    found = stored.get("jobs")
    jobs = [_job(job) for job in found if isinstance(job, dict)] if isinstance(found, list) else []
    return {
        "point": _point(stored.get("point")),
        **{name: _number(stored.get(name)) for name in ("mean", "sd", "p_value", "seconds")},
        "num": sum(job["value"] is not None for job in jobs),
        "failed": sum(job["status"] == "failed" for job in jobs),
        "jobs": jobs,
    }


def _job(stored: dict[str, Any]) -> dict[str, Any]:
    return {
        "point": _point(stored.get("point")),
        "value": _number(stored.get("value")),
        "status": str(stored.get("status") or "planned"),
        "run": str(stored.get("folder") or ""),
    }


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
    return (int(value) if value.is_integer() else value) if is_finite(value) else str(text)


def _number(value: Any) -> float | None:
    return value if is_finite(value) else None
