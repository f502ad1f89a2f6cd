"""A folder with a run's network in fewer bits, made whole or not at all, and measured."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from trainwright.data.dataset import Dataset
from trainwright.errors import ConfigError, DataError
from trainwright.inference.compress.measure import Measure, Row, of_onnx, of_torch
from trainwright.inference.compress.quantise import slim, to_bf16, to_int8
from trainwright.inference.export.folder import describe, portable, write_facts
from trainwright.inference.export.formats import FILES, write
from trainwright.inference.trained import Trained, ability
from trainwright.tasks.task import Objective
from trainwright.wording import format_number

FORM = "onnx"


def check_compressible(trained: Trained, dataset: Dataset) -> None:
    """Raise ConfigError for a task whose answers cannot be compared, DataError without examples."""
    ability(
        trained, "answers", "give answers that could be compared with those of a smaller network"
    )
    portable(trained)
    for name in ("train", "test"):
        if not len(dataset.splits[name]):
            raise DataError(f"the {name} split of {dataset.info.name} is empty")


def compress(
    original: Trained,
    small: Trained,
    dataset: Dataset,
    folder: Path,
    *,
    name: str,
    to: str,
    calibration: int,
    max_drop: float | None,
) -> list[Row]:
    """Write model.onnx of `small` in the form `to`, model.json and example.py into a folder.

    `small`: the original, or what is left of it after pruning. Returns what was measured: of the
    original first, of what is written last. Raises ConfigError where that is worse by more than
    `max_drop`.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        rows = _written(original, small, dataset, folder, to=to, calibration=calibration)
    finally:
        torch.set_num_threads(before)
    if max_drop is not None:
        _refuse_worse(rows, original.task.objective, max_drop)
    facts = describe(small, portable(small), name, [FORM])
    write_facts({**facts, "compression": [plain(row) for row in rows]}, [FORM], folder)
    return rows


def _written(
    original: Trained, small: Trained, dataset: Dataset, folder: Path, *, to: str, calibration: int
) -> list[Row]:
    network, path = portable(original), folder / FILES[FORM]
    measure = Measure(original, network, dataset)
    num_bytes = sum(weight.nbytes for weight in network.network.state_dict().values())
    rows = [measure("torch", of_torch(network), num_bytes)]
    whole = folder / "whole"
    whole.mkdir()
    write(portable(small), FORM, whole)
    (whole / FILES[FORM]).rename(path)
    whole.rmdir()
    slim(path)
    word = "" if small is original else "pruned, "
    rows.append(measure(f"{word}onnx", of_onnx(path), path.stat().st_size))
    if to == "bf16":
        to_bf16(path)
        rows.append(measure(f"{word}bf16 weights", of_onnx(path), path.stat().st_size))
    if to == "int8":
        full = path.rename(path.with_suffix(".full"))
        how = to_int8(
            full, path, [given for given, _ in measure.inputs(dataset.train, calibration)]
        )
        full.unlink()
        rows.append(measure(f"{word}int8 ({how})", of_onnx(path), path.stat().st_size))
    return rows


def _refuse_worse(rows: list[Row], objective: Objective, most: float) -> None:
    """Raise ConfigError where the last row is worse than the first by more than `most`."""
    lost = drop(rows, objective)
    if lost > most:
        first, last = rows[0].metric.value, rows[-1].metric.value
        raise ConfigError(
            f"max_drop={most:g}: {rows[-1].form} loses {format_number(lost)} of {objective.metric} "
            f"({format_number(first)} to {format_number(last)})\n"
            "  nothing was written; allow more, or another form: to=bf16, a smaller prune=..."
        )


def drop(rows: list[Row], objective: Objective) -> float:
    """How much the last row is worse than the first; where less is better as a share of that."""
    first, last = rows[0].metric.value, rows[-1].metric.value
    return first - last if objective.higher_is_better else (last - first) / max(abs(first), 1e-30)


def plain(row: Row) -> dict[str, Any]:
    """As plain JSON types."""
    return {**asdict(row), "metric": row.metric._asdict()}
