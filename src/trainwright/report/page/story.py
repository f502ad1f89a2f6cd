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
from trainwright.runs.header import check_header, read_metadata
from trainwright.runs.metrics import read_rows
from trainwright.runs.record import Record, numbers
from trainwright.runs.stored import UnreadableError, read_text

MOST_POINTS = 2000  # of a curve; a screen has no more
MOST_SAMPLES = 60  # grids of a run, or texts
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
    stored_test = summary.get("test")
    test = stored_test if isinstance(stored_test, dict) else {}
    rows = read_rows(record.path, most=MOST_POINTS)
    lineage = summary.get("lineage")
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
        "parent": _parent(lineage) if isinstance(lineage, dict) else None,
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
        "samples": _samples(record.path / "samples", pictures),
        **{name: pictures.uri(record.path / "plots" / f"{name}.png") for name in PLOTS},
        "config": {key: plain(value) for key, value in record.settings.items()},
        "overrides": record.overrides,
        "log": _log(record.path / "train.log"),
    }


def _beside(found: Any) -> dict[str, float]:
    """What other models reach on the same rows."""
    return {
        f"{name} (scikit-learn): {metric}": value
        for name, scores in (found.items() if isinstance(found, dict) else ())
        for metric, value in numbers(scores).items()
    }


def _parent(lineage: dict[str, Any]) -> str:
    """Which run's weights it began with."""
    return f"{lineage.get('name')}, step {lineage.get('step')}"


def _panels(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    curves = collect(rows)
    rates = [curve for curve in curves if curve.name == "lr"]
    found = [*panels(curves).items(), *([("learning rate", rates)] if rates else [])]
    return [{"title": title, "series": _series(group)} for title, group in found]


def _series(group: Sequence[Series]) -> list[dict[str, Any]]:
    names = kind_names(group)
    kinds = list(names)
    phases = {curve.phase for curve in group}
    told = []
    for curve in group:
        name = names[curve.kind] if len(kinds) > 1 else ""
        # Of one kind the colour tells the phase, of several the kind; then dashes tell the phase.
        alone = len(kinds) == 1
        colour = (
            int(curve.phase != "train" and len(phases) > 1) if alone else kinds.index(curve.kind)
        )
        told.append(
            {
                "label": f"{name} {curve.phase}".strip(),
                "phase": curve.phase,
                "kind": "/".join(curve.kind),
                "alone": alone,
                "colour": colour,
                "steps": curve.steps,
                "values": [None if math.isnan(v) else v for v in curve.values],
            }
        )
    return told


def _samples(folder: Path, pictures: Pictures) -> list[dict[str, Any]]:
    """Grids or texts by step, the last always, the others evenly where there are many."""
    try:
        found = [path for path in folder.iterdir() if path.stem.isdecimal()]
    except OSError:
        return []
    paths = sorted(found, key=lambda path: int(path.stem))
    paths = [path for path in paths if path.suffix == paths[-1].suffix in SHOWN]
    if len(paths) > MOST_SAMPLES:
        last = len(paths) - 1
        paths = [paths[round(i * last / (MOST_SAMPLES - 1))] for i in range(MOST_SAMPLES)]
    told = [{"step": int(path.stem), **_sample(path, pictures)} for path in paths]
    return [sample for sample in told if len(sample) > 1]


def _sample(path: Path, pictures: Pictures) -> dict[str, str]:
    """A picture's address, or a text; nothing where it cannot be read."""
    if path.suffix == ".png":
        uri = pictures.uri(path)
        return {} if uri is None else {"uri": uri}
    try:
        return {"text": read_text(path)[:MOST_LETTERS]}
    except (UnreadableError, FileNotFoundError):
        return {}


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
    stored = test.get("per_class")
    per_class = {
        str(name): values
        for name, values in (stored.items() if isinstance(stored, dict) else ())
        if isinstance(values, list) and len(values) == size and all(map(is_finite, values))
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
    if not isinstance(stored, dict):
        return []
    found = [(str(word), steps) for word, steps in stored.items() if isinstance(steps, list)]
    return [f"{word} at {len(steps)} evaluation{'s'[: len(steps) != 1]}" for word, steps in found]


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


def _log(path: Path) -> str:
    try:
        lines = read_text(path).splitlines()
    except (UnreadableError, FileNotFoundError):
        return ""
    return "\n".join(lines[-LOG_LINES:])


def plain(value: Any) -> Any:
    """A value of a config as JSON has it."""
    if isinstance(value, dict):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [plain(inner) for inner in value]
    if value is None or isinstance(value, bool | str) or is_finite(value):
        return value
    return str(value)


def is_finite(value: Any) -> bool:
    """Whether a value is a number, and one that JSON has."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return isinstance(value, int) or math.isfinite(value)
