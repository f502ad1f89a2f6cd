"""What is swept, as Hydra's override grammar writes it: choice, range, interval, glob, tag."""

import json
import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import (
    ChoiceSweep,
    IntervalSweep,
    Override,
    RangeSweep,
    Transformer,
)

from trainwright.config.text_keys import as_meant
from trainwright.errors import ConfigError


@dataclass(frozen=True)
class Interval:
    """The numbers between two bounds; whole ones where both bounds are."""

    low: float
    high: float
    log: bool

    @property
    def is_integer(self) -> bool:
        """Whether only whole numbers are meant: `int(interval(1,10))`."""
        return isinstance(self.low, int) and isinstance(self.high, int)


@dataclass(frozen=True)
class Axis:
    """One key that is swept, and the values that it takes, as they would be typed."""

    key: str
    values: tuple[str, ...] = ()
    interval: Interval | None = None


@dataclass(frozen=True)
class Swept:
    """A command line taken apart: what is the same for all jobs, and what differs."""

    fixed: tuple[str, ...]
    axes: tuple[Axis, ...]

    @property
    def seeds(self) -> Axis | None:
        """The axis of seeds: repetitions of a setting rather than settings."""
        return next((axis for axis in self.axes if axis.key == "seed"), None)

    @property
    def others(self) -> tuple[Axis, ...]:
        """The axes that make settings."""
        return tuple(axis for axis in self.axes if axis.key != "seed")


def take_apart(
    overrides: Sequence[str], params: Mapping[str, Any], loader: ConfigLoader, *, seed: int
) -> Swept:
    """Split overrides, and the `params` of a config file, into fixed ones and axes.

    What is typed replaces what the file says of the same key. `seed` orders `shuffle(...)`.
    """
    parser = OverridesParser.create(config_loader=loader)
    typed = parser.parse_overrides(list(overrides))
    keys = {override.key_or_group for override in typed}
    lines = [f"{key}={_text(value)}" for key, value in params.items() if key not in keys]
    from_file = parser.parse_overrides(as_meant(lines, swept=True))
    fixed, axes = [], {}
    with _python_random(seed):
        for override in [*from_file, *typed]:
            if override.is_sweep_override():
                axes[override.key_or_group] = _axis(override)
            else:
                assert override.input_line is not None
                axes.pop(override.key_or_group, None)  # of a key that comes twice the last counts
                fixed.append(override.input_line)
    return Swept(tuple(fixed), tuple(axes.values()))


def _text(value: Any) -> str:
    """A value of `sweep.params` as it would be typed: a list is a choice of its items."""
    if isinstance(value, list):
        text = ",".join(map(_item_text, value))
        return text if len(value) > 1 else f"choice({text})"  # which does not take null
    return _item_text(value)


def _item_text(value: Any) -> str:
    if isinstance(value, list):
        return f"[{','.join(map(_item_text, value))}]"
    return json.dumps(value) if value is None or isinstance(value, bool) else str(value)


def _axis(override: Override) -> Axis:
    key, value = override.get_key_element(), override.value()
    line = override.input_line
    tags = value.tags if isinstance(value, ChoiceSweep | RangeSweep | IntervalSweep) else set()
    if tags - {"log"}:
        raise ConfigError(f"{line}: the only tag known here is log")
    if isinstance(value, IntervalSweep):
        low, high = value.start, value.end
        assert low is not None
        assert high is not None
        if not low < high:
            raise ConfigError(f"{line}: the interval is empty; write the smaller bound first")
        if "log" in tags and low <= 0:
            raise ConfigError(f"{line}: a logarithmic interval must begin above 0")
        return Axis(key, interval=Interval(low, high, "log" in tags))
    if tags:
        raise ConfigError(f"{line}: tag(log, ...) is for an interval, tag(log,interval(1e-4,1e-1))")
    values = tuple(map(Transformer.str, _items(override, value)))
    if not values:
        raise ConfigError(f"{line}: it holds no value")
    return Axis(key, values=values)  # one may come twice: a zip pairs it with two others


def _items(override: Override, value: Any) -> Iterator[Any]:
    """What is swept, item by item; of a range what decimal numbers make of it, without its end.

    In binary ones range(0.1,0.4,0.1) is 0.1, 0.2, 0.30000000000000004 and, below 0.4, a fourth.
    """
    for item in override.sweep_iterator():
        if not (isinstance(value, RangeSweep) and isinstance(item, float)):
            yield item
            continue
        start, stop, step = (Decimal(f"{n:.12g}") for n in (value.start, value.stop, value.step))
        exact = start + step * round((Decimal(item) - start) / step)
        if (stop - exact) * step > 0:
            yield float(exact)


@contextmanager
def _python_random(seed: int) -> Iterator[None]:
    """Hydra shuffles with Python's global generator: seed it, and leave it as it was."""
    before = random.getstate()
    random.seed(seed)
    try:
        yield
    finally:
        random.setstate(before)
