"""What a report tells of runs, from the files of their folders: plain values, read with limits."""

import base64
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from trainwright.errors import CheckpointError
from trainwright.report.plots.series import Series, collect, kind_names, panels
from trainwright.report.score_table import class_cells, score_cells
from trainwright.runs.folder import sample_files, spread, step_of
from trainwright.runs.header import check_header, read_metadata
from trainwright.runs.metrics import read_rows
from trainwright.runs.record import Record, numbers
from trainwright.runs.stored import UnreadableError, is_number, read_text

MOST_POINTS = 2000  # of a curve; a screen has no more
MOST_SAMPLES = 60  # grids of a run, or texts
MOST_HOOKS = 20  # with something to show
MOST_LETTERS = 20_000  # of a text
MOST_BYTES = 40 * 2**20  # of pictures in a report
MOST_CLASSES = 200  # of a confusion matrix
LOG_LINES = 400
PLOTS = ("predictions", "scores", "neighbours", "interpolation")  # those that a page shows
SHOWN = (".png", ".txt", ".csv")  # samples
PNG = b"\x89PNG\r\n\x1a\n"


class Pictures:
    """Turns PNG files into text for a page, for as long as there is room."""

    def __init__(self, room: int = MOST_BYTES) -> None:
        self.room = room

    def uri(self, path: Path) -> str | None:
        """The picture as a data: address; None where it is none, or too large."""
        try:
            content = path.read_bytes() if path.is_file() else b""
        except OSError:
            return None
        if not content.startswith(PNG) or len(content) > self.room:
            return None
        self.room -= len(content)
        return f"data:image/png;base64,{base64.b64encode(content).decode()}"


def run_story(record: Record, pictures: Pictures) -> dict[str, Any]:
    """Everything that the page shows of one run."""
    summary = record.summary
    test, lineage = (_object(summary.get(key)) for key in ("test", "lineage"))
    rows = read_rows(record.path, most=MOST_POINTS)
    return {
        "name": record.name,
        "status": record.status,
        "model": record.choices.get("model", ""),
        "data": record.choices.get("data", ""),
        "started": time.strftime("%Y-%m-%d %H:%M", time.localtime(record.started)),
        "objective": record.objective,
        "step": record.step,
        "steps": record.steps,
        "seconds": record.number("seconds"),
        "rate": record.number("examples_per_second"),
        "placement": str(summary.get("placement") or ""),
        "error": str(summary.get("error") or ""),
        "parent": f"{lineage.get('name')}, step {lineage.get('step')}" if lineage else None,
        "parameters": numbers(summary.get("parameters")),
        "best": {
            "step": numbers(summary.get("best")).get("step"),
            "metrics": record.evaluation("best"),
        },
        "test": {**numbers(test), **_beside(test.get("baselines"))},
        **_confusion(record, test),
        **_score(test.get("score")),
        "health": _health(summary.get("health")),
        "panels": _panels(rows),
        **_samples(record.path / "samples", pictures),
        **{name: pictures.uri(record.path / "plots" / f"{name}.png") for name in PLOTS},
        **_explained(record.path / "plots", pictures),
        "config": {key: plain(value) for key, value in record.settings.items()},
        "overrides": record.overrides,
        "log": "\n".join(_text(record.path / "train.log").splitlines()[-LOG_LINES:]),
    }


def _object(stored: Any) -> dict[str, Any]:
    return stored if isinstance(stored, dict) else {}


def _beside(found: Any) -> dict[str, float]:
    """What other models reach on the same rows."""
    return {
        f"{name} (scikit-learn): {metric}": value
        for name, scores in (found.items() if isinstance(found, dict) else ())
        for metric, value in numbers(scores).items()
    }


def _panels(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    curves = collect(rows)
    rates = [curve for curve in curves if curve.name == "lr"]
    found = [*panels(curves).items(), *([("learning rate", rates)] if rates else [])]
    return [{"title": title, "series": _series(group)} for title, group in found]


def _series(group: Sequence[Series]) -> list[dict[str, Any]]:
    names = kind_names(group)
    kinds = list(names)
    alone = len(kinds) == 1
    # Of one kind the colour tells the phase, of several the kind; then dashes tell the phase.
    has_phases = len({curve.phase for curve in group}) > 1
    return [
        {
            "label": curve.phase if alone else f"{names[curve.kind]} {curve.phase}".strip(),
            "phase": curve.phase,
            "kind": "/".join(curve.kind),
            "alone": alone,
            "colour": int(has_phases and curve.phase != "train")
            if alone
            else kinds.index(curve.kind),
            "steps": curve.steps,
            "values": [None if math.isnan(value) else value for value in curve.values],
        }
        for curve in group
    ]


def _samples(folder: Path, pictures: Pictures) -> dict[str, Any]:
    """What the task showed by step, and what each of the user's hooks did, by its name."""
    own, *hooks = [
        {"name": hook, "samples": _by_step(files, pictures)}
        for hook, files in list(sample_files(folder).items())[: MOST_HOOKS + 1]
    ]
    return {"samples": own["samples"], "hooks": [hook for hook in hooks if hook["samples"]]}


def _explained(folder: Path, pictures: Pictures) -> dict[str, Any]:
    """The picture that `runs explain --keep` left last, and the step it is of."""
    kept = max(folder.glob("explained-*.png"), key=_step_of_kept, default=folder / "none")
    return {"explained": pictures.uri(kept), "explained_step": _step_of_kept(kept)}


def _step_of_kept(path: Path) -> int:
    digits = path.stem.rpartition("-")[2][:12]
    return int(digits) if digits.isascii() and digits.isdecimal() else 0


def _by_step(files: Sequence[Path], pictures: Pictures) -> list[dict[str, Any]]:
    """Grids or texts by step, the last always, the others evenly where there are many."""
    files = [file for file in files if file.suffix == files[-1].suffix in SHOWN]
    shown = spread(files, MOST_SAMPLES)
    told = [{"step": step_of(file), **_sample(file, pictures)} for file in shown]
    return [sample for sample in told if len(sample) > 1]


def _sample(path: Path, pictures: Pictures) -> dict[str, str]:
    """A picture's address, or a text; nothing where it cannot be read."""
    if path.suffix == ".png":
        uri = pictures.uri(path)
        return {} if uri is None else {"uri": uri}
    text = _text(path)
    return {"text": text[:MOST_LETTERS]} if text else {}


def _confusion(record: Record, test: dict[str, Any]) -> dict[str, Any]:
    """The confusion matrix, the names of its classes, and what is known of each; or None."""
    counts = test.get("confusion")
    nothing: dict[str, Any] = {"confusion": None, "class_names": [], "per_class": {}}
    if not isinstance(counts, list) or not 0 < len(counts) <= MOST_CLASSES:
        return nothing
    size = len(counts)
    if not all(isinstance(row, list) and len(row) == size for row in counts):
        return nothing
    if not all(type(count) is int and count >= 0 for row in counts for count in row):
        return nothing
    per_class = {
        str(name): values
        for name, values in _object(test.get("per_class")).items()
        if isinstance(values, list) and len(values) == size and all(map(is_number, values))
    }
    return {"confusion": counts, "class_names": _names(record, size), "per_class": per_class}


def _score(stored: Any) -> dict[str, Any]:
    """How good a generator's images are, as tables; None where the run has no such score."""
    try:
        per_class = stored.get("per_class")
        return {
            "score": score_cells(stored),
            "score_of_classes": class_cells(per_class) if per_class else None,
            "features": str(stored["features"]),
        }
    except (AttributeError, KeyError, TypeError, ValueError):  # there is none, or it is damaged
        return {"score": None, "score_of_classes": None, "features": ""}


def _health(stored: Any) -> list[str]:
    """What the evaluations said of a GAN's health: `healthy at 10 evaluations`."""
    found = {word: len(steps) for word, steps in _object(stored).items() if isinstance(steps, list)}
    return [f"{word} at {number} evaluation{'s'[: number != 1]}" for word, number in found.items()]


def _names(record: Record, size: int) -> list[str]:
    """The names of the classes, which the checkpoints have; numbers where they cannot be read."""
    for which in ("best", "last"):
        try:
            path = record.checkpoint(which)
            metadata = read_metadata(path, check_header(path).labels["trainwright"])
            data = metadata["data"]
            names = data["columns"][data["targets"][0]]["names"]
        except (CheckpointError, LookupError, TypeError):
            continue
        if isinstance(names, list) and len(names) == size:
            return [str(name) for name in names]
    return [str(index) for index in range(size)]


def _text(path: Path) -> str:
    """What a file holds; nothing where it cannot be read."""
    try:
        return read_text(path)
    except (UnreadableError, FileNotFoundError):
        return ""


def plain(value: Any) -> Any:
    """A value of a config as JSON has it."""
    if isinstance(value, dict):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [plain(inner) for inner in value]
    if value is None or isinstance(value, bool | str) or is_number(value):
        return value
    return str(value)
