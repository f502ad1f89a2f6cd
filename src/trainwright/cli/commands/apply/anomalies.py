"""`runs anomalies`: how strange files or examples are to a run, the strangest first."""

import argparse
import csv
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainwright.cli.commands.apply.evaluate import parted
from trainwright.cli.commands.apply.predict import files_and_settings, files_of
from trainwright.cli.opening import (
    CHECKPOINT,
    DEVICE,
    PRECISION,
    TRUST,
    add_run,
    open_run,
)
from trainwright.cli.terminal.keys import Key, OneOf, text, whole
from trainwright.cli.terminal.table import text_table
from trainwright.errors import ConfigError, DiskError
from trainwright.files import replacing, typed_path
from trainwright.runs.find import find_run
from trainwright.wording import format_number, harmless, printable

if TYPE_CHECKING:
    from trainwright.inference.anomalies import Strange
    from trainwright.inference.trained import Trained

IN_GRID = 64
KEYS = (
    Key("by", OneOf("neighbours", "task"), None, "neighbours, or the task's own score (as it can)"),
    Key("k", whole(1, 1000), 5, "which neighbour's distance counts (5)"),
    Key("reference", whole(1, 1_000_000), 10_000, "training examples to compare with (10,000)"),
    Key("split", text, "test", "of a dataset: test (default), validation or train"),
    Key("top", whole(1, 10_000), 10, "how many are listed (10)"),
    Key("out", text, None, "a folder for anomalies.csv, of all, and strangest.png (none)"),
    CHECKPOINT,
    DEVICE,
    PRECISION,
    TRUST,
)
EXAMPLES = """\
  runs anomalies last photos/
  runs anomalies last                           the strangest of its own test split
  runs anomalies cnn-mnist data=fashion_mnist out=strange
  runs anomalies mlp-table new.csv --json

An example is as strange as it is far from its 5th nearest of 10,000 training examples, in the
network's features. A GAN says how little real its discriminator holds it, a VAE what it costs to
reconstruct it, a flow how unlikely it is (by=task). STRANGER THAN is the share of the run's own
test examples that are less strange. Of files the AUROC tells them from those test examples; of
data with classes that the run has not learned, these classes from the others. The run's own
training data are read; data.root=... says where they are now."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The run; files, keys and data overrides; the form of the output."""
    add_run(parser)
    parser.add_argument("words", nargs="*", metavar="FILE", help="files, folders; key=value; data=")
    parser.add_argument("--json", action="store_true", help="every example, as one object")


def execute(arguments: argparse.Namespace) -> int:
    """Score, and print or write what was found."""
    named, typed = files_and_settings(arguments.words)
    values, data = parted(typed, KEYS)
    is_other = any(word.startswith("data=") for word in data)
    if named and is_other:
        raise ConfigError("name files, or data=..., and not both")
    record = find_run(arguments.run, arguments.root)
    trained = open_run(record, values)
    from trainwright.inference.anomalies import score_of, strange_examples, strange_files, way_of
    from trainwright.inference.other_data import load_data
    from trainwright.inference.predict import reads_files

    own = load_data(trained, [] if is_other else data, with_targets=False)
    by = way_of(trained, values["by"])
    score = score_of(trained, own, by, k=values["k"], num_reference=values["reference"])
    if named:
        files = list(files_of(named, reads_files(trained.info)))
        found, what = strange_files(trained, own, score, files), "files"
    else:
        other = load_data(trained, data, with_targets=False) if is_other else own
        found = strange_examples(trained, own, score, other, values["split"])
        what = f"the {values['split']} split of {other.info.name}"
    order = found.scores.argsort(descending=True, stable=True).tolist()
    if values["out"] is not None:
        _write(typed_path(values["out"]), found, order)
    if arguments.json:
        print(json.dumps(_plain(trained, found, order), indent=2))
        return 0
    how = "the task's own score" if by == "task" else f"k={values['k']}"
    print(printable(f"{record.name}, step {trained.step}: {len(order):,} examples, {what} ({how})"))
    print("\n".join(_told(found)))
    rows = [
        [found.names[i], format_number(float(found.scores[i])), f"{float(found.shares[i]):.1%}"]
        for i in order[: values["top"]]
    ]
    header = ["EXAMPLE", "SCORE", "STRANGER THAN"]
    print("\n".join(text_table(header, rows, right=header[1:])))
    return 0


def _told(found: "Strange") -> list[str]:
    """How well the strange are told from the others, where that can be known."""
    if found.auroc is None:
        return [""]
    ends = "" if found.interval is None else " ({:.4f} to {:.4f})".format(*found.interval)
    which = "these from the run's own test examples"
    if found.unknown is not None:
        which = f"{int(found.unknown.sum()):,} of classes that the run has not learned"
    return [f"AUROC {found.auroc:.4f}{ends}: {which}", ""]


def _plain(trained: "Trained", found: "Strange", order: list[int]) -> dict[str, Any]:
    return {
        "checkpoint": str(trained.path),
        "auroc": found.auroc,
        "interval": found.interval,
        "examples": [
            {
                "example": found.names[i],
                "score": float(found.scores[i]),
                "stranger_than": float(found.shares[i]),
                **({} if found.unknown is None else {"unknown_class": bool(found.unknown[i])}),
            }
            for i in order
        ],
    }


def _write(folder: Path, found: "Strange", order: list[int]) -> None:
    import torch

    from trainwright.report.plots.grid import save_image
    from trainwright.report.plots.predictions import prediction_grid

    try:
        folder.mkdir(parents=True, exist_ok=True)
        with replacing(folder / "anomalies.csv") as temporary, temporary.open("w") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["example", "score", "stranger_than"])
            for i in order:
                cells = [found.names[i], float(found.scores[i]), float(found.shares[i])]
                writer.writerow(map(harmless, cells))
        if found.images is not None:
            places = torch.tensor(order[:IN_GRID])
            captions = [format_number(float(found.scores[i])) for i in places.tolist()]
            are_known = [found.unknown is None or not found.unknown[i] for i in places.tolist()]
            grid = prediction_grid(
                found.images(places), captions, ["unknown"] * len(places), are_known
            )
            save_image(grid, folder / "strangest.png")
    except OSError as error:
        raise DiskError(f"could not write to {folder}\n  {error.strerror or error}") from error
