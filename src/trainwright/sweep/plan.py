"""What a sweep is about to do, checked and measured, before anything of it starts."""

import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainwright.errors import ConfigError, TrainwrightError
from trainwright.progress import under_way
from trainwright.sweep.job import Job
from trainwright.sweep.stacking import Stacking
from trainwright.sweep.store import DONE, Store
from trainwright.sweep.verdict.ranking import Ranked, objective
from trainwright.sweep.workers.slots import Slot
from trainwright.sweep.workers.tasks import model_key, rehearsal_task
from trainwright.sweep.workers.workers import Workers
from trainwright.wording import format_bytes, format_count, format_duration

SECONDS_A_JOB = 0.7  # what a run does besides training: pictures, checkpoints
BYTES_A_JOB = 500_000  # pictures, metrics and logs
NUM_CHECKPOINTS = 2  # last and best

Measured = dict[str, dict[str, Any]]  # what the rehearsal found, by job


@dataclass(frozen=True)
class SweepPlan:
    """Distinct jobs in their order, what has become of them, and what was measured of each.

    A search makes up `num_planned` jobs as it goes: then `jobs` are examples.
    """

    jobs: list[Job]
    statuses: dict[str, str]
    measured: Measured
    num_planned: int | None = None
    stacking: Stacking | None = None

    @property
    def to_do(self) -> list[Job]:
        """The jobs that are not done."""
        return [job for job in self.jobs if self.statuses.get(job.id) not in DONE]

    @property
    def num_left(self) -> int:
        """How many jobs are not done, those included that a search will make up."""
        done = sum(status in DONE for status in self.statuses.values())
        return max(0, (self.num_planned or len(self.jobs)) - done)


def distinct(jobs: Sequence[Job]) -> list[Job]:
    """The jobs without those that are the same as an earlier one.

    Raises ConfigError where other values were typed for them: what is swept would change nothing.
    """
    found: dict[str, Job] = {}
    for job in jobs:
        first = found.setdefault(job.id, job)
        for key, text in job.point.items():
            before = first.point.get(key, text)
            if before != text:
                raise ConfigError(
                    f"{key}={before} and {key}={text} make the same run\n"
                    f"  a sweep makes each run once; leave {key} out, or type hydra/sweeper=basic"
                )
    return list(found.values())


def statuses(jobs: Sequence[Job], store: Store) -> dict[str, str]:
    """What has become of each job so far, here or in a sweep beside this one."""
    found = {job.id: store.state(job.id)["status"] for job in jobs}
    missing = [job_id for job_id, status in found.items() if status == "planned"]
    if missing:
        found |= dict.fromkeys(store.finished_elsewhere(missing), "finished")
    return found


def rehearse(
    jobs: Sequence[Job], workers: Workers, *, threads: int, stacking: Stacking | None = None
) -> Measured:
    """Check every job, put a batch through every distinct model, and try what could be stacked.

    Raises the first error, with the number of jobs that cannot run.
    """
    if not jobs:
        return {}
    # Jobs with the same model one after the other: only one is in memory at a time.
    in_order = sorted(jobs, key=lambda job: model_key(job.config))
    groups = [] if stacking is None else stacking.groups
    with tempfile.TemporaryDirectory(prefix="trainwright-") as folder:
        result, log = Path(folder) / "result.jsonl", Path(folder) / "log"
        result.touch()
        with under_way("trying the jobs' models", len(jobs), "jobs") as trying:
            code = workers.perform(
                rehearsal_task(in_order, result, threads=threads, groups=groups),
                data=[jobs[0].config["data"]],
                log=log,
                # Those that have begun: one more than have a result.
                meanwhile=lambda: trying.to(min(len(jobs), 1 + result.read_bytes().count(b"\n"))),
            )
        if code is None:
            raise ConfigError("the process that reads the data was killed: out of memory?")
        lines = [json.loads(line) for line in result.read_text().splitlines()]
        printed = log.read_text() if log.exists() else ""
    found = {job.id: line for job, line in zip(in_order, lines, strict=False)}
    if code != 0:
        culprit = next((job for job in in_order if job.id not in found), jobs[0])
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        last = [f"  {line}" for line in printed.strip().splitlines()[-2:]]
        what = f"a job's process ended with {how} on its first batch; nothing was started"
        raise ConfigError("\n".join([what, f"  {culprit.label}", *last]))
    wrong = [job for job in jobs if "error" in found[job.id]]
    if wrong:
        first = found[wrong[0].id]
        others = len(wrong) - 1
        raise mistake(wrong[0].label, first["error"], first["code"], num_others=others)
    if stacking is not None:
        stacking.hear(lines[len(jobs) :])
    return found


def mistake(label: str, message: str, code: int, *, num_others: int) -> TrainwrightError:
    """The error for jobs that cannot run: one of them is quoted, the others are counted."""
    others = "has 1 other" if num_others == 1 else f"have {num_others} others"
    more = f", and so {others}" if num_others else ""
    quoted = message.splitlines()[:3]
    kind = ConfigError if code == ConfigError.exit_code else TrainwrightError
    error = kind("\n".join([f"the job {label} has a mistake{more}; nothing was started", *quoted]))
    error.exit_code = code
    return error


def describe(plan: SweepPlan, slots: Sequence[Slot], *, folder: Path) -> list[str]:
    """The plan as a person reads it."""
    num_jobs = plan.num_planned or len(plan.jobs)
    found = list(plan.statuses.values())
    done, begun, failed = sum(map(found.count, DONE)), found.count("stopped"), found.count("failed")
    parts = [f"{format_count(num_jobs)} job{'s' if num_jobs != 1 else ''}"]
    parts += [f"{done} done already"] if done else []
    parts += [f"{begun} to go on with"] if begun else []
    parts += [f"{failed} to try again"] if failed else []
    lines = [f"sweep: {', '.join(parts)}"]
    cores = f"{slots[0].threads} thread{'s' if slots[0].threads > 1 else ''} each"
    gpus = {slot.environment.get("CUDA_VISIBLE_DEVICES") for slot in slots} - {None}
    where = f", on {len(gpus)} GPU{'s' if len(gpus) > 1 else ''}" if gpus else ""
    lines.append(f"at once: {len(slots)}, {cores}{where}")
    lines += [] if plan.stacking is None else plan.stacking.lines()
    if plan.measured:
        lines.append(_estimate(plan, len(slots)))
    lines.append(f"folder: {folder}")
    return lines


def _estimate(plan: SweepPlan, num_slots: int) -> str:
    """Time, memory and disk of what is left, from one batch through each model."""
    known = [plan.measured[job.id] for job in plan.to_do if job.id in plan.measured]
    if not known:
        return "estimated: nothing is left to do"
    scale = plan.num_left / len(known)  # a search has jobs that nobody knows yet
    seconds = scale * sum(m["seconds"] + SECONDS_A_JOB for m in known)
    longest = max(m["seconds"] + SECONDS_A_JOB for m in known)
    seconds = max(longest, seconds / num_slots)
    memory = max(m["shared_memory"] for m in known) + num_slots * max(m["memory"] for m in known)
    disk = scale * sum(NUM_CHECKPOINTS * m["bytes"] + BYTES_A_JOB for m in known)
    return (
        f"estimated: {format_duration(seconds)}, {format_bytes(memory)} of memory, "
        f"{format_bytes(disk)} on disk"
    )


def objective_of(measured: Measured) -> Ranked:
    """The metric that all jobs are ranked by.

    Raises ConfigError where jobs have different ones.
    """
    found = {objective(m) for m in measured.values()}
    if len(found) > 1:
        names = " and ".join(sorted(m.metric.removeprefix("validation/") for m in found))
        raise ConfigError(
            f"these jobs have different objectives, {names}: they cannot be ranked\n"
            "  say what to rank by: sweep.metric=validation/... sweep.mode=max"
        )
    return found.pop()
