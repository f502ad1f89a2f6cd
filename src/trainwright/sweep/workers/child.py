"""What a process that a job runs in does, whether it was forked or started afresh."""

import faulthandler
import json
import logging
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from trainwright import streams
from trainwright.config.build import plain
from trainwright.config.plan import data_section
from trainwright.data.dataset import Dataset
from trainwright.progress import own_progress_lock
from trainwright.sweep.store import Store
from trainwright.sweep.verdict.pictures import draw
from trainwright.sweep.verdict.verdict import judge_sweep
from trainwright.sweep.workers.attempt import FindData, no_data, work, work_together
from trainwright.sweep.workers.first_batch import rehearse


def prepare() -> None:
    """What comes before any task."""
    streams.prepare()
    streams.outlive_readers()
    faulthandler.enable()
    own_progress_lock()
    logger = logging.getLogger("trainwright")
    logger.handlers = [logging.StreamHandler(sys.stdout)]
    logger.setLevel(logging.INFO)
    logger.propagate = False


def perform(task: Mapping[str, Any], find_data: FindData = no_data) -> int:
    """Work on a job, rehearse several, or draw a sweep's plots. Returns the exit code."""
    if task["do"] == "rehearse":
        rehearse(task, find_data)
        return 0
    if task["do"] == "draw":
        store = Store(Path(task["sweep"]))
        draw(judge_sweep(store), store)
        return 0
    if task["do"] == "stack":
        return work_together(task, find_data)
    return work(task, find_data)


def load_data(node: Mapping[str, Any]) -> Dataset | None:
    """The dataset that a config's section `data` describes; None where that fails."""
    try:
        return data_section(plain(DictConfig(dict(node)))).build(Dataset, {})
    except Exception:
        return None  # a job whose data cannot be had finds that out by itself, and says why


def main() -> None:
    """Perform the task on standard input."""
    sys.path.append(str(Path.cwd()))
    prepare()
    task = json.load(sys.stdin)
    code = perform(task)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # as a forked process does: no thread of a library can hold it up


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)
    main()
