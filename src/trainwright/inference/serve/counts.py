"""What is counted, as Prometheus reads it (text format 0.0.4)."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Histogram:
    """How many values are at most each of some limits."""

    def __init__(self, limits: Sequence[float]) -> None:
        self._limits, self._numbers, self._sum = limits, [0] * (len(limits) + 1), 0.0

    def add(self, value: float) -> None:
        """Count one."""
        self._numbers[bisect_left(self._limits, value)] += 1
        self._sum += value

    def lines(self, name: str) -> Iterator[str]:
        """As Prometheus reads it."""
        below = 0
        for limit, number in zip((*self._limits, "+Inf"), self._numbers, strict=True):
            below += number
            yield f'{name}_bucket{{le="{limit}"}} {below}'
        yield f"{name}_sum {self._sum:g}"
        yield f"{name}_count {below}"


class Counts:
    """Of one process, from its start."""

    def __init__(self) -> None:
        self.requests: Counter[tuple[str, int]] = Counter()  # by route and status
        self.seconds = Histogram(SECONDS)
        self.batches = Histogram(SIZES)
        self.waiting = 0  # requests that are being answered

    def text(self, steps: dict[str, int]) -> str:
        """All of it, and the step of each run's checkpoint."""
        prefix = "trainwright_"
        lines = [
            f"# HELP {prefix}requests_total Requests that were answered.",
            f"# TYPE {prefix}requests_total counter",
        ]
        for (route, status), number in sorted(self.requests.items()):
            lines.append(f'{prefix}requests_total{{route="{route}",status="{status}"}} {number}')
        for name, help_text, histogram in (
            ("request_seconds", "Seconds from a request to its answer.", self.seconds),
            ("batch_examples", "Examples in a batch that was computed.", self.batches),
        ):
            lines += [f"# HELP {prefix}{name} {help_text}", f"# TYPE {prefix}{name} histogram"]
            lines += histogram.lines(prefix + name)
        lines += [
            f"# HELP {prefix}requests_waiting Requests that are being answered.",
            f"# TYPE {prefix}requests_waiting gauge",
            f"{prefix}requests_waiting {self.waiting}",
            f"# HELP {prefix}checkpoint_step The step of the checkpoint that answers.",
            f"# TYPE {prefix}checkpoint_step gauge",
        ]
        lines += [f'{prefix}checkpoint_step{{run="{name}"}} {n}' for name, n in steps.items()]
        return "\n".join(lines) + "\n"
