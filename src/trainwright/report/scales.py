"""Values as they were typed on an axis: numbers or words, by logarithm or not, and their labels."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

LINE = 0.04  # of an axis: the room of a label across it
MOST_LABELS = 6  # of different numbers; of more only the ends have one


def short_names(keys: Sequence[str]) -> dict[str, str]:
    """Keys by as many of their last parts as no other ends with: `lr`, `generator.lr`."""
    found = {}
    for key in keys:
        parts = key.split(".")
        ends = [".".join(parts[start:]) for start in reversed(range(len(parts)))]
        others = [f".{other}" for other in keys if other != key]
        alone = (end for end in ends if not any(o.endswith(f".{end}") for o in others))
        found[key] = next(alone, key)
    return found


@dataclass(frozen=True)
class Scale:
    """Where the values of a key lie: numbers at themselves, words (if any) at 0, 1, 2, ..."""

    places: list[float]
    words: list[str]
    by_log: bool

    @classmethod
    def of(cls, texts: Sequence[str], searched_by_log: bool | None = None) -> "Scale":
        """That of typed values. `searched_by_log`: how they were searched, where that is known."""
        try:
            numbers = [float(text) for text in texts]
        except ValueError:
            numbers = [math.nan]
        if all(map(math.isfinite, numbers)):
            return cls(numbers, [], is_logarithmic(numbers, searched_by_log))
        words = sorted(set(texts), key=lambda text: (len(text), text))  # [8], [32], [128]
        return cls([float(words.index(text)) for text in texts], words, False)

    @property
    def shares(self) -> list[float]:
        """The places between 0, the lowest, and 1, the highest."""
        scaled = [math.log(place) for place in self.places] if self.by_log else self.places
        low = min(scaled)
        width = (max(scaled) - low) or 1.0
        return [(value - low) / width for value in scaled]

    @property
    def share_labels(self) -> dict[float, str]:
        """What to write beside an axis of shares, and where."""
        places = dict(sorted(zip(self.shares, self.places, strict=True)))
        if self.words:
            return {share: self.words[int(place)] for share, place in places.items()}
        shares = list(places)
        shown = apart(shares if len(shares) <= MOST_LABELS else [shares[0], shares[-1]], LINE)
        return {share: f"{places[share]:.3g}" for share in shown}


def is_logarithmic(numbers: Sequence[float], searched: bool | None = None) -> bool:
    """Whether numbers are better told apart by their logarithm.

    As they were `searched`; where nobody has said how, if they are positive and a factor of 20
    apart.
    """
    if searched is None:
        searched = max(numbers) >= 20 * min(numbers)
    return searched and min(numbers) > 0


def round_numbers(numbers: Sequence[float]) -> list[float]:
    """Powers of ten from one end of some positive numbers to the other.

    Where there are no two of them, also twice and five times them; and else the ends.
    """
    low, high = min(numbers), max(numbers)
    exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for factors in ((1,), (1, 2, 5)):
        found = [float(f"{factor}e{exponent}") for exponent in exponents for factor in factors]
        inside = [number for number in found if low <= number <= high]
        if len(inside) > 1:
            return inside
    return [low, high]


def apart(ticks: Sequence[float], room: float, *, by_log: bool = False) -> list[float]:
    """Those of some sorted ticks whose labels do not print over each other, the ends first.

    `room`: the share of the axis that two labels need between their middles.
    """
    places = [math.log(tick) if by_log else tick for tick in ticks]
    nearest = room * (places[-1] - places[0])
    kept = [0]
    for index in range(1, len(ticks) - 1):
        if min(places[index] - places[kept[-1]], places[-1] - places[index]) >= nearest:
            kept.append(index)
    return [ticks[index] for index in dict.fromkeys([*kept, len(ticks) - 1])]
