"""RUN on a command line, and the run that it names, opened. No torch until one is."""

import argparse
import re
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from trainwright.cli.terminal.keys import Key, OneOf, listed, text
from trainwright.cli.torch_library import imports_of_torch
from trainwright.runs.record import Record
from trainwright.wording import printable

if TYPE_CHECKING:
    from trainwright.inference.trained import Trained


class _Checkpoint(OneOf):
    """Parses `best`, `last`, `best-2`."""

    def __call__(self, text: str) -> str:
        """The name. Raises ValueError with the nearest."""
        return text if re.fullmatch(r"best-[1-9][0-9]{0,3}", text) else super().__call__(text)


# What every command has that uses what a run has learned.
CHECKPOINT = Key(
    "checkpoint",
    _Checkpoint("best", "last"),
    "best",
    "which checkpoint: best (default), last, or of trainer.keep best-2, best-3",
)
DEVICE = Key("device", text, "auto", "auto, cpu, cuda, cuda:1 or mps")
PRECISION = Key(
    "precision",
    OneOf("auto", "fp32", "bf16", "fp16"),
    None,
    "auto (fast on the device), fp32 (as an export computes), bf16 or fp16 (as trained)",
)
TTA = Key(
    "tta",
    OneOf("none", "mirror", "mirror_shift"),
    None,
    "views of an image that are averaged (as trained): none, mirror, mirror_shift",
)
CALIBRATION = Key(
    "calibration",
    OneOf("use", "ignore"),
    "use",
    "what `runs calibrate` has found: use (default) or ignore",
)
TRUST = Key("trust", listed, (), "classes of your own that the run may build: trust=mine.Net")


def add_run(parser: argparse.ArgumentParser, **more: Any) -> None:
    """Take the name of a run, or of several with `nargs`."""
    name = "runs" if "nargs" in more else "run"
    wanted = "a path, last, best:<metric>, a piece of a name"
    parser.add_argument(name, metavar="RUN", help=wanted, **more)


def add_settings(parser: argparse.ArgumentParser, help: str = "see below") -> None:
    """Take words such as n=64."""
    parser.add_argument("settings", nargs="*", metavar="key=value", help=help)


def open_run(record: Record, values: Mapping[str, Any]) -> "Trained":
    """What a run has learned, from the checkpoint that the keys above choose.

    Raises CheckpointError, and ConfigError for a class that is not trusted or a missing device.
    """
    path = record.checkpoint(values["checkpoint"])  # before torch, which takes seconds to import
    with imports_of_torch():
        from trainwright.inference.trained import load_trained, take_views

    trained = load_trained(
        path,
        trust=values["trust"],
        device=values.get("device", "cpu"),
        precision=values.get("precision"),
        calibrated=values.get("calibration", "use") == "use",
    )
    for note in trained.notes:
        print(f"warning: {printable(note)}", file=sys.stderr)
    if trained.calibration is not None:
        print(f"calibrated: {trained.calibration}", file=sys.stderr)
    if values.get("tta") is not None:
        take_views(trained, values["tta"])
        if trained.calibration is not None:
            told = "the temperature was found for the views that the run was trained with"
            print(f"warning: tta={values['tta']}: {told}", file=sys.stderr)
    return trained
