"""The best job of a sweep so far: only one that takes its place has its pictures drawn.

They take most of a second, which in a sweep of short runs is a good part of the time; and of a
hundred jobs in any order some five are the best when they end.
"""

import json
import logging
from pathlib import Path

from filelock import FileLock

from trainwright.runs.stored import read_lines
from trainwright.runs.summary import read_summary
from trainwright.sweep.store import Store
from trainwright.sweep.verdict.ranking import Ranked, objective, values_of

log = logging.getLogger(__name__)


def is_drawn(job_id: str, folder: Path, store: Store) -> bool:
    """Whether the run in `folder`, which is about to end, should have its pictures drawn."""
    plan = store.plan()
    if plan["pictures"] == "all":
        return True
    of_sweep = plan["ranked"]
    ranked = objective(read_summary(folder)) if of_sweep is None else Ranked(**of_sweep[0])
    if takes_the_lead(job_id, folder, ranked=ranked, path=store.leaders):
        return True
    log.info("no pictures: another run of this sweep is as good (sweep.pictures=all)")
    return False


def takes_the_lead(job_id: str, folder: Path, *, ranked: Ranked, path: Path) -> bool:
    """Whether a run is better than those that had the lead when they ended, noted in `path`.

    A job that asks again, since it was interrupted while it drew, gets the same answer.
    """
    values = values_of((ranked,), {}, folder)
    if values is None:
        return True
    with FileLock(path.with_suffix(".lock")).acquire(poll_interval=0.01):
        # (Typed again a sweep may rank by another metric than before.)
        leaders = [line for line in read_lines(path) if line.get("metric") == ranked.metric]
        before = [line["value"] for line in leaders if line["id"] != job_id]
        if ranked.best([*before, values[0]]) != values[0] or values[0] in before:
            return False
        if all(line["id"] != job_id for line in leaders):
            with path.open("a") as file:
                line = {"id": job_id, "metric": ranked.metric, "value": values[0]}
                file.write("\n" + json.dumps(line))
    return True
