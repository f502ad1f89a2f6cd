"""The verdict as files: sweep.csv for tables, sweep.json for programs."""

import csv
import io
import json
from collections import Counter
from dataclasses import asdict
from typing import Any

from trainwright.command_line import command
from trainwright.sweep.store import Store, write_whole
from trainwright.sweep.verdict.out_of_fold import OutOfFold
from trainwright.sweep.verdict.verdict import Best, Row, Setting, Verdict


def write_csv(verdict: Verdict, store: Store) -> None:
    """A line a job, from the best setting to the worst. Raises DiskError."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    # Every key that is swept, whether it differs or not.
    keys = list(dict.fromkeys(key for row in verdict.rows for key in row.job.point))
    more = [ranked.metric for ranked in verdict.ranking[1:]]
    front = ["front"] if more else []
    of_run = ["status", "seconds", "error", "folder", "log", "id"]
    writer.writerow(["place", *keys, "value", *more, *front, *of_run])
    for place, setting in enumerate(verdict.settings, start=1):
        on_front = ["yes" if setting in verdict.front else "no"] if more else []
        for row in setting.rows:
            point = [row.job.point.get(key, "") for key in keys]
            values = row.values or [""] * len(verdict.ranking)
            error = (str(row.state.get("error", "")).splitlines() or [""])[0]
            seconds, ran = row.state.get("seconds", ""), row.state.get("folder", "")
            of_run = [row.status, seconds, error, ran, _log(row, store), row.job.id]
            writer.writerow([place, *point, *values, *on_front, *of_run])
    write_whole(store.path / "sweep.csv", file.getvalue())


def write_json(verdict: Verdict, store: Store, of_folds: OutOfFold | None = None) -> None:
    """The whole verdict. Raises DiskError."""
    found = {
        "command": store.plan()["command"],
        "metrics": [ranked.metric for ranked in verdict.ranking],
        "by_logarithm": store.plan().get("by_logarithm", {}),
        "higher_is_better": [ranked.higher_is_better for ranked in verdict.ranking],
        "counts": Counter(row.status for row in verdict.rows),
        "best": [_best(best, store) for best in verdict.bests],
        "settings": [_setting(setting, verdict, store) for setting in verdict.settings],
        **({} if of_folds is None else {"out_of_fold": asdict(of_folds)}),
    }
    write_whole(store.path / "sweep.json", json.dumps(found, indent=2) + "\n")


def command_of(best: Best, store: Store) -> str:
    """The command of the best run: what the sweep's begins with, and what was typed for that."""
    plan = store.plan()
    begins = plan.get("single") or plan["command"].partition(" -m ")[0]
    return f"{begins} {command(*best.row.job.overrides)}"


def _best(best: Best, store: Store) -> dict[str, Any]:
    return {
        "metric": best.ranked.metric,
        "point": best.setting.point,
        "command": command_of(best, store),
        "within_seed_noise": [setting.point for setting in best.tied],
        "likely_worse": [
            {"point": setting.point, "gap": best.gap(setting)} for setting in best.likely_worse
        ],
        "compared": [
            {"point": other.point, "p_value": p_value} for other, p_value in best.compared
        ],
    }


def _setting(setting: Setting, verdict: Verdict, store: Store) -> dict[str, Any]:
    indices = range(len(verdict.ranking))
    return {
        "point": setting.point,
        "mean": [setting.mean(index) for index in indices],
        "sd": [setting.sd(index) for index in indices],
        "is_on_front": setting in verdict.front,
        "seconds": round(setting.seconds, 3),
        "jobs": [_job(row, store) for row in setting.rows],
    }


def _job(row: Row, store: Store) -> dict[str, Any]:
    kept = ("status", "seconds", "attempts", "folder", "error", "code")
    state = {key: row.state[key] for key in kept if key in row.state}
    state["log"] = _log(row, store)
    return {"id": row.job.id, "point": row.job.point, "values": row.values, **state}


def _log(row: Row, store: Store) -> str:
    """What the job printed, as a path within the sweep's folder; empty where it ran elsewhere."""
    log = store.log(row.job)
    return str(log.relative_to(store.path)) if log.exists() else ""
