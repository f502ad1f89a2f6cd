"""The verdict in words; `written.py` has its files, `pictures.py` its plots."""

from collections import Counter
from collections.abc import Sequence

from trainwright.streams import is_quiet
from trainwright.sweep.job import short
from trainwright.sweep.store import DONE, Store
from trainwright.sweep.verdict.out_of_fold import out_of_fold
from trainwright.sweep.verdict.ranking import PARAMETERS, logged
from trainwright.sweep.verdict.verdict import (
    LEVEL,
    REPEATED,
    Best,
    Setting,
    Verdict,
    judge_sweep,
)
from trainwright.sweep.verdict.written import command_of, write_csv, write_json
from trainwright.wording import format_duration, format_number, nearest

MAX_ROWS = 30  # of the table in the terminal; sweep.csv has all
MAX_FAILURES = 10  # each with its log; sweep.csv has all
TEST = "Welch's t-test, Holm's correction"
MORE = {"seed": "seed=0,1,2,3", "fold": "data.folds=5 'data.fold=range(5)'"}


def report(store: Store) -> Verdict:
    """Judge a sweep, write sweep.csv and sweep.json, and print the verdict, which is returned.

    Raises DiskError where the files cannot be written, when the verdict has been printed.
    """
    verdict = judge_sweep(store)
    lines = [*table(verdict), *conclusion(verdict, store), *_failures(verdict, store)]
    try:
        found = out_of_fold(verdict, store)
        lines += [] if found is None else [found.line()]
        write_csv(verdict, store)
        write_json(verdict, store, found)
    finally:
        in_short = filter(None, [*conclusion(verdict, store), *_failures(verdict, store)])
        print("\n".join(in_short if is_quiet() else lines), flush=True)
    return verdict


def table(verdict: Verdict) -> list[str]:
    """The settings from best to worst, with only the keys that differ."""
    keys = [key for key in verdict.keys if key not in REPEATED]
    with_seeds = any(len(setting.rows) > 1 for setting in verdict.settings)
    several = len(verdict.ranking) > 1
    shown = verdict.settings[:MAX_ROWS]
    columns = [["", *map(str, range(1, len(shown) + 1))]]
    columns += [[key, *(short(s.point.get(key, "-")) for s in shown)] for key in keys]
    for index, ranked in enumerate(verdict.ranking):
        columns.append([ranked.label, *(_mean(s, index) for s in shown)])
        if with_seeds and not several:
            columns.append(["best", *(_number(ranked.best(s.values(index))) for s in shown)])
    if with_seeds:
        columns.append([f"{verdict.repeated}s", *(str(len(s.counted)) for s in shown)])
    if several:
        columns.append(["front", *("yes" if s in verdict.front else "-" for s in shown)])
    columns.append(["time", *(format_duration(s.seconds) for s in shown)])
    columns.append(["status", *map(_statuses, shown)])
    padded = [[cell.ljust(max(map(len, column))) for cell in column] for column in columns]
    lines = ["  ".join(cells).rstrip() for cells in zip(*padded, strict=True)]
    hidden = len(verdict.settings) - MAX_ROWS
    more = [f"... and {hidden} more: sweep.csv has all"] if hidden > 0 else []
    metrics = "; ".join(f"{ranked.metric}, {ranked.direction}" for ranked in verdict.ranking)
    return ["", *lines, *more, f"({metrics})"]


def _mean(setting: Setting, index: int) -> str:
    sd = setting.sd(index)
    return _number(setting.mean(index)) + ("" if sd is None else f" ± {sd:.2g}")


def _number(value: float | None) -> str:
    return "-" if value is None else format_number(value)


def _statuses(setting: Setting) -> str:
    counts = Counter(row.status for row in setting.rows)
    several = [f"{count} {status}" for status, count in counts.items()]
    return ", ".join(several if len(counts) > 1 else counts)


def conclusion(verdict: Verdict, store: Store) -> list[str]:
    """Which setting won, whether by more than luck, and how to run it again."""
    if not verdict.bests:
        return ["", *_without_values(verdict, store)]
    lines = [""]
    if len(verdict.ranking) > 1:
        lines.append(
            f"Pareto front: {len(verdict.front)} of {len(verdict.settings)} settings, "
            "which no other beats in every metric"
        )
    for best in verdict.bests:
        name = f"best {best.ranked.label}" if len(verdict.ranking) > 1 else "best"
        if len(verdict.settings) > 1:
            lines += [
                f"{name}: {best.setting.label}",
                *_luck(best, len(verdict.settings) - 1, verdict.repeated),
            ]
        lines.append(f"again: {command_of(best, store)}")
    return lines


def _luck(best: Best, num_others: int, repeated: str) -> list[str]:
    """What the seeds or folds say about the winner's lead."""
    more = f"add {MORE[repeated]}"
    if len(best.setting.counted) < 2:
        return [f"  with one {repeated} nobody can tell whether that is more than luck: {more}"]
    if not best.compared:
        return [
            f"  nothing can be compared: it takes two settings with two finished {repeated}s each"
        ]
    untold = num_others - len(best.compared)
    rest = (
        f"; {untold} not compared: pruned, or fewer than two {repeated}s finished" if untold else ""
    )
    lines = []
    if best.tied:
        names = _some([setting.label for setting in best.tied])
        lines.append(f"  within {repeated} noise of: {names} (p ≥ {LEVEL}; {TEST}{rest})")
    if best.likely_worse:
        gaps = [f"{s.label} (by {best.gap(s):.2g} times the spread)" for s in best.likely_worse]
        lines.append(f"  far ahead of: {_some(gaps)}; so few {repeated}s cannot prove it")
    if not lines:
        p_value = max(p for _, p in best.compared)
        lines.append(
            f"  better than each other setting by more than {repeated} noise "
            f"(p ≤ {p_value:.2g}; {TEST}{rest})"
        )
    if best.fewest_seeds == 2:
        lines.append(f"  two {repeated}s tell little about how far {repeated}s scatter: {more}")
    return lines


def _some(texts: Sequence[str]) -> str:
    return "; ".join(texts[:3]) + (f" and {len(texts) - 3} more" if len(texts) > 3 else "")


def _without_values(verdict: Verdict, store: Store) -> list[str]:
    """Nothing has a value: it is early, or the metric is none that these runs log."""
    done = next((row for row in verdict.rows if row.status in DONE), None)
    if done is None:
        return ["no job has a value yet"]
    there = logged(store.run_folder(done.state))
    known = {*there, PARAMETERS}
    missing = [ranked.metric for ranked in verdict.ranking if ranked.metric not in known]
    meant = nearest(missing[0], there) if missing else ""
    wanted = " and ".join(missing or [ranked.metric for ranked in verdict.ranking])
    return [
        f"no job has logged {wanted}{meant}",
        f"  there are {', '.join(there)}",
        "  type the command again with another sweep.metric: finished jobs are not run again",
    ]


def _failures(verdict: Verdict, store: Store) -> list[str]:
    failed = [row for row in verdict.rows if row.status == "failed"]
    lines = [
        f"failed: {row.job.label}: {row.state['error'].splitlines()[0]}\n"
        f"  log: {store.log(row.job)}"
        for row in sorted(failed, key=lambda row: row.job.number)[:MAX_FAILURES]
    ]
    hidden = len(failed) - MAX_FAILURES
    return [*lines, *([f"... and {hidden} more failed: see sweep.csv"] if hidden > 0 else [])]
