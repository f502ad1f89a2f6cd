"""`runs diff`: how two runs differ, and what came of it."""

import argparse
import json
from collections.abc import Mapping
from typing import Any

from trainwright.cli.terminal.keys import Key
from trainwright.cli.terminal.table import text_table
from trainwright.runs.find import find_run
from trainwright.runs.record import Record, numbers
from trainwright.wording import format_metrics, printable, value_text

KEYS: tuple[Key, ...] = ()
EXAMPLES = """\
  runs diff last best:accuracy
  runs diff 103005 104512
  runs diff outputs/2026-11-22/103005-gan-mnist /mnt/colleague/run --json"""

MISSING = object()  # which no value of a config is
# Where a run lies and what it was called makes no difference.
NOT_COMPARED = ("run.root", "run.name", "run.dir", "trainer.resume")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Two runs, and the form of the output."""
    parser.add_argument("run_a", metavar="A", help="a run: a path, last, a piece of a name")
    parser.add_argument("run_b", metavar="B", help="another one")
    parser.add_argument("--json", action="store_true", help="as one object")


def execute(arguments: argparse.Namespace) -> int:
    """Print what differs. Exit code 0, whether or not anything does."""
    a, b = (find_run(name, arguments.root) for name in (arguments.run_a, arguments.run_b))
    config = _differences(a.settings, b.settings, skip=NOT_COMPARED)
    metrics = {
        name: (a.metrics.get(name), b.metrics.get(name))
        for name in dict.fromkeys([*a.metrics, *b.metrics])
    }
    surroundings = _differences(_surroundings(a), _surroundings(b))
    if arguments.json:
        plain = {
            "a": str(a.path),
            "b": str(b.path),
            "config": _with_nulls(config),
            "metrics": metrics,
            "surroundings": _with_nulls(surroundings),
        }
        print(json.dumps(plain, indent=2, default=str))
        return 0
    lines = [f"A  {printable(a.name)}", f"B  {printable(b.name)}", ""]
    for title, differing in (("config", config), ("run and environment", surroundings)):
        if differing:
            cells = [[key, _text(x), _text(y)] for key, (x, y) in differing.items()]
            lines += [*text_table([title, "A", "B"], cells), ""]
        else:
            lines += [f"{title}: no difference", ""]
    print("\n".join([*lines, *_metric_lines(a.metrics, b.metrics)]))
    problems = [f"{run.name}: {p}" for run in (a, b) for p in run.problems]
    if problems:
        print("\n".join(["", *map(printable, problems)]))
    return 0


def _differences(
    a: dict[str, Any], b: dict[str, Any], *, skip: tuple[str, ...] = ()
) -> dict[str, tuple[Any, Any]]:
    """The keys whose values differ, in the order of A, then of B; MISSING where one has none."""
    keys = [key for key in dict.fromkeys([*a, *b]) if key not in skip]
    pairs = {key: (a.get(key, MISSING), b.get(key, MISSING)) for key in keys}
    return {key: pair for key, pair in pairs.items() if pair[0] != pair[1]}


def _with_nulls(differing: Mapping[str, tuple[Any, Any]]) -> dict[str, list[Any]]:
    return {key: [None if v is MISSING else v for v in pair] for key, pair in differing.items()}


def _surroundings(run: Record) -> dict[str, Any]:
    """What a result hangs on besides its config: how far it came, where, by which code."""
    versions = run.summary.get("versions")
    parameters = numbers(run.summary.get("parameters"))
    return {
        "status": run.status,
        "step": run.step,
        "seconds": run.number("seconds"),
        "examples_per_second": run.number("examples_per_second"),
        "computed on": run.summary.get("placement"),
        **{f"parameters/{name}": int(count) for name, count in parameters.items()},
        **({f"version/{k}": v for k, v in versions.items()} if isinstance(versions, dict) else {}),
    }


def _metric_lines(a: Mapping[str, float], b: Mapping[str, float]) -> list[str]:
    texts = format_metrics(a), format_metrics(b)
    names = list(dict.fromkeys([*texts[0], *texts[1]]))
    if not names:
        return ["metrics: neither has any"]
    cells = [
        [
            name,
            *(text.get(name, "-") for text in texts),
            f"{b[name] - a[name]:+.4g}" if name in a and name in b else "",
        ]
        for name in names
    ]
    return text_table(["metrics", "A", "B", "B - A"], cells, right=["A", "B", "B - A"])


def _text(value: Any) -> str:
    if value is MISSING:
        return "-"
    return f"{value:,}" if type(value) is int else value_text(value)
