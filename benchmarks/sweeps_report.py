"""SWEEPS.md from the results of sweeps.py."""

from collections.abc import Iterator, Sequence
from statistics import fmean, median
from typing import Any

Record = dict[str, Any]
INTRODUCTION = """\
# What a sweep costs, and what other ways to run the same jobs do

Written by `python benchmarks/sweeps.py report` from sweeps.jsonl, which the other commands of that
file append to. Seconds are from Enter to exit. A round takes all sides one after the other; ratios
are taken within a round. Given are medians over the rounds, in brackets the least and the most.

The machine was shared: other work was stopped while these ran, which did not always succeed. So a
round is short, where it can be: ours, joblib's and ours again, which is 50 seconds of quiet. Since
commit bbcdb94 the next job's process is ready while the last one works, and torch's compiler is not
imported; what was measured before says so, and the other sides of it are the same. One
measurement of the basic launcher is left out: its jobs have two threads that wait actively, and
took 178 s beside something else that computed. Pruning's seconds are of a busy machine.
"""


def text(lines: Sequence[Record]) -> str:
    """The report on all results; delete sweeps.jsonl to begin anew."""
    commits = ", ".join(dict.fromkeys(line["commit"] for line in lines))
    last, times = lines[-1], sorted(line["time"] for line in lines)
    versions = ", ".join(f"{name} {version}" for name, version in last["versions"].items())
    parts = [
        INTRODUCTION,
        f"Machine: {last['machine']}  \nVersions: {versions}  \n"
        f"Measured: {times[0]} to {times[-1]} UTC, commits {commits}\n",
    ]
    for kind, section in SECTIONS.items():
        of_kind = [line for line in lines if line["kind"] == kind]
        if of_kind:
            parts.append("\n".join(section(of_kind)) + "\n")
    return "\n".join(parts)


def _launchers(lines: Sequence[Record]) -> Iterator[str]:
    groups: dict[tuple[str, int], list[Record]] = {}
    for line in lines:
        groups.setdefault((line.get("note", ""), line["limit"] or 10**9), []).append(line)
    for (note, limit), some in sorted(groups.items()):
        what = "all of MNIST" if limit == 10**9 else f"{limit:,} training images of MNIST"
        what += f" ({note})" if note else ""
        yield f"## 16 one-epoch MLP jobs (784-512-256-10, batch 64), {what}"
        yield "| | seconds | ours is, times as fast | test accuracy, mean |"
        yield "|---|---:|---:|---:|"
        rounds: dict[str, dict[str, float]] = {}
        for line in some:  # of a side that was measured twice in a round, the mean
            both = [o for o in some if (o["round"], o["side"]) == (line["round"], line["side"])]
            rounds.setdefault(line["round"], {})[line["side"]] = fmean(o["seconds"] for o in both)
        for side in dict.fromkeys(line["side"] for line in some):
            own = [line for line in some if line["side"] == side]
            ratios = [r[side] / r["ours"] for r in rounds.values() if side in r and "ours" in r]
            seconds = _spread([line["seconds"] for line in own], ".1f")
            faster = _spread(ratios, ".2f") if ratios and side != "ours" else ""
            accuracy = fmean(line["accuracy"] for line in own)
            yield f"| {side} | {seconds} | {faster} | {accuracy:.4f} |"
        yield ""


def _threads(lines: Sequence[Record]) -> Iterator[str]:
    yield "## Two jobs of two threads each on two cores (the same MLP)"
    yield "| | steps a second, both together |"
    yield "|---|---:|"
    for side in dict.fromkeys(line["side"] for line in lines):
        rates = [sum(line["steps_per_second"]) for line in lines if line["side"] == side]
        yield f"| {side} | {_spread(rates, '.0f')} |"


def _pruning(lines: Sequence[Record]) -> Iterator[str]:
    yield "## 40 random settings of an MLP on digits, 18 epochs each at most"
    yield "| | epochs, share | seconds, share | best validation accuracy, each round |"
    yield "|---|---:|---:|---|"
    whole = {line["round"]: line for line in lines if line["side"] == "to the end"}
    for side in dict.fromkeys(line["side"] for line in lines):
        own = [line for line in lines if line["side"] == side and line["round"] in whole]
        shares = [
            _spread([line[key] / whole[line["round"]][key] for line in own], ".2f")
            for key in ("epochs", "seconds")
        ]
        best = ", ".join(f"{line['best']:.4f}" for line in own)
        yield f"| {side} | {shares[0]} | {shares[1]} | {best} |"


def _overhead(lines: Sequence[Record]) -> Iterator[str]:
    for note in sorted({line.get("note", "") for line in lines}):
        some = [line for line in lines if line.get("note", "") == note]
        title = "A job of one step on digits, in a warm sweep with one slot"
        yield f"## {title}" + (f" ({note})" if note else "")
        yield from _overheads(some)
        yield ""


def _overheads(lines: Sequence[Record]) -> Iterator[str]:
    for name, key in (
        ("the job itself", "own"),
        ("from its end to the next one's beginning", "around"),
        ("the scheduler alone", "scheduler"),
    ):
        values = [1000 * line[key] for line in lines if key in line]
        if values:
            yield f"- {name}: {_spread(values, '.1f')} ms"


def _plan(lines: Sequence[Record]) -> Iterator[str]:
    yield "## Sizes"
    yield f"- 1,000 jobs planned: {_spread([line['seconds'] for line in lines], '.1f')} s"


def _table(lines: Sequence[Record]) -> Iterator[str]:
    yield f"- the verdict on 10,000: {_spread([line['seconds'] for line in lines], '.1f')} s"


def _spread(values: Sequence[float], form: str) -> str:
    middle = f"{median(values):{form}}"
    if len(values) == 1:
        return middle
    return f"{middle} ({min(values):{form}} to {max(values):{form}})"


SECTIONS = {
    "launchers": _launchers,
    "threads": _threads,
    "pruning": _pruning,
    "overhead": _overhead,
    "plan": _plan,
    "table": _table,
}
