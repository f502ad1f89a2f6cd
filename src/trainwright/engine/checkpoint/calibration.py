"""The temperature that calibrates a checkpoint, in a small file beside it that may be anyone's."""

import dataclasses
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from trainwright.engine.checkpoint.metadata import Count
from trainwright.errors import CheckpointError
from trainwright.files import write_text
from trainwright.runs.header import check_header
from trainwright.runs.stored import UnreadableError, read_json

SMALLEST, LARGEST = 0.01, 100.0  # temperatures


@dataclass(frozen=True)
class Calibration:
    """By what the logits of one checkpoint are divided, and from how many examples that is known.

    It is of the weights with that digest, and of no others.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    temperature: Annotated[float, Field(ge=SMALLEST, le=LARGEST, strict=True)]
    num_examples: Count
    checkpoint_sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    format: Literal[1] = 1

    def __str__(self) -> str:
        return f"temperature {self.temperature:.3g}, from {self.num_examples:,} examples"


def digest_of(checkpoint: Path) -> str:
    """The digest that a checkpoint states. Raises CheckpointError."""
    return check_header(checkpoint).labels.get("sha256", "")


def calibration_file(checkpoint: Path) -> Path:
    """`best.calibration.json` beside `best.safetensors`."""
    return checkpoint.with_suffix(".calibration.json")


def write_calibration(checkpoint: Path, calibration: Calibration) -> Path:
    """Keep it beside the checkpoint. Raises DiskError."""
    path = calibration_file(checkpoint)
    write_text(path, json.dumps(dataclasses.asdict(calibration), indent=2) + "\n")
    return path


def read_calibration(checkpoint: Path) -> tuple[Calibration | None, str]:
    """What calibrates a checkpoint, or None; and a note where there is one for other weights.

    Raises CheckpointError for a file that `runs calibrate` has not written.
    """
    path = calibration_file(checkpoint)
    try:
        found = _CHECKED.validate_python(read_json(path))
    except FileNotFoundError:
        return None, ""
    except (UnreadableError, ValidationError) as error:
        why = str(error) if isinstance(error, UnreadableError) else "is not what it should be"
        raise CheckpointError(
            f"{path} {why}\n  delete it, or make it anew: runs calibrate RUN"
        ) from error
    if found.checkpoint_sha256 == digest_of(checkpoint):
        return found, ""
    return None, (
        f"{path.name} was made for other weights and is not used: the run has gone on since\n"
        f"  make it anew: runs calibrate {path.parent.parent}"
    )


def kept_until(checkpoints: Iterable[Path]) -> list[str]:
    """What to say of calibrated checkpoints where a run goes on or another begins with them."""
    return [
        f"the calibration of {path.name} holds for these weights alone, and is dropped with them: "
        "`runs calibrate` makes it anew after training"
        for path in checkpoints
        if calibration_file(path).exists()
    ]


_CHECKED: TypeAdapter[Calibration] = TypeAdapter(Calibration)
