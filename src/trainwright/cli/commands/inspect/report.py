"""`runs report`: one run, several, or a sweep as a page that needs nothing but a browser."""

import argparse
import contextlib
import time
from pathlib import Path
from typing import Any

from trainwright.cli.opening import add_run
from trainwright.cli.terminal.keys import Key, parse_keys, text
from trainwright.errors import ConfigError, DiskError
from trainwright.files import typed_path
from trainwright.runs.find import find_run, find_runs, is_run_folder
from trainwright.runs.record import Record

KEYS: tuple[Key, ...] = (Key("out", text, None, "the file to write (report-<run>.html)"),)
EXAMPLES = """\
  runs report last
  runs report gan-mnist cnn-mnist out=compared.html
  runs report outputs/2026-11-22/103005-sweep
  runs report last --live                        while it trains; Ctrl-C leaves the run alone

RUN may also be a folder with several runs in it, such as a sweep's: then its settings are a table
and plots. The page is one file and loads nothing: send it, or open it from the disk."""
EVERY = 5  # seconds between two pages of --live
MOST_RUNS = 200
MOST_OF_A_SWEEP = 40  # runs with their curves; the tables have them all


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The runs, and keys."""
    add_run(parser, nargs="+")
    live = "write the page anew every 5 seconds, until its runs have ended; a browser follows"
    parser.add_argument("--live", action="store_true", help=live)


def execute(arguments: argparse.Namespace) -> int:
    """Write the page and say where it is."""
    words = [word for word in arguments.runs if "=" in word and not Path(word).exists()]
    values = parse_keys(words, KEYS)
    named = [word for word in arguments.runs if word not in words]
    if not named:
        raise ConfigError("name one RUN or several: runs report last")
    found = [_named(word, arguments.root) for word in named]
    from trainwright.files import write_text

    names = [name for name, _ in found]
    title = " and ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
    stem = "".join(c if c.isalnum() or c in "-_." else "_" for c in "-".join(names))[:80]
    out = typed_path(values["out"] or f"report-{stem}.html")
    page, is_over = _page(title, found, named, is_live=arguments.live)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DiskError(f"could not make {out.parent}\n  {error.strerror or error}") from error
    write_text(out, page)
    print(out, flush=True)
    with contextlib.suppress(KeyboardInterrupt):
        while arguments.live and not is_over:
            time.sleep(EVERY)
            found = [_named(word, arguments.root) for word in named]
            page, is_over = _page(title, found, named, is_live=True)
            write_text(out, page)
    if not is_over and arguments.live:  # nobody writes it any more
        write_text(out, _page(title, found, named, is_live=False)[0])
    return 0


def _page(
    title: str, found: list[tuple[str, list[Record]]], named: list[str], *, is_live: bool
) -> tuple[str, bool]:
    """The page, and whether no more will come. Raises ConfigError for too many runs."""
    from trainwright.report.page.page import render
    from trainwright.report.page.report_story import report_story
    from trainwright.report.page.sweep_story import told_sweep

    records = [record for _, of_word in found for record in of_word]
    is_over = not any(record.status == "running" for record in records)
    folder = typed_path(named[0])
    is_sweep = len(named) == 1 and folder.is_dir() and not is_run_folder(folder)
    sweep = told_sweep(folder) if is_sweep else None
    if sweep is not None:
        records = _best(records, sweep)
    if len(records) > MOST_RUNS:
        raise ConfigError(f"{len(records)} runs are too many for a page; it takes {MOST_RUNS}")
    refresh = EVERY if is_live and not is_over else 0
    return render(report_story(title, records, sweep), refresh=refresh), is_over


def _named(word: str, root: Path) -> tuple[str, list[Record]]:
    """What a word names: a run, or all runs in a folder, the oldest first. Raises ConfigError."""
    path = typed_path(word)
    if not path.is_dir() or is_run_folder(path):
        record = find_run(word, root)
        return record.path.resolve().name, [record]
    found = sorted(find_runs(path), key=lambda record: (record.started, record.name))
    if not found:
        raise ConfigError(f"{word}: there are no runs in this folder")
    return path.resolve().name, found


def _best(records: list[Record], sweep: dict[str, Any]) -> list[Record]:
    """The best runs of a sweep, in that order; its table goes from best to worst."""
    place = {row["run"]: number for number, row in enumerate(sweep["rows"])}
    ranked = sorted(records, key=lambda run: place.get(run.path.name, len(place)))
    return ranked[:MOST_OF_A_SWEEP]
