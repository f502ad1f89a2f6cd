"""The settings of a sweep that are known beforehand: grids, zips, unions and random draws."""

import itertools
import math
import random
from collections.abc import Iterable, Iterator, Sequence

from trainwright.errors import ConfigError
from trainwright.sweep.points.axes import Axis, Interval, Swept

Point = dict[str, str]  # key -> value, as it would be typed


def grid(swept: Swept) -> Iterator[Point]:
    """Every combination; the last key changes fastest. Raises ConfigError for an interval."""
    _need_values(swept.axes, "a grid")
    return _points(swept.axes, itertools.product(*(axis.values for axis in swept.axes)))


def zipped(swept: Swept) -> Iterator[Point]:
    """The first values together, the second together, ...; each of these with every seed.

    Raises ConfigError for an interval, and where the numbers of values differ.
    """
    _need_values(swept.axes, "a zip")
    lengths = {axis.key: len(axis.values) for axis in swept.others}
    if len(set(lengths.values())) > 1:
        counts = ", ".join(f"{key} has {count}" for key, count in lengths.items())
        raise ConfigError(f"sweep=zip pairs values, and their numbers differ: {counts}")
    rows = zip(*(axis.values for axis in swept.others), strict=True)
    return _with_seeds(list(_points(swept.others, rows)) or [{}], swept.seeds)


def union(swept: Swept) -> Iterator[Point]:
    """No change at all, then every value by itself; each of these with every seed.

    Raises ConfigError for an interval.
    """
    _need_values(swept.axes, "a union")
    points: list[Point] = [{}]
    points += [{axis.key: value} for axis in swept.others for value in axis.values]
    return _with_seeds(points, swept.seeds)


def drawn(swept: Swept, *, num_trials: int, seed: int) -> Iterator[Point]:
    """`num_trials` points drawn at random, each with every seed.

    What the i-th point has for a key depends on `seed`, i and the key alone, so that more trials
    or another key leave the rest as it was. Raises ConfigError for seeds that are an interval.
    """
    _check_search(swept, "sweep=random")
    points = [
        {axis.key: _draw(axis, random.Random(f"{seed}/{i}/{axis.key}")) for axis in swept.others}
        for i in range(num_trials)
    ]
    unique = {tuple(point.items()): point for point in points}
    return _with_seeds(unique.values(), swept.seeds)


def probes(swept: Swept) -> Iterator[Point]:
    """For a search: the middle of every interval, with each value of each other key once.

    Every value that could be a mistake, or choose another model, is in one of them. Raises
    ConfigError for seeds that are an interval.
    """
    _check_search(swept, "sweep=optuna")
    middle = {
        axis.key: axis.values[0] if axis.interval is None else repr(_within(axis.interval, 0.5))
        for axis in swept.axes
    }
    yield middle
    for axis in swept.axes:
        yield from ({**middle, axis.key: value} for value in axis.values[1:])


def _check_search(swept: Swept, kind: str) -> None:
    if swept.seeds is not None:
        _need_values([swept.seeds], "a list of seeds")
    if not swept.others:
        raise ConfigError(f"{kind} has nothing to draw: type values or intervals of some key")


def _draw(axis: Axis, generator: random.Random) -> str:
    if axis.interval is None:
        return generator.choice(axis.values)
    return repr(_within(axis.interval, generator.random()))


def _within(interval: Interval, share: float) -> float:
    """The number that lies `share` of the way through an interval."""
    low, high = float(interval.low), float(interval.high)
    if interval.is_integer and not interval.log:
        return int(interval.low) + int(share * (int(interval.high) - int(interval.low) + 1))
    if interval.log:
        value = math.exp(math.log(low) + share * (math.log(high) - math.log(low)))
    else:
        value = low + share * (high - low)
    # Four digits are as good a draw, and can be read and typed.
    value = min(max(float(f"{value:.4g}"), low), high)
    return round(value) if interval.is_integer else value


def _points(axes: Sequence[Axis], rows: Iterable[Sequence[str]]) -> Iterator[Point]:
    """A point for each row of values."""
    keys = [axis.key for axis in axes]
    return (dict(zip(keys, row, strict=True)) for row in rows)


def _with_seeds(points: Iterable[Point], seeds: Axis | None) -> Iterator[Point]:
    if seeds is None:
        return iter(points)
    return ({**point, seeds.key: seed} for point in points for seed in seeds.values)


def _need_values(axes: Iterable[Axis], what: str) -> None:
    for axis in axes:
        if axis.interval is not None:
            raise ConfigError(
                f"{axis.key} is an interval, and {what} needs values, such as {axis.key}=1,2,3\n"
                "  sweep=random and sweep=optuna draw from intervals"
            )
