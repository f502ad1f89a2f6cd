"""Checkpoints: one safetensors file with tensors, JSON metadata and a digest over both. No pickle.

A file is written beside its final name, flushed to disk, and renamed over: what stands under the
name is always whole. The digest detects damage; it does not prove where a file comes from.
"""

import contextlib
import errno
import hashlib
import json
import math
import os
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from trainwright.engine.finite import refuse_nonfinite
from trainwright.engine.state import Evaluation, TrainState
from trainwright.errors import CheckpointError, DiskError

FORMAT = 1
Metadata = dict[str, Any]


def state_tensors(state: TrainState) -> dict[str, Tensor]:
    """Weights, averages and optimizer state under unique names, contiguous on the CPU."""
    tensors = {f"task.{name}": value for name, value in state.task.state_dict().items()}
    if state.averaged is not None:
        for player, module in state.averaged.players.items():
            named = module.state_dict().items()
            tensors |= {f"averaged.{player}.{name}": value for name, value in named}
    for player, optimizer in state.optimizers.items():
        named = optimizer.state_dict().items()
        tensors |= {f"optimizer.{player}.{name}": value for name, value in named}
    return {name: value.detach().cpu().contiguous() for name, value in tensors.items()}


def progress_metadata(state: TrainState) -> Metadata:
    """The part of a run's state that is no tensor, as plain JSON types."""
    return {
        "step": state.step,
        "schedule": state.schedule.state_dict(),
        "scale": state.scale.state_dict(),
        "recovery": state.recovery.state_dict(),
        "last": _plain(state.last),
        "best": _plain(state.best),
    }


def restore(state: TrainState, tensors: dict[str, Tensor], progress: Metadata) -> None:
    """Put a run back to where `state_tensors` and `progress_metadata` found it.

    Raises CheckpointError where the tensors are not those of this run's networks.
    """
    try:
        state.task.load_state_dict(under("task", tensors))
        if state.averaged is not None:
            for player, module in state.averaged.players.items():
                module.load_state_dict(under(f"averaged.{player}", tensors))
        for player, optimizer in state.optimizers.items():
            optimizer.load_state_dict(under(f"optimizer.{player}", tensors))
        state.schedule.load_state_dict(progress["schedule"])
        state.scale.load_state_dict(progress["scale"])
        state.recovery.load_state_dict(progress["recovery"])
        state.step = int(progress["step"])
        state.last, state.best = _evaluation(progress["last"]), _evaluation(progress["best"])
    except (RuntimeError, KeyError, ValueError, IndexError, TypeError) as error:
        first = str(error).strip().splitlines()
        raise CheckpointError(
            "the checkpoint does not fit this run's networks and optimizers\n  "
            + " ".join(line.strip() for line in first[:2])[:300]
        ) from error


def restore_evaluated(state: TrainState, tensors: dict[str, Tensor]) -> None:
    """Give the task that is evaluated the weights of a checkpoint, averaged where there are any.

    For use after training: the averaged task shares what it does not average with the trained one.
    """
    state.evaluated_task.load_state_dict(under("task", tensors))
    if state.averaged is not None:
        for player, module in state.averaged.players.items():
            module.load_state_dict(under(f"averaged.{player}", tensors))


def under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors whose names begin with `prefix.`, without it."""
    start = prefix + "."
    return {k.removeprefix(start): v for k, v in tensors.items() if k.startswith(start)}


def save(paths: list[Path], tensors: dict[str, Tensor], metadata: Metadata) -> None:
    """Write the same checkpoint under each of `paths`, each atomically and durably.

    Raises DiskError when a file cannot be written, NonFiniteError rather than write a number that
    is not finite; what stood under its name still stands.
    """
    refuse_nonfinite(tensors, "in what was to be saved")
    text = json.dumps({"format": FORMAT, **metadata}, sort_keys=True, allow_nan=False)
    labels = {"trainwright": text, "sha256": _digest(tensors, text)}
    for path in paths:
        temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        try:
            save_file(tensors, temporary, metadata=labels)
            _flush(temporary)
            temporary.replace(path)
            _flush(path.parent)
        except (OSError, SafetensorError) as error:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            reason = os.strerror(errno.ENOSPC) if "No space" in str(error) else str(error)
            raise DiskError(
                f"could not write the checkpoint {path}\n  {reason}\n"
                "  the one before it is still whole; free some space and resume the run"
            ) from error


def load(path: Path) -> tuple[dict[str, Tensor], Metadata]:
    """Read a checkpoint and check it against its digest.

    Raises CheckpointError if it is missing, damaged, or not one of ours.
    """
    if not path.is_file():
        raise CheckpointError(f"there is no checkpoint {path}")
    try:
        with safe_open(path, framework="pt") as file:
            labels = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} is damaged or no safetensors file\n  {error}") from error
    if "trainwright" not in labels:
        raise CheckpointError(f"{path} was not written by trainwright: its metadata has no run")
    if labels.get("sha256") != _digest(tensors, labels["trainwright"]):
        raise CheckpointError(f"{path} is damaged: its contents do not match its SHA-256")
    metadata: Metadata = json.loads(labels["trainwright"])
    if metadata.get("format") != FORMAT:
        raise CheckpointError(
            f"{path} has format {metadata.get('format')}; this version reads format {FORMAT}"
        )
    return tensors, metadata


def _digest(tensors: dict[str, Tensor], text: str) -> str:
    """SHA-256 over the metadata and every tensor's name, type, shape and bytes."""
    digest = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        value = tensors[name]
        digest.update(f"\0{name}\0{value.dtype}\0{tuple(value.shape)}\0".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _flush(path: Path) -> None:
    """Force a file or a folder's entries to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _plain(evaluation: Evaluation | None) -> dict[str, Any] | None:
    """An evaluation as JSON has it, where a number that is not finite is null."""
    if evaluation is None:
        return None
    metrics = {k: v if math.isfinite(v) else None for k, v in evaluation.metrics.items()}
    return {"step": evaluation.step, "metrics": metrics}


def _evaluation(plain: dict[str, Any] | None) -> Evaluation | None:
    if plain is None:
        return None
    metrics = plain["metrics"].items()
    return Evaluation(plain["step"], {k: math.nan if v is None else v for k, v in metrics})
