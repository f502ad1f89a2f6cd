"""The layers of a run's network by the names that `runs fork freeze=...` takes. No torch."""

from trainwright.errors import CheckpointError
from trainwright.runs.header import check_header
from trainwright.runs.record import Record

_NETWORK = "task.model."  # what the tensors of all our tasks' networks are called by


def layers_of(run: Record) -> dict[str, list[str]]:
    """Each layer with its tensors, such as `weight 10x64`, by the header of the best checkpoint.

    Empty where there is no checkpoint that can be read.
    """
    try:
        places = check_header(run.checkpoint("best")).places
    except CheckpointError:
        return {}
    shapes = {place.name: place.shape for place in places}
    layers: dict[str, list[str]] = {}
    for name in sorted(shapes, key=_natural):
        if name.startswith(_NETWORK) and shapes[name]:
            layer, _, tensor = name.removeprefix(_NETWORK).rpartition(".")
            layers.setdefault(layer, []).append(f"{tensor} {'x'.join(map(str, shapes[name]))}")
    return layers


def _natural(name: str) -> list[tuple[int, str]]:
    """So that layer 10 comes after layer 9."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in name.split(".")]
