"""`runs predict`: what a run says of image files or a table's rows: a table, CSV or JSON lines."""

import argparse
import csv
import itertools
import json
import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainwright.cli.opening import (
    CALIBRATION,
    CHECKPOINT,
    DEVICE,
    PRECISION,
    TRUST,
    TTA,
    add_run,
    open_run,
)
from trainwright.cli.terminal.keys import Key, OneOf, parse_keys, whole
from trainwright.cli.terminal.table import shown, text_table
from trainwright.errors import ConfigError, DataError
from trainwright.files import typed_path
from trainwright.runs.find import find_run
from trainwright.wording import harmless, printable

if TYPE_CHECKING:
    from trainwright.data.columns import Target
    from trainwright.inference.predict import Prediction

MOST_NAMED = 3

KEYS = (
    Key("top", whole(1, 1000), 3, "how many of the likeliest classes a line names (3)"),
    Key(
        "on_bad",
        OneOf("error", "skip"),
        "error",
        "files or rows that cannot be used: error (code 3), or skip",
    ),
    TTA,
    CALIBRATION,
    CHECKPOINT,
    DEVICE,
    PRECISION,
    TRUST,
)
EXAMPLES = """\
  runs predict last photo.png
  runs predict best:accuracy photos/ --csv > predictions.csv
  runs predict cnn-mnist a.png b.png top=1 --jsonl
  runs predict mlp-breast_cancer patients.csv --csv

A folder stands for all PNG, JPEG and WebP images in it and in its subfolders, whatever their
names; other files are counted. Images are brought to
the size, channels and normalisation of the training data. A run that was trained on a table takes
CSV, TSV and Parquet files: columns are found by the names in the first line, or else by their
order. Files and rows that cannot be used are named on standard error after the rest is predicted,
and the exit code is 3; with on_bad=skip they are only counted, and the code is 0. In a CSV that is
written, a text that a spreadsheet would take for a formula begins with an apostrophe."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The run, files and folders, keys, and the form of the output."""
    add_run(parser)
    parser.add_argument("files", nargs="+", metavar="FILE", help="files and folders; key=value")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--csv", action="store_true", help="comma-separated, a column a class")
    form.add_argument("--jsonl", action="store_true", help="one object a line")


def execute(arguments: argparse.Namespace) -> int:
    """Print what is predicted. Raises DataError that names bad files, once all others are done."""
    named, typed = files_and_settings(arguments.files)
    values = parse_keys(typed, KEYS)
    if not named:
        raise ConfigError("predict what? name image or CSV files, or folders of them")
    trained = open_run(find_run(arguments.run, arguments.root), values)
    from trainwright.inference.predict import predict, reads_files, require_files, targets_of
    from trainwright.progress import plain_lines

    require_files(trained)
    of_files = reads_files(trained.info)
    files = list(files_of(named, of_files))
    if trained.placement.precision != "fp32":
        told = f"computed in {trained.placement.precision}; precision=fp32 is what an export says"
        print(told, file=sys.stderr)
    seen = _Seen()
    show = _print_csv if arguments.csv else _print_lines if arguments.jsonl else _print_table
    if show is not _print_table and sys.stdout.isatty():
        plain_lines()  # what is printed moves enough, and a bar would be in its way
    show(seen.good(predict(trained, files)), targets_of(trained), of_files, values["top"])
    sys.stdout.flush()
    if seen.bad and values["on_bad"] == "error":
        raise seen.error()
    if seen.bad:
        print(f"skipped {len(seen.bad):,} of {seen.what}, which cannot be used", file=sys.stderr)
    return 0


def files_and_settings(words: Sequence[str]) -> tuple[list[Path], list[str]]:
    """The files and folders that are named, and the settings. Raises DataError for no such file."""
    typed = [word for word in words if "=" in word and not Path(word).exists()]
    names = [word for word in words if word not in typed]
    paths = [typed_path(name) for name in names]
    for word, path in zip(names, paths, strict=True):
        if not path.is_dir() and not path.is_file():
            raise DataError(f"{word}: there is no such file or folder")
    return paths, typed


def files_of(named: Iterable[Path], of_files: bool) -> Iterator[Path]:
    """The files that are named, and the images or tables in folders. Raises DataError.

    What of a folder is left out is counted on standard error.
    """
    from trainwright.data.images.listing import find_files, why_no_image

    for path in named:
        if not path.is_dir():
            yield path
            continue
        found, left = find_files(path, why_no_image if of_files else _why_no_table)
        told = ", ".join(f"{number:,} ({why})" for why, number in Counter(left.values()).items())
        if not found:
            what = "PNG, JPEG or WebP images" if of_files else "CSV files"
            raise DataError(f"{path} holds no {what}" + (f"\n  left out: {told}" if told else ""))
        if told:
            print(printable(f"left out of {path}: {told}"), file=sys.stderr)
        yield from found


def _why_no_table(file: os.PathLike[str]) -> str:
    """Nothing about a text says that it is a table, but its name."""
    from trainwright.data.tables.reader import SUFFIXES

    return "" if file.__fspath__().lower().endswith(SUFFIXES) else "not a CSV file"


class _Seen:
    """What has gone by, and what of it cannot be used."""

    def __init__(self) -> None:
        self.bad: list[Prediction] = []
        self._num, self._are_rows = 0, False

    @property
    def what(self) -> str:
        """`3 files`, or `3 rows`."""
        return f"{self._num:,} {'rows' if self._are_rows else 'files'}"

    def good(self, found: Iterable["Prediction"]) -> Iterator["Prediction"]:
        """Those that can be shown."""
        for prediction in found:
            self._num += 1
            self._are_rows |= prediction.line is not None
            if prediction.problem is None:
                yield prediction
            else:
                self.bad.append(prediction)

    def error(self) -> DataError:
        """What could not be used, and why."""
        bad = self.bad
        first = f"{len(bad):,} of {self.what} cannot be used (on_bad=skip goes without)"
        named = [f"  {printable(label_of(b))}: {b.problem}" for b in bad[:MOST_NAMED]]
        more = [f"  and {len(bad) - MOST_NAMED:,} more"] if len(bad) > MOST_NAMED else []
        return DataError("\n".join([first, *named, *more]))


def label_of(prediction: "Prediction") -> str:
    """The file, and the line of a row."""
    return str(prediction.path) + ("" if prediction.line is None else f":{prediction.line}")


def _print_table(
    found: Iterable["Prediction"], targets: Mapping[str, "Target"], of_files: bool, top: int
) -> None:
    header = ["FILE" if of_files else "ROW"]
    for name, target in targets.items():
        header += target.headings(name)
    rows = []
    for prediction in found:
        told = [t.line(prediction.answers[name], top) for name, t in targets.items()]
        rows.append([label_of(prediction), *itertools.chain(*told)])
    if rows:
        right = [heading for heading in header if heading == "VALUE"]
        print("\n".join(text_table(header, rows, right=right)))


def _print_csv(
    found: Iterable["Prediction"], targets: Mapping[str, "Target"], of_files: bool, top: int
) -> None:
    """All probabilities, whatever `top` is: columns must not depend on the row."""
    writer = csv.writer(sys.stdout, lineterminator="\n")
    told = [
        heading if len(targets) == 1 else f"{name} {heading}"
        for name, target in targets.items()
        for heading in target.csv_header()
    ]
    writer.writerow(map(harmless, ["file", *([] if of_files else ["line"]), *told]))
    for prediction in found:
        cells = [c for name, t in targets.items() for c in t.csv_cells(prediction.answers[name])]
        where: list[Any] = [shown(str(prediction.path))]
        line = [*where, *([] if of_files else [prediction.line]), *cells]
        writer.writerow(map(harmless, line))


def _print_lines(
    found: Iterable["Prediction"], targets: Mapping[str, "Target"], of_files: bool, top: int
) -> None:
    from trainwright.inference.predict import told

    for prediction in found:
        row: dict[str, Any] = {"file": str(prediction.path)}
        if prediction.line is not None:
            row["line"] = prediction.line
        print(json.dumps(row | told(targets, prediction.answers, top)))
