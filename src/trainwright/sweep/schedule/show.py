"""What a sweep shows while it runs: a bar, and a line for each job that has ended."""

import sys
from collections.abc import Callable

from tqdm import tqdm

from trainwright.progress import Activity
from trainwright.streams import is_quiet
from trainwright.sweep.job import Job
from trainwright.sweep.store import State
from trainwright.wording import format_duration


class Show:
    """Prints to standard output; the bar is on standard error, if that is a terminal."""

    def __init__(self, total: int, describe_value: Callable[[State], str]) -> None:
        self._describe_value = describe_value
        self._total = total
        self._jobs = Activity("", total, "jobs", say=self.note)

    def ended(self, job: Job, state: State, num_ended: int) -> None:
        """One line for a job that has ended."""
        width = len(str(self._total))
        self.note(f"{num_ended:>{width}}/{self._total}  {job.label}  {self._outcome(state)}")
        self._jobs.has_said()

    def _outcome(self, state: State) -> str:
        if state["status"] == "failed":
            return "failed: " + str(state["error"]).splitlines()[0]
        text = self._describe_value(state)
        pruned = "  pruned" if state["status"] == "pruned" else ""
        return f"{text}  {format_duration(state['seconds'])}{pruned}"

    def note(self, text: str) -> None:
        """A line above the bar."""
        if not is_quiet():
            tqdm.write(text, file=sys.stdout)
            sys.stdout.flush()

    def tick(self, num_ended: int, total: int, num_running: int) -> None:
        """Move the bar."""
        self._jobs.total, self._jobs.text = total, f"{num_running} running"
        self._jobs.to(num_ended)

    def close(self) -> None:
        """Remove the bar."""
        self._jobs.close()
