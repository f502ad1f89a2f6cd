"""The folder of a sweep: its plan, the state of each job, and where everything lies.

outputs/sweeps/mlp-digits-lr-seed-3fa2c1/
  mlp-digits-0a1b2c3d4e5f/   a run folder for each job, named by its identity
  logs/                      what each job printed
  sweep.csv, sweep.json      the verdict
  plots/
  .sweep/plan.json           what was typed, what is ranked
  .sweep/jobs.jsonl          a line for each job that was planned here
  .sweep/jobs/<id>.json      its state; <id>.lock is held by the process that works on it
"""

import json
import os
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock

from trainwright.errors import ConfigError, DiskError
from trainwright.runs.stored import read_json_if_any, read_lines
from trainwright.sweep.job import Job

DONE = ("finished", "pruned")
LINE = ("id", "number", "name", "point", "overrides", "trial")  # of a job in jobs.jsonl
State = dict[str, Any]


class Store:
    """The files of a sweep. Several processes may use one folder at once."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.logs = path / "logs"  # of what the jobs printed
        self.plots = path / "plots"
        self.inner = path / ".sweep"  # not for reading
        self.states = self.inner / "jobs"  # and locks
        self.reports = self.inner / "reports.jsonl"  # of running jobs to the pruner
        self.leaders = self.inner / "leaders.jsonl"  # the jobs that were best when they ended

    def prepare(self) -> None:
        """Make the folder, if it is not there. Raises DiskError."""
        try:
            for folder in (self.path, self.inner, self.states, self.logs):
                folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DiskError(f"could not make {error.filename}\n  {error.strerror}") from error

    def folder(self, job: Job) -> Path:
        """The run folder of a job in this sweep, whether it is there or not."""
        return self.path / f"{job.name}-{job.id}"

    def log(self, job: Job) -> Path:
        """The file that takes what a job prints."""
        return self.logs / f"{job.name}-{job.id}.log"

    def lock(self, job_id: str) -> Path:
        """The file that is locked by the process that works on a job."""
        return self.states / f"{job_id}.lock"

    def is_at_work(self, job_id: str) -> bool:
        """Whether a living process works on a job: the system lifts the lock of one that dies.

        Taken to be so where the folder may only be read, and nobody can tell.
        """
        path = self.lock(job_id)
        try:
            if path.exists():
                FileLock(path).acquire(blocking=False).lock.release()
        except OSError:  # a Timeout is one too
            return True
        return False

    def state(self, job_id: str) -> State:
        """The state of a job: `status` planned, running, finished, pruned, stopped or failed.

        A job that was running when its process died is `stopped`: it can be gone on with.
        """
        state = self._read(job_id)
        if state.get("status") == "running" and not self.is_at_work(job_id):
            state = self._read(job_id)  # it may have ended between the two looks
            if state.get("status") == "running":
                state["status"] = "stopped"
        return state

    def _read(self, job_id: str) -> State:
        # (The file is empty, if the power failed as it was written.)
        return read_json_if_any(self.states / f"{job_id}.json") or {"status": "planned"}

    def write_state(self, job_id: str, state: Mapping[str, Any]) -> None:
        """Write the state of a job whole. To be called by who holds its lock. Raises DiskError."""
        write_whole(self.states / f"{job_id}.json", json.dumps(state))

    def note(self, job: Job, **changes: Any) -> State:
        """Bring the state of a job up to date; the time of earlier attempts counts too."""
        before = self._read(job.id)
        state = {k: v for k, v in before.items() if k not in ("error", "code", "since")}
        state |= {
            "folder": self.folder(job).name,
            "seconds": round(seconds_spent(before, until=time.time()), 3),
            **changes,
        }
        self.write_state(job.id, state)
        return state

    def plan(self) -> dict[str, Any]:
        """What was typed and is ranked. Raises ConfigError where this is no sweep's folder."""
        plan = read_json_if_any(self.inner / "plan.json")
        if not plan:
            raise ConfigError(f"{self.path} is not the folder of a sweep")
        return plan

    def write_plan(self, plan: Mapping[str, Any]) -> None:
        """Write what was typed and is ranked."""
        write_whole(self.inner / "plan.json", json.dumps(plan, indent=2) + "\n")

    def add(self, jobs: Iterable[Job]) -> None:
        """Note jobs that are new to this folder, or at another point than before."""
        with FileLock(self.inner / "jobs.lock"):
            known = {line.id: line.point for line in self.jobs()}
            new = [job for job in jobs if known.get(job.id) != dict(job.point)]
            lines = [{key: getattr(job, key) for key in LINE} for job in new]
            text = "".join(json.dumps(line) + "\n" for line in lines)
            with (self.inner / "jobs.jsonl").open("a") as file:
                # A line that a kill has torn must not swallow the one that comes after it.
                file.write(f"\n{text}" if file.tell() else text)

    def jobs(self) -> list[Job]:
        """The jobs that were planned here, without their configs; a torn last line is left out.

        Of those at one point the last, since a config file has changed between them: the same seed
        twice is no repetition.
        """
        found = read_lines(self.inner / "jobs.jsonl")
        lines = [Job(**line) for line in found if line.keys() == {*LINE}]
        where = {line.id: line.point for line in lines}
        at = {tuple(sorted(n.point.items())): n for n in lines if n.point == where[n.id]}
        return list(at.values())

    def finished_elsewhere(self, job_ids: Iterable[str]) -> dict[str, "Store"]:
        """The sweeps beside this one that have finished some of the jobs, by identity."""
        wanted = set(job_ids)
        found: dict[str, Store] = {}
        for other in sorted(self.path.parent.glob("*/.sweep")):
            if other.parent.name == self.path.name:
                continue
            store = Store(other.parent)
            here = {path.stem for path in store.states.glob("*.json")} & wanted
            for job_id in here - set(found):
                state = store.state(job_id)
                if state["status"] == "finished" and store.run_folder(state).is_dir():
                    found[job_id] = store
        return found

    def run_folder(self, state: Mapping[str, Any]) -> Path:
        """Where the run of a job that has begun is: here, or in a sweep beside this one."""
        return self.path / str(state["folder"])

    def adopt(self, job_id: str, other: "Store") -> None:
        """Take over a job that another sweep has finished: its run stays where it is."""
        state = other.state(job_id)
        folder = os.path.relpath(other.run_folder(state), self.path)
        self.write_state(job_id, {**state, "folder": folder, "attempts": 0, "seconds": 0.0})


def seconds_spent(state: State, *, until: float) -> float:
    """What the attempts at a job took; one that died without a word is counted `until` then."""
    since = state.get("since")
    unnoted = 0.0 if since is None else max(0.0, until - float(since))
    return float(state.get("seconds", 0.0)) + unnoted


def write_whole(path: Path, text: str) -> None:
    """Write a file whole or not at all. Raises DiskError."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_text(text)
        temporary.replace(path)
    except OSError as error:
        raise DiskError(f"could not write {path}\n  {error.strerror}") from error
