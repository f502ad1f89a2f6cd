"""Which layers of one network are which of another, by their names and shapes."""

from collections.abc import Collection, Mapping
from typing import NamedTuple

from torch import Tensor

MOST_NAMED = 6
# What torch puts between a layer's name and what it makes of the layer's weight (spectral norm).
_PARAMETRIZED = ".parametrizations."

Layer = dict[str, Tensor]


class Match(NamedTuple):
    """Layers of a network by name: those that another has too, with its name for each; the rest."""

    taken: dict[str, str]
    anew: list[str]
    left: list[str]  # the other's, for which there is no place


def layers_of(tensors: Mapping[str, Tensor]) -> dict[str, Layer]:
    """The tensors by the layer that holds them: `features.0` has `weight` and `bias`."""
    layers: dict[str, Layer] = {}
    for name, tensor in tensors.items():
        layer = layer_of(name)
        layers.setdefault(layer, {})[name.removeprefix(layer)] = tensor
    return layers


def layer_of(name: str) -> str:
    """The layer that holds a tensor of that name."""
    return name.partition(_PARAMETRIZED)[0] if _PARAMETRIZED in name else name.rpartition(".")[0]


def match(network: Mapping[str, Layer], other: Mapping[str, Layer]) -> Match:
    """Find for each layer of a network the one of another that has its name, names and shapes.

    A layer fits whole or not at all. Numbers in a sequence count only the layers that hold
    something, so that dropout put between two of them moves none.
    """
    theirs = dict(zip(_counted(other), other, strict=True))
    taken: dict[str, str] = {}
    for place, name in zip(_counted(network), network, strict=True):
        if place in theirs and _fits(network[name], other[theirs[place]]):
            taken[name] = theirs[place]
    anew = [name for name in network if name not in taken]
    return Match(taken, anew, [name for name in other if name not in set(taken.values())])


def _fits(layer: Layer, other: Layer) -> bool:
    return layer.keys() == other.keys() and all(
        tensor.shape == other[leaf].shape and tensor.dtype == other[leaf].dtype
        for leaf, tensor in layer.items()
    )


def _counted(names: Collection[str]) -> list[tuple[str | int, ...]]:
    """Each name in parts, where a number is its rank among those that stand in its place."""
    numbers: dict[tuple[str, ...], set[int]] = {}
    split = [tuple(name.split(".")) for name in names]
    for parts in split:
        for place, part in enumerate(parts):
            if part.isdigit():
                numbers.setdefault(parts[:place], set()).add(int(part))
    ranks = {
        above: {n: rank for rank, n in enumerate(sorted(found))} for above, found in numbers.items()
    }
    return [
        tuple(
            ranks[parts[:place]][int(part)] if part.isdigit() else part
            for place, part in enumerate(parts)
        )
        for parts in split
    ]


def in_short(chosen: Collection[str], names: Collection[str]) -> str:
    """The chosen ones of all names, by the shortest prefixes that mean them and no others."""
    wanted, shortest = set(chosen), []
    for name in (name for name in names if name in wanted):
        parts = name.split(".")
        for length in range(1, len(parts) + 1):
            prefix = ".".join(parts[:length])
            if all(n in wanted for n in names if n == prefix or n.startswith(prefix + ".")):
                shortest.append(prefix)
                break
    found = list(dict.fromkeys(name or "the network's own" for name in shortest))
    more = [f"and {len(found) - MOST_NAMED} more"] if len(found) > MOST_NAMED else []
    return ", ".join([*found[:MOST_NAMED], *more])
