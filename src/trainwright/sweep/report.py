"""The verdict in words, in files and in pictures."""

import csv
import io
import json
import shlex
from collections import Counter
from collections.abc import Sequence
from typing import Any

from trainwright.report.text import format_duration, format_number
from trainwright.sweep.job import short
from trainwright.sweep.store import Store, write_whole
from trainwright.sweep.verdict import LEVEL, Row, Setting, Verdict, judge_sweep

MAX_ROWS = 30  # of the table in the terminal; sweep.csv has all
MAX_FAILURES = 5


def report(store: Store) -> str:
    """Judge a sweep, write sweep.csv, sweep.json and the plots, and return what to print."""
    from trainwright.sweep.pictures import draw

    verdict = judge_sweep(store)
    write_whole(store.path / "sweep.csv", _csv(verdict, store))
    write_whole(store.path / "sweep.json", json.dumps(_json(verdict, store), indent=2) + "\n")
    draw(verdict, store)
    return "\n".join([*table(verdict), *_conclusion(verdict, store), *_failures(verdict, store)])


def table(verdict: Verdict) -> list[str]:
    """The settings from best to worst, with only the keys that differ."""
    keys = [key for key in verdict.keys if key != "seed"]
    with_seeds = any(len(setting.rows) > 1 for setting in verdict.settings)
    better = "higher is better" if verdict.ranked.higher_is_better else "lower is better"
    header = ["", *keys, verdict.ranked.label, *(["best", "seeds"] if with_seeds else [])]
    lines = [[*header, "time", "status"]]
    for place, setting in enumerate(verdict.settings[:MAX_ROWS], start=1):
        values = setting.values
        best = verdict.ranked.best(values)
        cells = [str(place), *(short(setting.point.get(key, "-")) for key in keys), _mean(setting)]
        if with_seeds:
            cells += ["-" if best is None else format_number(best), str(len(values))]
        lines.append([*cells, format_duration(setting.seconds), _statuses(setting)])
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    text = ["  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)) for line in lines]
    hidden = len(verdict.settings) - MAX_ROWS
    more = [f"... and {hidden} more: sweep.csv has all"] if hidden > 0 else []
    return ["", *(line.rstrip() for line in text), *more, f"({verdict.ranked.metric}, {better})"]


def _mean(setting: Setting) -> str:
    if setting.mean is None:
        return "-"
    spread = "" if setting.sd is None else f" ± {setting.sd:.2g}"
    return format_number(setting.mean) + spread


def _statuses(setting: Setting) -> str:
    counts = Counter(row.status for row in setting.rows)
    if len(counts) == 1:
        return next(iter(counts))
    return ", ".join(f"{count} {status}" for status, count in counts.items())


def _conclusion(verdict: Verdict, store: Store) -> list[str]:
    """Which setting won, whether by more than luck, and how to run it again."""
    winner = verdict.winner
    if winner is None:
        return ["", "no job has a value yet"]
    lines = [""]
    if len(verdict.settings) > 1:
        lines.append(f"best: {winner.label}")
        lines += _luck(verdict, winner)
    return [*lines, f"again: {_single(verdict, winner, store)}"]


def _single(verdict: Verdict, winner: Setting, store: Store) -> str:
    """The command of the best run: what the sweep's begins with, and what was typed for that."""
    words = shlex.split(store.plan()["command"])
    begins = words[: words.index("-m")]
    return shlex.join([*begins, *_best_row(verdict, winner).job.overrides])


def _luck(verdict: Verdict, winner: Setting) -> list[str]:
    """What the seeds say about the winner's lead."""
    if len(winner.values) < 2:
        return ["  with one seed nobody can tell whether that is more than luck: add seed=0,1,2"]
    compared = [s for s in verdict.settings[1:] if s.p_value is not None]
    if not compared:
        return ["  no other setting has several seeds to compare it with"]
    test = "Welch's t-test, Holm's correction"
    if not verdict.tied:
        p_value = max(s.p_value or 0.0 for s in compared)
        return [
            f"  better than each other setting by more than seed noise (p ≤ {p_value:.2g}; {test})"
        ]
    names = "; ".join(setting.label for setting in verdict.tied[:3])
    more = f" and {len(verdict.tied) - 3} more" if len(verdict.tied) > 3 else ""
    return [f"  within seed noise of: {names}{more} (p ≥ {LEVEL}; {test})"]


def _best_row(verdict: Verdict, winner: Setting) -> Row:
    best = verdict.ranked.best(winner.values)
    return next(row for row in winner.rows if row.value == best)


def _failures(verdict: Verdict, store: Store) -> list[str]:
    failed = [row for row in verdict.rows if row.status == "failed"]
    lines = [
        f"failed: {_label(row)}: {row.state['error'].splitlines()[0]}\n  log: {store.log(row.job)}"
        for row in sorted(failed, key=lambda row: row.job.number)[:MAX_FAILURES]
    ]
    hidden = len(failed) - MAX_FAILURES
    return [*lines, *([f"... and {hidden} more failed: see sweep.csv"] if hidden > 0 else [])]


def _label(row: Row) -> str:
    return " ".join(f"{key}={short(text)}" for key, text in row.job.point.items()) or row.job.name


def _csv(verdict: Verdict, store: Store) -> str:
    """A line a job, from the best setting to the worst."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    keys = _keys(verdict)
    writer.writerow(["place", *keys, "value", "status", "seconds", "error", "folder", "id"])
    for place, setting in enumerate(verdict.settings, start=1):
        for row in setting.rows:
            error = str(row.state.get("error", "")).splitlines()[:1]
            point = [row.job.point.get(key, "") for key in keys]
            ran = str(row.state.get("folder", ""))
            seconds = row.state.get("seconds", "")
            writer.writerow(
                [place, *point, row.value, row.status, seconds, *(error or [""]), ran, row.job.id]
            )
    return file.getvalue()


def _json(verdict: Verdict, store: Store) -> dict[str, Any]:
    plan, winner = store.plan(), verdict.winner
    return {
        "command": plan["command"],
        "metric": verdict.ranked.metric,
        "higher_is_better": verdict.ranked.higher_is_better,
        "counts": Counter(row.status for row in verdict.rows),
        "best_command": None if winner is None else _single(verdict, winner, store),
        "within_seed_noise": [setting.point for setting in verdict.tied],
        "settings": [
            {
                "point": setting.point,
                "mean": setting.mean,
                "sd": setting.sd,
                "p_value": setting.p_value,
                "seconds": round(setting.seconds, 3),
                "jobs": [_row_json(row) for row in setting.rows],
            }
            for setting in verdict.settings
        ],
    }


def _row_json(row: Row) -> dict[str, Any]:
    kept = ("status", "seconds", "attempts", "folder", "error", "code")
    state = {key: row.state[key] for key in kept if key in row.state}
    return {"id": row.job.id, "point": row.job.point, "value": row.value, **state}


def _keys(verdict: Verdict) -> Sequence[str]:
    """Every key that is swept, whether it differs or not."""
    return list(dict.fromkeys(key for row in verdict.rows for key in row.job.point))
