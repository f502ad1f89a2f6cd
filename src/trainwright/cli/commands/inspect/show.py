"""`runs show`: one run on a screen: what it is, how it went, its config, its files."""

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any

from trainwright.cli.layers import layers_of
from trainwright.cli.opening import add_run
from trainwright.cli.terminal.keys import Key
from trainwright.cli.terminal.sparkline import BLOCKS, sparkline
from trainwright.cli.terminal.table import text_table
from trainwright.command_line import command
from trainwright.engine.checkpoint.several import kept
from trainwright.report.plots.series import Series, collect
from trainwright.runs.find import find_run
from trainwright.runs.folder import RunFolder
from trainwright.runs.metrics import Row, read_rows
from trainwright.runs.record import Record, numbers
from trainwright.wording import (
    age_text,
    format_bytes,
    format_count,
    format_duration,
    format_metrics,
    format_number,
    printable,
    value_text,
)

KEYS: tuple[Key, ...] = ()
EXAMPLES = """\
  runs show last
  runs show best:accuracy
  runs show 2026-11-22/103005-gan-mnist --json"""

MOST_FILES = 40
MOST_CURVES = 20
MOST_LAYERS = 60


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The run, and the form of the output."""
    add_run(parser)
    parser.add_argument("--json", action="store_true", help="summary, config and files as JSON")


def execute(arguments: argparse.Namespace) -> int:
    """Print it. What of the folder cannot be read is said, and the rest is shown."""
    run = find_run(arguments.run, arguments.root)
    if arguments.json:
        print(json.dumps(_plain(run), indent=2, default=str))
        return 0
    drawn = curves(read_rows(run.path))
    parts = [_head(run), _metrics(run), drawn, _config(run), _layers(run), _files(run)]
    text = "\n\n".join("\n".join(map(printable, part)) for part in parts if part)
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:  # a terminal that has no blocks
        text = text.translate({ord(b): f"{i}" for i, b in enumerate(BLOCKS, 1)})
        text = text.encode(sys.stdout.encoding, "replace").decode(sys.stdout.encoding)
    print(text)
    return 0


def _plain(run: Record) -> dict[str, Any]:
    return {
        "path": str(run.path),
        "name": run.name,
        "status": run.status,
        "summary": run.summary,
        "config": run.config,
        "overrides": run.overrides,
        "files": dict(_walk(run)),
        "problems": run.problems,
    }


def _head(run: Record) -> list[str]:
    facts = {
        "status": _progress(run),
        "model": _model(run),
        "data": run.choices.get("data"),
        "fork of": _lineage(run),
        "kept": _kept(run),
        "computed": run.summary.get("placement"),
        "versions": ", ".join(f"{k} {v}" for k, v in _texts(run.summary.get("versions")).items()),
        "typed": command(*run.overrides),
        "legs": _legs(run),
        "error": run.summary.get("error"),
        "folder": str(run.path),
    }
    lines = [f"  {name:<9}{value}" for name, value in facts.items() if value]
    return [run.name, *lines, *(f"  {'problem':<9}{problem}" for problem in run.problems)]


def _progress(run: Record) -> str:
    step, steps, seconds = run.step, run.steps, run.number("seconds")
    parts = [run.status]
    if step is not None:
        of = f" of {format_count(steps)}" if steps not in (None, step) else ""
        took = f" in {format_duration(seconds)}" if seconds is not None else ""
        parts.append(f"{format_count(step)}{of} steps{took}")
    rate = run.number("examples_per_second")
    if rate is not None:
        parts.append(f"{rate:,.0f} examples/s")
    reason = run.summary.get("stopped_because")
    if isinstance(reason, str):
        parts.append(reason)
    if run.started:
        parts.append(f"begun {age_text(time.time() - run.started)} ago")
    return ", ".join(parts)


def _legs(run: Record) -> str:
    """Of a run that was resumed, how long each leg took, and at which rate."""
    stored = run.summary.get("legs")
    legs = [numbers(leg) for leg in stored] if isinstance(stored, list) else []
    told = [
        f"{leg['begin']:,.0f} to {leg['end']:,.0f} in {format_duration(leg['seconds'])}"
        f" at {leg['examples_per_second']:,.0f}/s"
        for leg in legs
        if {"begin", "end", "seconds", "examples_per_second"} <= leg.keys()
    ]
    if len(told) < 2:
        return ""
    return "; ".join([*told[:5], *([f"and {len(told) - 5} more"] if len(told) > 5 else [])])


def _model(run: Record) -> str:
    players = numbers(run.summary.get("parameters"))
    counts = ", ".join(f"{name} {format_count(int(count))}" for name, count in players.items())
    name = run.choices.get("model", "")
    return f"{name} ({counts} parameters)" if counts else name


def _kept(run: Record) -> str:
    """The best checkpoints after the best, each with its step and the objective."""
    told = [
        f"best-{place}: step {one.step:,}, {run.objective} {format_number(value)}"
        for place, one in kept(RunFolder(run.path)).items()
        if place > 1 and (value := one.metrics.get(run.objective or "")) is not None
    ]
    return "; ".join(told)


def _lineage(run: Record) -> str:
    """Whose weights the run began with, and what it took of them."""
    found = run.summary.get("lineage")
    if not isinstance(found, dict):
        return ""
    parts = found.get("parts")
    told = [
        f"{part.get('what')}: {part.get('layers')}"
        for part in (parts if isinstance(parts, list) else [])
        if isinstance(part, dict)
    ]
    return "; ".join([f"{found.get('name')}, step {found.get('step')}", *told])


def _metrics(run: Record) -> list[str]:
    """What was measured: with the best weights, with the last, and on the test split."""
    columns = {}
    for which in ("best", "last"):
        stored = run.summary.get(which)
        step = numbers(stored).get("step") if isinstance(stored, dict) else None
        title = which.upper() if step is None else f"{which.upper()}, STEP {step:,.0f}"
        columns[title] = format_metrics(run.evaluation(which))
    columns["TEST"] = format_metrics(numbers(run.summary.get("test")))
    columns = {title: column for title, column in columns.items() if column}
    names = dict.fromkeys(name for column in columns.values() for name in column)
    cells = [[f"  {name}", *(c.get(name, "") for c in columns.values())] for name in names]
    return text_table(["metrics", *columns], cells) if cells else []


def _texts(value: Any) -> dict[str, str]:
    return {str(k): str(v) for k, v in value.items()} if isinstance(value, dict) else {}


def curves(
    rows: list[Row], most: int = MOST_CURVES, columns: int = 90, first: Sequence[str] = ()
) -> list[str]:
    """A line a curve, with its first and last value, in so many columns or a few more.

    `first`: metrics that come before the others.
    """
    found = [c for c in collect(rows) if len(c.values) > 1 and not c.name.endswith("_error")]
    places = {name: place for place, name in enumerate(first)}
    found.sort(key=lambda curve: places.get(curve.name, len(first)))
    if not found:
        return []
    room = columns - 26 - max(len(_name(curve)) for curve in found[:most])
    cells = [
        [
            "  " + _name(curve),
            format_number(curve.values[0]),
            sparkline(curve.values, width=max(8, min(40, room))),
            format_number(curve.values[-1]),
        ]
        for curve in found[:most]
    ]
    header = ["curves", "FIRST", "", "LAST"]
    lines = text_table(header, cells, right=["FIRST"])
    if len(found) > most:
        lines.append(f"  and {len(found) - most} more")
    return lines


def _name(curve: Series) -> str:
    return "/".join(part for part in (curve.phase, curve.owner, curve.name) if part)


def _config(run: Record) -> list[str]:
    if not run.settings:
        return []
    return ["config", *(f"  {key}: {value_text(value)}" for key, value in run.settings.items())]


def _layers(run: Record) -> list[str]:
    """The layers that `runs fork` may freeze."""
    cells = [["  " + layer, "  ".join(held)] for layer, held in layers_of(run).items()]
    lines = text_table([f"layers ({len(cells)})", ""], cells[:MOST_LAYERS]) if cells else []
    if len(cells) > MOST_LAYERS:
        lines.append(f"  and {len(cells) - MOST_LAYERS} more")
    return lines


def _files(run: Record) -> list[str]:
    files = list(_walk(run))
    cells = [["  " + name, format_bytes(size)] for name, size in files[:MOST_FILES]]
    total = format_bytes(sum(size for _, size in files))
    lines = text_table([f"files ({len(files)}, {total})", ""], cells, right=[""]) if files else []
    if len(files) > MOST_FILES:
        lines.append(f"  and {len(files) - MOST_FILES} more")
    return lines


def _walk(run: Record) -> Iterator[tuple[str, int]]:
    """Every file of the folder with its size in bytes; links are not followed."""
    for folder, folders, names in os.walk(run.path):
        folders.sort()
        for name in sorted(names):
            path = os.path.join(folder, name)  # noqa: PTH118 - many files
            try:
                yield os.path.relpath(path, run.path), os.lstat(path).st_size
            except OSError:
                continue
