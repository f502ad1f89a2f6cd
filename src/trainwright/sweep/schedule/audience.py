"""Who is told what happens in a sweep."""

from typing import Protocol

from trainwright.sweep.job import Job
from trainwright.sweep.store import State


class Audience(Protocol):
    """Hears what happens, to show it."""

    def ended(self, job: Job, state: State, num_ended: int) -> None:
        """A job has ended, as the `num_ended`-th, and will not be tried again."""

    def note(self, text: str) -> None:
        """Something worth a line."""

    def tick(self, num_ended: int, total: int, num_running: int) -> None:
        """Time has passed."""
