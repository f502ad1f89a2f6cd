"""Checkpoints: one safetensors file with tensors, JSON metadata and a digest over both. No pickle.

A file is written beside its final name, flushed to disk, and renamed over: what stands under the
name is always whole. The digest detects damage; it does not prove where a file comes from.
"""

import json
import math
import os
import shutil
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from trainwright.engine.checkpoint.fitting import check_fit
from trainwright.engine.checkpoint.metadata import check_metadata
from trainwright.engine.checkpoint.tensor_file import digest, known, read_tensors, write_tensors
from trainwright.engine.device.memory import is_out_of_memory
from trainwright.engine.nonfinite import refuse_nonfinite
from trainwright.engine.ranks.world import held
from trainwright.engine.state import Evaluation, TrainState
from trainwright.errors import CheckpointError
from trainwright.files import disk_error, replacing
from trainwright.runs.header import check_header, read_metadata
from trainwright.runs.older import FORMAT
from trainwright.wording import printable

Metadata = dict[str, Any]


def state_tensors(state: TrainState) -> Mapping[str, Tensor]:
    """Weights, averages and optimizer state under unique names, contiguous on the CPU.

    Where they are sharded, each is put together when it is asked for.
    """
    named = named_tensors(state)
    if state.shards is not None:
        return state.shards.gathered(named)
    return {name: value.detach().cpu().contiguous() for name, value in named.items()}


def named_tensors(state: TrainState) -> dict[str, Tensor]:
    """What `state_tensors` gives, where it is."""
    tensors = {f"task.{name}": value for name, value in state.task.state_dict().items()}
    if state.averaged is not None:
        for player, module in state.averaged.players.items():
            named = module.state_dict().items()
            tensors |= {f"averaged.{player}.{name}": value for name, value in named}
    for player, optimizer in state.optimizers.items():
        named = optimizer.state_dict().items()
        tensors |= {f"optimizer.{player}.{name}": value for name, value in named}
    if state.shards is not None:
        tensors = {name: state.shards.spread(name, value) for name, value in tensors.items()}
    return tensors


def progress_metadata(state: TrainState) -> Metadata:
    """The part of a run's state that is no tensor, as plain JSON types."""
    return {
        "step": state.step,
        "to_be_done": None if state.to_be_done is None else _pairs(state.to_be_done),
        "learning_rates": {n: o.learning_rate for n, o in state.optimizers.items()},
        "schedule": state.schedule.state_dict(),
        "scale": state.scale.state_dict(),
        "recovery": state.recovery.state_dict(),
        "means": state.means.state_dict(),
        "last": _plain(state.last),
        "best": _plain(state.best),
    }


def restore(
    state: TrainState,
    tensors: dict[str, Tensor],
    progress: Metadata,
    *,
    anew: Collection[str] = (),
) -> None:
    """Put a run back to where `state_tensors` and `progress_metadata` found it.

    `anew`: what begins anew instead, of "optimizer", "averages", "schedule" and "scale". Raises
    CheckpointError where the tensors are not those of this run's networks.
    """
    try:
        _check_prefixes(tensors)
        if state.shards is not None:
            state.shards.close()
        check_fit(state.task.state_dict(), under("task", tensors))
        _load(state, "task", state.task, tensors)
        if state.averaged is not None and "averages" in anew:
            state.averaged.begin()
        elif state.averaged is not None:
            for player, module in state.averaged.players.items():
                _load(state, f"averaged.{player}", module, tensors)
        if "optimizer" not in anew:
            for player, optimizer in state.optimizers.items():
                optimizer.load_state_dict(_mine(state, f"optimizer.{player}", tensors))
                if player in progress.get("learning_rates", {}):
                    optimizer.learning_rate = float(progress["learning_rates"][player])
        restore_progress(state, progress, anew=anew)
    except (RuntimeError, LookupError, ValueError, TypeError, OverflowError) as error:
        if is_out_of_memory(error):
            raise
        first = str(error).strip().splitlines()
        raise CheckpointError(
            "the checkpoint does not fit this run's networks and optimizers\n  "
            + " ".join(line.strip() for line in first[:2])[:300]
        ) from error


def restore_progress(state: TrainState, progress: Metadata, *, anew: Collection[str] = ()) -> None:
    """The part of `restore` that is no tensor. Raises LookupError, ValueError and the like."""
    if "schedule" not in anew:
        state.schedule.load_state_dict(progress["schedule"])
    if "scale" not in anew:
        state.scale.load_state_dict(progress["scale"])
    state.recovery.load_state_dict(progress["recovery"])
    state.means.load_state_dict(progress.get("means", []))
    state.step = int(progress["step"])
    numbers = progress.get("to_be_done")
    state.to_be_done = None if numbers is None else _with_nan(dict(numbers))
    state.last, state.best = _evaluation(progress["last"]), _evaluation(progress["best"])


def _load(state: TrainState, prefix: str, module: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Give a module its tensors, or what this rank is to hold of them."""
    if state.shards is None:
        module.load_state_dict(under(prefix, tensors))
    else:
        state.shards.load(prefix, module, under(prefix, tensors))


def _mine(state: TrainState, prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors under a prefix, or what this rank is to hold of them."""
    named, shards = under(prefix, tensors), state.shards
    if shards is None:
        return named
    return {name: held(shards.cut(f"{prefix}.{name}", value)) for name, value in named.items()}


def _check_prefixes(tensors: dict[str, Tensor]) -> None:
    for name in tensors:
        if name.partition(".")[0] not in {"task", "averaged", "optimizer"}:
            raise ValueError(f"{printable(name)[:100]} is not part of a run's state")


def restore_evaluated(state: TrainState, tensors: dict[str, Tensor]) -> None:
    """Give the task that is evaluated the weights of a checkpoint, averaged where it has any.

    For use after training: the averaged task shares what it does not average with the trained one.
    """
    task = state.evaluated_task
    if state.shards is not None:
        state.shards.close()
    _load(state, "task", task, tensors)
    for player, module in task.players.items():
        if under(f"averaged.{player}", tensors):
            _load(state, f"averaged.{player}", module, tensors)


def under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors whose names begin with `prefix.`, without it."""
    start = prefix + "."
    return {k.removeprefix(start): v for k, v in tensors.items() if k.startswith(start)}


def save(
    paths: list[Path],
    tensors: Mapping[str, Tensor],
    metadata: Metadata,
    *,
    kept_as: Mapping[Path, Path] | None = None,
) -> None:
    """Write the same checkpoint under each of `paths`, one after the other, atomically and durably.

    `kept_as`: under which name to keep the file that has stood under a path so far; what has stood
    under that name may have another to move on to. Raises DiskError when a file cannot be written,
    NonFiniteError rather than write a number that is not finite; what stood under its name still
    stands.
    """
    refuse_nonfinite(tensors, "in what was to be saved")
    text = json.dumps({"format": FORMAT, **metadata}, sort_keys=True, allow_nan=False)
    labels = {"trainwright": text, "sha256": digest(tensors, text)}
    for path in paths:
        try:
            with replacing(path) as temporary:
                write_tensors(temporary, tensors, labels)
                _keep(path, kept_as or {})
        except OSError as error:
            needed = len(text) + sum(tensor.nbytes for tensor in known(tensors).values())
            raise disk_error(path, needed, error) from error


def _keep(path: Path, kept_as: Mapping[Path, Path]) -> None:
    """Give a file a second name, in place of what has had that; it does not lose its first."""
    if path not in kept_as or not path.exists():
        return
    _keep(kept_as[path], kept_as)
    with replacing(kept_as[path]) as temporary:
        try:
            os.link(path, temporary)
        except OSError:  # a file system without hard links
            shutil.copyfile(path, temporary)


def load(path: Path) -> tuple[dict[str, Tensor], Metadata]:
    """Read a checkpoint; check its header first, and then all of it by its digest.

    Raises CheckpointError if it is missing, damaged, or not one of ours.
    """
    if not path.is_file():
        raise CheckpointError(f"there is no checkpoint {path}")
    tensors, labels = read_tensors(path)
    if "trainwright" not in labels:
        raise CheckpointError(f"{path} was not written by trainwright: its metadata has no run")
    if labels.get("sha256") != digest(tensors, labels["trainwright"]):
        raise CheckpointError(f"{path} is damaged: its contents do not match its SHA-256")
    metadata = read_metadata(path, labels["trainwright"])
    if metadata.get("format") != FORMAT:
        raise CheckpointError(
            f"{path} has format {metadata.get('format')}; this version reads format {FORMAT}"
        )
    check_metadata(path, metadata)
    return tensors, metadata


def saved_step(path: Path) -> int | None:
    """The step that a file claims to hold, read quickly and undigested: only to be shown."""
    try:
        metadata = read_metadata(path, check_header(path).labels["trainwright"])
        return int(metadata["progress"]["step"])
    except (CheckpointError, LookupError, ValueError, TypeError, OverflowError):
        return None


def _plain(evaluation: Evaluation | None) -> dict[str, Any] | None:
    """An evaluation as JSON has it, where a number that is not finite is null."""
    if evaluation is None:
        return None
    return {"step": evaluation.step, "metrics": _numbers(evaluation.metrics)}


def _evaluation(plain: dict[str, Any] | None) -> Evaluation | None:
    if plain is None:
        return None
    return Evaluation(plain["step"], _with_nan(plain["metrics"]))


def _pairs(metrics: Mapping[str, float]) -> list[list[Any]]:
    """The order of the metrics is that of the log's columns, and an object would lose it."""
    return [[name, value] for name, value in _numbers(metrics).items()]


def _numbers(metrics: Mapping[str, float]) -> dict[str, float | None]:
    return {name: v if math.isfinite(v) else None for name, v in metrics.items()}


def _with_nan(numbers: Mapping[str, float | None]) -> dict[str, float]:
    return {name: math.nan if v is None else v for name, v in numbers.items()}
