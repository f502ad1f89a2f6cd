"""How a job has ended that could not say so itself."""

import signal
import time

from trainwright.sweep.job import Job
from trainwright.sweep.store import State, Store, seconds_spent

ASKED_TO_STOP = (128 + signal.SIGTERM, 128 + signal.SIGINT)  # exit codes of a job that has saved


def note_failure(job: Job, store: Store, reason: str, code: int) -> State:
    """Note that a job has failed, in the place of its process; return its state."""
    before = store.state(job.id)
    state = {
        "folder": store.folder(job).name,
        **{key: value for key, value in before.items() if key != "since"},
        "seconds": round(seconds_spent(before, until=time.time()), 3),
        "status": "failed",
        "error": reason,
        "code": code,
    }
    store.write_state(job.id, state)
    return state


def note_death(job: Job, store: Store, code: int) -> State:
    """Note that a job's process has ended with this code before the job was done."""
    if code in ASKED_TO_STOP:
        reason = "was stopped by a signal, and saved"  # somebody else has stopped this one job
    elif code >= 0:
        reason = f"its process exited with {code} before it was done"
    else:
        name = signal.Signals(-code).name
        reason = f"killed by {name}" + (" (out of memory?)" if name == "SIGKILL" else "")
    return note_failure(job, store, reason, code if code > 0 else 1)
