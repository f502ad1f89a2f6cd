"""`runs evaluate`: what a run has learned, measured on its test split or on other data."""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
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
    add_settings,
    open_run,
)
from trainwright.cli.terminal.keys import Key, OneOf, parse_keys, text, whole
from trainwright.cli.terminal.table import text_table
from trainwright.errors import DiskError
from trainwright.files import typed_path, write_text
from trainwright.report.group_table import group_tables
from trainwright.report.score_table import class_table, score_table
from trainwright.runs.find import find_run
from trainwright.wording import format_number, printable

if TYPE_CHECKING:
    from trainwright.inference.evaluate import Classes, Evaluated
    from trainwright.inference.trained import Trained

MOST_CLASSES_CROSSED = 20  # a larger confusion matrix is left to the picture and the JSON
MOST_CONFUSED = 5


KEYS = (
    Key("split", text, "test", "test (default), validation, train, or a further one of the data"),
    Key("resamples", whole(0, 100_000), 1000, "number of bootstrap resamples (1000); 0: none"),
    Key("group", text, None, "also by group: a column, FILE.csv by file name, a folder of folders"),
    Key("likelihood", OneOf("true", "false"), "false", "also how probable a generator holds them"),
    Key("membership", OneOf("true", "false"), "false", "also whether losses give members away"),
    Key("dinov2", text, None, "also a score in the features of a DINOv2: its folder (extra hf)"),
    Key("out", text, None, "a folder for evaluation.json and pictures (none)"),
    TTA,
    CALIBRATION,
    CHECKPOINT,
    DEVICE,
    PRECISION,
    TRUST,
)
EXAMPLES = """\
  runs evaluate last
  runs evaluate mlp-mnist data.root=/mnt/data split=validation
  runs evaluate last data=folder data.path=photos
  runs evaluate best:accuracy --json > evaluation.json
  runs evaluate last group=sex
  runs evaluate last group=sites.csv:hospital
  runs evaluate flow-mnist likelihood=true
  runs evaluate last membership=true
  runs evaluate flow-mnist dinov2=models/dinov2-small

data=... is composed as for `train`; data.key=... alone changes the run's own data. Image files are
prepared as in training. The run is not changed. Intervals are 95 %, by Wilson's score for shares of
the examples, else by the bootstrap. They show how much depends on the examples of the split, not on
the seed of the training. With group= the metrics stand group by group, with the gaps between them,
demographic parity and equalised odds (docs/trust.md); many different numbers are cut into quarters.
likelihood: nats an example, and bits a pixel's channel (docs/generators.md). membership: the ROC
area of training examples among these by a smaller loss; 0.5 says that nothing tells them apart.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The run, keys and data overrides, the form of the output."""
    add_run(parser)
    add_settings(parser, "see below; and data=...")
    parser.add_argument("--json", action="store_true", help="everything, as one object")


def execute(arguments: argparse.Namespace) -> int:
    """Measure, and print or write what was found."""
    values, overrides = parted(arguments.settings, KEYS)
    record = find_run(arguments.run, arguments.root)
    trained = open_run(record, values)
    evaluated, plain = measured(
        trained,
        overrides,
        values["split"],
        resamples=values["resamples"],
        tell=warn,
        group=values["group"],
        likelihood=values["likelihood"] == "true",
        membership=values["membership"] == "true",
        dinov2=None if values["dinov2"] is None else typed_path(values["dinov2"]),
    )
    if evaluated.groups is not None and (small := evaluated.groups["small"]):
        told = ", ".join(small[:5]) + (", ..." if len(small) > 5 else "")
        warn(f"few examples (under 30) of {told}: their numbers are mostly luck")
    if values["out"] is not None:
        _write(typed_path(values["out"]), plain, evaluated)
    if arguments.json:
        print(json.dumps(plain, indent=2))
    else:
        print("\n".join(lines_of(record.name, trained, plain, evaluated)))
    return 0


OWN_DATA = ("data.",)  # changes of where the run's own data are read
ANY_DATA = ("data=", "data.")


def parted(
    words: Sequence[str], keys: Sequence[Key], of_data: tuple[str, ...] = ANY_DATA
) -> tuple[dict[str, Any], list[str]]:
    """The values of a command's keys, and the words that describe data. Raises ConfigError."""
    data = [word for word in words if word.startswith(of_data)]
    return parse_keys([word for word in words if word not in data], keys), data


def warn(text: str) -> None:
    """Say on standard error what makes numbers doubtful."""
    print(f"warning: {printable(text)}", file=sys.stderr)


def measured(
    trained: "Trained",
    overrides: list[str],
    split: str,
    *,
    resamples: int,
    tell: Callable[[str], object],
    **more: Any,
) -> tuple["Evaluated", dict[str, Any]]:
    """What was measured on the run's own data or those of the overrides, and all of it as JSON.

    `tell` is told, before that takes its time, of what makes the numbers doubtful; `more`: what
    else is measured, as `evaluate_trained` has it.
    """
    from trainwright.inference.evaluate import as_plain, evaluate_trained
    from trainwright.inference.other_data import caution, load_data

    dataset = load_data(trained, overrides, split)
    warning = caution(trained, dataset, overrides)
    if warning:
        tell(warning)
    evaluated = evaluate_trained(trained, dataset, split, num_resamples=resamples, **more)
    plain = {
        "run": str(trained.path.parent.parent),
        "checkpoint": str(trained.path),
        "step": trained.step,
        "data": dataset.info.name if overrides else trained.info.name,
        "split": split,
        "precision": trained.placement.precision,
        **({"warning": warning} if warning else {}),
        **as_plain(evaluated),
    }
    return evaluated, plain


def lines_of(
    name: str, trained: "Trained", plain: dict[str, Any], evaluated: "Evaluated"
) -> list[str]:
    """What the command prints."""
    checkpoint = Path(plain["checkpoint"]).stem
    lines = [
        printable(f"{name}, {checkpoint} checkpoint (step {trained.step}), on the {plain['split']} "
        f"split of {plain['data']}: {evaluated.num_examples:,} examples, in {plain['precision']}"),
        "",
    ]  # fmt: skip
    rows = [
        [
            metric,
            format_number(measured.value),
            _interval(measured.interval),
            measured.method or "",
        ]
        for metric, measured in evaluated.metrics.items()
    ]
    lines += text_table(["METRIC", "VALUE", "95 % INTERVAL", "METHOD"], rows, right=["VALUE"])
    if evaluated.groups is not None:
        lines += _group_lines(evaluated.groups, evaluated.num_examples)
    elif evaluated.classes is not None:
        lines += ["", *_class_lines(evaluated.classes)]
    score = evaluated.score
    if score is not None:
        lines += ["", f"Score of new samples, in features of {score['features']}:"]
        lines += score_table(score)
        if "per_class" in score:
            lines += ["", *map(printable, class_table(score["per_class"]))]
    if evaluated.dinov2 is not None:
        lines += ["", f"The same samples, in features of {evaluated.dinov2['features']} (the first"]
        lines += ["figure is FD-DINOv2), not to be compared with the figures above:"]
        lines += score_table(evaluated.dinov2)
    return lines


def _group_lines(groups: dict[str, Any], num_examples: int) -> list[str]:
    lines = []
    for header, rows in group_tables(groups, groups["headline"]):
        right = [name for name in header if name not in ("GROUP", "CLASS", "METRIC", "IN")]
        lines += ["", *text_table(header, rows, right=right)]
    left = num_examples - sum(row["num_examples"] for row in groups["groups"].values())
    return [*lines, *([f"{left:,} examples are in no group."] if left else [])]


def _class_lines(classes: "Classes") -> list[str]:
    support = classes.per_class["support"]
    accuracy = int(classes.confusion.diagonal().sum()) / max(int(sum(support)), 1)
    rows = [
        [
            name,
            f"{int(support[i]):,}",
            format_number(classes.per_class["precision"][i]),
            format_number(classes.per_class["recall"][i]) if support[i] else "",
            _interval(classes.recall_intervals[i]) if support[i] else "",
            format_number(classes.per_class["f1"][i]),
            f"{classes.per_class['recall'][i] - accuracy:+.3f}" if support[i] else "",
        ]
        for i, name in enumerate(classes.names)
    ]
    header = ["CLASS", "EXAMPLES", "PRECISION", "RECALL", "95 % INTERVAL", "F1", "GAP"]
    lines = text_table(header, rows, right=[h for h in header if h not in ("CLASS",)])
    lines += ["The gap is a class's recall less the accuracy of all examples.", ""]
    confused = _most_confused(classes)
    if confused:
        lines += [printable(f"Most often confused: {'; '.join(confused)}"), ""]
    if len(classes.names) <= MOST_CLASSES_CROSSED:
        crossed = [
            [name, *(str(count) if count else "." for count in row)]
            for name, row in zip(classes.names, classes.confusion.tolist(), strict=True)
        ]
        lines += text_table(["TRUE, AS", *classes.names], crossed, right=classes.names)
        lines += [""]
    return lines + _calibration_lines(classes)


def _most_confused(classes: "Classes") -> list[str]:
    pairs = [
        (count, true, taken)
        for true, row in enumerate(classes.confusion.tolist())
        for taken, count in enumerate(row)
        if count and true != taken
    ]
    pairs.sort(key=lambda pair: (-pair[0], pair[1], pair[2]))
    names = classes.names
    return [f"{names[t]} as {names[p]} ({count})" for count, t, p in pairs[:MOST_CONFUSED]]


def _calibration_lines(classes: "Classes") -> list[str]:
    rows = [
        [
            f"{b.low:.0%} to {b.high:.0%}",
            f"{b.num_examples:,}",
            format_number(b.confidence),
            format_number(b.accuracy),
            f"{b.accuracy - b.confidence:+.3f}",
        ]
        for b in classes.bins
        if b.num_examples
    ]
    header = ["CONFIDENCE", "EXAMPLES", "MEAN", "ACCURACY", "GAP"]
    return [
        f"Calibration: expected error {format_number(classes.calibration_error)} "
        f"({len(classes.bins)} bins of equal width), Brier score {format_number(classes.brier)}",
        *text_table(header, rows, right=header[1:]),
    ]


def _interval(interval: tuple[float, float] | None) -> str:
    if interval is None:
        return ""
    return f"{format_number(interval[0])} to {format_number(interval[1])}"


def _write(folder: Path, plain: dict[str, Any], evaluated: "Evaluated") -> None:
    from trainwright.report.plots.confusion import plot_confusion
    from trainwright.report.plots.reliability import plot_reliability

    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_text(folder / "evaluation.json", json.dumps(plain, indent=2) + "\n")
        classes = evaluated.classes
        if classes is not None:
            plot_confusion(classes.confusion, classes.names, folder / "confusion.png")
            plot_reliability(classes.bins, classes.calibration_error, folder / "reliability.png")
    except OSError as error:
        raise DiskError(f"could not write to {folder}\n  {error.strerror or error}") from error
