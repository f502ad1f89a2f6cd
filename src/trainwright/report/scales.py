"""Values as they were typed on an axis: numbers or words, by logarithm or not, and their labels."""

import math
from collections.abc import Sequence


def numbers_of(texts: Sequence[str]) -> list[float] | None:
    """Typed values as numbers; None if one of them is none."""
    try:
        numbers = [float(text) for text in texts]
    except ValueError:
        return None
    return numbers if all(map(math.isfinite, numbers)) else None


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


def kinds(texts: Sequence[str]) -> list[str]:
    """Different values in an order that suits [8], [32] and [128] too."""
    return sorted(set(texts), key=lambda text: (len(text), text))
