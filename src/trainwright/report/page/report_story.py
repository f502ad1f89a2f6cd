"""Everything that a page of `runs report` is made from, as `report/page/page.py` takes it."""

import time
from collections.abc import Sequence
from typing import Any

from trainwright import __version__
from trainwright.report.page.story import Pictures, run_story
from trainwright.report.page.sweep_story import run_labels, sweep_story
from trainwright.runs.ranking import direction
from trainwright.runs.record import Record


def report_story(
    title: str, records: Sequence[Record], sweep: dict[str, Any] | None = None
) -> dict[str, Any]:
    """The runs of a page, and the `sweep` that they are of; else a table of what they differ in.

    `higher_is_better` tells which way is better of every metric of which that is known.
    """
    pictures = Pictures()
    names = {name for record in records for name in record.metrics}
    known = {name: direction(name, records) for name in sorted(names)}
    return {
        "title": title,
        "runs": [
            {**run_story(record, pictures), "label": label}
            for record, label in zip(records, run_labels(records), strict=True)
        ],
        "sweep": sweep or sweep_story(records),
        "higher_is_better": {name: higher for name, higher in known.items() if higher is not None},
        "by_logarithm": sweep.get("by_logarithm", {}) if sweep else {},
        "version": __version__,
        "made": time.strftime("%Y-%m-%d %H:%M"),
    }
