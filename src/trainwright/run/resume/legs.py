"""How long a run has been trained: in legs, each from its start or a resume to where it stopped."""

import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from trainwright.runs.record import numbers


class Leg(NamedTuple):
    """The steps from `begin` to `end`, and the seconds that they took with all that hooks do."""

    begin: int
    end: int
    seconds: float


class Legs:
    """Those behind a run, and the one that it is on."""

    def __init__(
        self, earlier: Sequence[Leg] = (), *, step: int = 0, total_seconds: float = 0.0
    ) -> None:
        self._earlier = tuple(earlier)
        self._total_before = total_seconds  # with all that is no training
        self._created = time.perf_counter()
        self.begin(step)

    def begin(self, step: int) -> None:
        """Set out from that step, now."""
        self._first_step, self._begun = step, time.perf_counter()

    def until(self, step: int) -> tuple[Leg, ...]:
        """All legs, the last one up to now; a leg without a step is none."""
        if step <= self._first_step:
            return self._earlier
        seconds = round(time.perf_counter() - self._begun, 6)
        return (*self._earlier, Leg(self._first_step, step, seconds))

    def told(self, step: int) -> list[dict[str, Any]]:
        """All legs, the last one up to now, as a checkpoint has them."""
        return [leg._asdict() for leg in self.until(step)]

    def summary(self, step: int, batch_size: int) -> dict[str, Any]:
        """What summary.json tells of it."""
        legs = self.until(step)
        return {
            "seconds": round(sum(leg.seconds for leg in legs), 3),
            "examples_per_second": _rate(legs, batch_size),
            "legs": [
                {**leg._asdict(), "examples_per_second": _rate([leg], batch_size)} for leg in legs
            ],
        }

    def total_seconds(self, step: int) -> float:
        """From its first start on, while a process was at it; who finds it done adds nothing."""
        if self._total_before and step <= self._first_step:
            return self._total_before
        return round(self._total_before + time.perf_counter() - self._created, 3)


def legs_until(step: int, metadata: Mapping[str, Any], summary: Mapping[str, Any]) -> Legs:
    """Those behind a run that goes on at a step, by its summary if that is of the same step.

    Else by its checkpoint: steps that were made after it do not count. Of a run of 0.1 the summary
    has its last leg. What has not the right form is left out: it may come from anyone.
    """
    told = numbers(summary)
    earlier: list[Leg] = []
    if summary.get("step") == step:
        earlier = _read(summary.get("legs"), step)
        if not earlier and "seconds" in told:
            resumed = summary.get("resumed")
            last = numbers(resumed[-1]) if isinstance(resumed, list) and resumed else {}
            earlier = _read([{"begin": last.get("step", 0), "end": step, **told}], step)
    earlier = earlier or _read(metadata.get("legs"), step)
    spent = sum(leg.seconds for leg in earlier)
    return Legs(earlier, step=step, total_seconds=max(spent, told.get("total_seconds", 0.0)))


def _read(stored: Any, step: int) -> list[Leg]:
    found: list[Leg] = []
    for one in stored if isinstance(stored, list) else []:
        known = numbers(one)
        if not {"begin", "end", "seconds"} <= known.keys():
            return []
        leg = Leg(int(known["begin"]), int(known["end"]), known["seconds"])
        if not (found[-1].end if found else 0) <= leg.begin < leg.end <= step or leg.seconds < 0:
            return []
        found.append(leg)
    return found


def _rate(legs: Sequence[Leg], batch_size: int) -> float:
    steps, seconds = sum(leg.end - leg.begin for leg in legs), sum(leg.seconds for leg in legs)
    return round(steps * batch_size / max(seconds, 1e-9), 1)
