"""`runs list`: a table of runs, filtered and sorted by any config key or metric."""

import argparse
import csv
import json
import math
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from trainwright.cli.terminal.colour import STATUS
from trainwright.cli.terminal.keys import Key, listed, whole
from trainwright.cli.terminal.table import shown, text_table
from trainwright.errors import ConfigError
from trainwright.runs.find import find_runs
from trainwright.runs.query import (
    MISSING,
    Condition,
    parse_condition,
    require_known,
    sort_runs,
    value_of,
)
from trainwright.runs.record import Record
from trainwright.wording import (
    age_text,
    format_count,
    format_duration,
    format_number,
    printable,
    value_text,
)

KEYS: tuple[Key, ...] = ()
EXAMPLES = """\
  runs list
  runs list model=gan status=finished
  runs list 'validation/accuracy>0.98' --sort=test/accuracy
  runs list data=mnist 'age<2d' --columns=optimizer.lr,seed --csv

A filter is key=value, !=, <, <=, > or >= (in quotes, for the shell). Values may be a,b and have
* in them. Keys are those of the config (optimizer.lr), groups (model), metrics
(validation/accuracy is that of the best checkpoint, last/accuracy, test/accuracy), name, status,
step, steps, seconds and age (30m, 12h, 2d)."""

HEADER = ("NAME", "MODEL", "DATA", "STATUS", "BEST", "STEPS", "TIME", "AGE")
MOST_VALUES = 8  # of a key, that are named where a filter fits none
SHOWN = {"name", "model", "data", "status", "step", "steps", "seconds", "age"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Filters, order, and the form of the output."""
    parser.add_argument("filters", nargs="*", help="key=value, 'key>value', ...")
    parser.add_argument(
        "--sort", metavar="KEY", help="metrics best first, others upwards; --sort=-KEY turns it"
    )
    parser.add_argument("--columns", metavar="KEYS", default="", help="more columns: a,b,c")
    parser.add_argument("-n", "--limit", metavar="N", help="only the first N")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="a list of objects")
    form.add_argument("--csv", action="store_true", help="comma-separated values")


def execute(arguments: argparse.Namespace) -> int:
    """Print the runs. Raises ConfigError for a filter that is none, or a key that no run has."""
    try:
        columns = listed(arguments.columns) if arguments.columns else ()
    except ValueError as error:
        raise ConfigError(f"--columns: {error}") from None
    try:
        limit = whole(1)(arguments.limit) if arguments.limit else None
    except ValueError as error:
        raise ConfigError(f"--limit={arguments.limit}: {error}") from None
    found = choose(arguments.filters, arguments.root, sort=arguments.sort, columns=columns)
    found = replace(found, runs=found.runs[:limit])
    rows = [row(run, found.extra) for run in found.runs]
    if arguments.json:
        print(json.dumps(rows, indent=2, default=str))
    elif arguments.csv:
        _print_csv(rows)
    else:
        print("\n".join(lines_of(found)))
    return 0


@dataclass(frozen=True)
class Chosen:
    """The runs that fulfil all conditions, of how many, and which keys are shown beside the usual.

    `why_none`: what to say where there are none.
    """

    runs: Sequence[Record]
    num_all: int
    extra: Sequence[str]
    why_none: Sequence[str] = ()


def choose(
    filters: Sequence[str], root: Path, *, sort: str | None = None, columns: Sequence[str] = ()
) -> Chosen:
    """The runs below `root` that pass the filters, the newest first, or by the key `sort`.

    Raises ConfigError for a filter that is none, or a key that no run has.
    """
    conditions = [parse_condition(word) for word in filters]
    sort_key = (sort or "").removeprefix("-")
    runs = everything = find_runs(root)
    require_known([*(c.key for c in conditions), *filter(None, [sort_key]), *columns], everything)
    for condition in conditions:
        runs = [run for run in runs if condition.holds(run)]
    if sort:
        runs = sort_runs(runs, sort)
    # What was asked about is worth seeing, where it is not one value for all.
    asked = [c.key for c in conditions if c.operator != "="] + ([sort_key] if sort_key else [])
    extra = [key for key in dict.fromkeys([*columns, *asked]) if key not in SHOWN]
    why_none = [] if runs else _why_none(everything, conditions, root)
    return Chosen(runs, len(everything), extra, why_none)


def row(run: Record, extra: Sequence[str]) -> dict[str, Any]:
    """What --json and --csv tell of a run. None for what is not known."""
    objective = run.objective
    best = run.summary.get("best")
    row = {
        "name": run.name,
        "path": str(run.path),
        "model": run.choices.get("model"),
        "data": run.choices.get("data"),
        "status": run.status,
        "objective": objective,
        "best": run.metrics.get(f"validation/{objective}"),
        "best_step": best.get("step") if isinstance(best, dict) else None,
        "step": run.step,
        "steps": run.steps,
        "seconds": run.number("seconds"),
        "started": datetime.fromtimestamp(run.started, tz=UTC).isoformat(timespec="seconds"),
        "epsilon": run.epsilon,
        **{key: value_of(run, key) for key in extra},
    }
    return {key: _plain(value) for key, value in row.items()}


def _plain(value: Any) -> Any:
    is_finite = not isinstance(value, float) or math.isfinite(value)
    return value if is_finite and isinstance(value, str | int | float | bool | list) else None


def _print_csv(rows: list[dict[str, Any]]) -> None:
    names = list(rows[0]) if rows else []
    writer = csv.DictWriter(sys.stdout, names, lineterminator="\n")
    if rows:
        writer.writeheader()
        writer.writerows(
            {key: shown(v) if isinstance(v, str) else v for key, v in row.items()} for row in rows
        )


def _why_none(
    everything: Sequence[Record], conditions: Sequence[Condition], root: Path
) -> list[str]:
    """What to say instead of an empty table: of the filters that no run passes what there is."""
    if not everything:
        return [f"no runs in {root}"]
    lines = [f"none of {len(everything):,} runs matches"]
    for condition in conditions:
        if any(condition.holds(run) for run in everything):
            continue
        found = (value_of(run, condition.key) for run in everything)
        texts = sorted({printable(value_text(value)) for value in found if value is not MISSING})
        more = f" and {len(texts) - MOST_VALUES} more" if len(texts) > MOST_VALUES else ""
        lines.append(f"  {condition.key} is {', '.join(texts[:MOST_VALUES])}{more}")
    return lines


def lines_of(found: Chosen) -> list[str]:
    """The table, or why there is none."""
    if not found.runs:
        return list(found.why_none)
    header, rows = [*HEADER, *found.extra], [cells(run, found.extra) for run in found.runs]
    right = ("STEPS", "TIME", "AGE", *found.extra)
    of_all = f"{len(found.runs):,} of {found.num_all:,} runs"
    lines = text_table(header, rows, right=right, colours=STATUS)
    return lines + [of_all] * (len(found.runs) < found.num_all)


def cells(run: Record, extra: Sequence[str] = ()) -> list[str]:
    """A line of the table: what stands under HEADER, and the values of more keys."""
    return [*_cells(run), *(_text(value_of(run, key)) for key in extra)]


def _cells(run: Record) -> list[str]:
    objective = run.objective
    best = run.metrics.get(f"validation/{objective}")
    seconds = run.number("seconds")
    spent = run.epsilon
    private = "" if spent is None else f", epsilon {format_number(spent)}"
    return [
        run.name,
        run.choices.get("model", ""),
        run.choices.get("data", ""),
        run.status,
        "" if best is None else f"{objective} {format_number(best)}{private}",
        _steps(run),
        "" if seconds is None else format_duration(seconds),
        age_text(time.time() - run.started),
    ]


def _steps(run: Record) -> str:
    step, total = run.step, run.steps
    if step is None:
        return ""
    if total is None or step == total:
        return format_count(step)
    return f"{format_count(step)}/{format_count(total)}"


def _text(value: Any) -> str:
    return "" if value is MISSING else value_text(value)
