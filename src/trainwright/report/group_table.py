"""What was measured group by group, as lines for the terminal."""

from collections.abc import Mapping, Sequence
from typing import Any

from trainwright.wording import format_number

MOST_CLASSES = 10  # of the classes with the largest gaps

Table = tuple[Sequence[str], list[list[str]]]  # header, rows


def group_tables(found: Mapping[str, Any], headline: str) -> list[Table]:
    """A row a group, a row a metric, and a row a class, from what `by_group` gives.

    `headline`: the metric whose intervals are shown.
    """
    tables = [_groups(found["groups"], headline), _gaps(found["gaps"])]
    return [*tables, _parity(found["parity"])] if "parity" in found else tables


def _groups(groups: Mapping[str, Any], headline: str) -> Table:
    first = next(iter(groups.values()))["metrics"]
    others = [name for name in first if name != headline]
    header = ["GROUP", "EXAMPLES", headline.upper(), "95 % INTERVAL", *map(str.upper, others)]
    rows = [
        [
            name,
            f"{row['num_examples']:,}",
            format_number(row["metrics"][headline]["value"]),
            _interval(row["metrics"][headline]["interval"]),
            *(format_number(row["metrics"][other]["value"]) for other in others),
        ]
        for name, row in groups.items()
    ]
    return header, rows


def _gaps(gaps: Mapping[str, Any]) -> Table:
    header = ["METRIC", "LOWEST", "IN", "HIGHEST", "IN", "GAP", "95 % INTERVAL"]
    rows = [
        [name, *_ends(gap), format_number(gap["gap"]), _interval(gap["interval"])]
        for name, gap in gaps.items()
    ]
    return header, rows


def _parity(parity: Mapping[str, Any]) -> Table:
    header = [
        "CLASS", "LEAST TAKEN", "IN", "MOST TAKEN", "IN", "DEMOGRAPHIC PARITY", "RATIO",
        "EQUALISED ODDS",
    ]  # fmt: skip
    worst = sorted(parity, key=lambda n: -(parity[n]["demographic_parity_difference"] or 0))
    shown = {*worst[:MOST_CLASSES]}
    rows = [
        [
            name,
            *_ends(row["selected"]),
            *(
                "" if row[key] is None else format_number(row[key])
                for key in (
                    "demographic_parity_difference",
                    "demographic_parity_ratio",
                    "equalised_odds_difference",
                )
            ),
        ]
        for name, row in parity.items()
        if name in shown
    ]
    return header, rows


def _ends(extreme: Mapping[str, Any] | None) -> list[str]:
    if extreme is None:
        return ["", "", "", ""]
    low, high = format_number(extreme["low"]), format_number(extreme["high"])
    return [low, extreme["low_group"], high, extreme["high_group"]]


def _interval(interval: Sequence[float] | None) -> str:
    if interval is None:
        return ""
    return f"{format_number(interval[0])} to {format_number(interval[1])}"
