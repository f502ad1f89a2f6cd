"""`runs calibrate`: the temperature that makes a classifier as sure as it is right."""

import argparse
import json

from trainwright.cli.commands.apply.evaluate import parted, warn
from trainwright.cli.opening import (
    CHECKPOINT,
    DEVICE,
    PRECISION,
    TRUST,
    add_run,
    add_settings,
    open_run,
)
from trainwright.cli.terminal.table import text_table
from trainwright.runs.find import find_run
from trainwright.wording import format_number, printable

KEYS = (CHECKPOINT, DEVICE, PRECISION, TRUST)
EXAMPLES = """\
  runs calibrate last
  runs calibrate cnn-mnist data.root=/mnt/data
  runs calibrate best:accuracy --json

A network may say 99 % and be right nine times in ten. One number, the temperature, found on the
validation split, by which all logits are divided, mends most of that and changes no answer. It is
kept beside the checkpoint (best.calibration.json) for those weights alone, and `runs predict`,
`evaluate` and `export` use it (calibration=ignore: they do not). To be rid of it delete the file.
The test split, which has no part in it, says what it is worth."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The run, keys and data overrides, the form of the output."""
    add_run(parser)
    add_settings(parser, "see below; and data=...")
    parser.add_argument("--json", action="store_true", help="everything, as one object")


def execute(arguments: argparse.Namespace) -> int:
    """Find the temperature, keep it, and say what it changes."""
    values, overrides = parted(arguments.settings, KEYS)
    record = find_run(arguments.run, arguments.root)
    trained = open_run(record, {**values, "calibration": "ignore"})
    from trainwright.engine.checkpoint.calibration import write_calibration
    from trainwright.inference.calibrate import calibrate
    from trainwright.inference.other_data import caution, load_data

    dataset = load_data(trained, overrides)
    if warning := caution(trained, dataset, overrides):
        warn(warning)
    found = calibrate(trained, dataset)
    path = write_calibration(trained.path, found.calibration)
    if arguments.json:
        splits = {
            name: {"num_examples": n, "before": before._asdict(), "after": after._asdict()}
            for name, (n, before, after) in found.splits.items()
        }
        told = {"checkpoint": str(trained.path), "file": str(path), "step": trained.step}
        temperature = {"temperature": found.calibration.temperature}
        print(json.dumps(told | temperature | {"splits": splits}, indent=2))
        return 0
    where = f"{trained.path.stem} checkpoint (step {trained.step})"
    print(printable(f"{record.name}, {where}: {found.calibration} of validation"), end="\n\n")
    header = ["SPLIT", "EXAMPLES", "CALIBRATION ERROR", "AFTER", "LOG LOSS", "AFTER"]
    rows = [
        [name, f"{n:,}", *map(format_number, [before[0], after[0], before[1], after[1]])]
        for name, (n, before, after) in found.splits.items()
    ]
    print("\n".join(text_table(header, rows, right=header[1:])), end="\n\n")
    print("The error is the expected one (15 bins of equal width).")
    print(printable(f"kept in {path}: predict, evaluate and export use it"))
    return 0
