"""Sweeps beside other ways to run the same jobs: `python benchmarks/sweeps.py launchers`.

    python benchmarks/sweeps.py launchers --root DATA --rounds 3     # 16 jobs, four ways
    python benchmarks/sweeps.py launchers --root DATA --sides ours,joblib --limit 10000
    python benchmarks/sweeps.py threads --root DATA                  # more threads than cores
    python benchmarks/sweeps.py pruning --rounds 3                   # 40 trials on digits
    python benchmarks/sweeps.py scheduler                            # a job's overhead
    python benchmarks/sweeps.py plan                                 # of 1,000 jobs
    python benchmarks/sweeps.py table                                # 10,000 rows
    python benchmarks/sweeps.py report                               # SWEEPS.md anew

A round takes all sides one after the other, so that a machine whose speed drifts slows all of them
alike, and ratios are taken within a round. Every result is appended to sweeps.jsonl at once.
`pip install -e '.[bench]'` brings joblib's launcher.
"""

import argparse
import contextlib
import io
import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import fmean
from typing import Any

import machine
import sweeps_report
from measure import HERE, timed

TRAIN = str(Path(sys.executable).with_name("train"))
RUNS = str(Path(sys.executable).with_name("runs"))
RESULTS = HERE / "sweeps.jsonl"
NUM_JOBS = 16
NUM_TRIALS = 40
NUM_ROWS = 10_000
MNIST = ("data=mnist", "trainer.epochs=1", "trainer.batch_size=64")  # an MLP 784-512-256-10
# Hydra's own sweeper is what hands jobs to its launchers; without more, to the basic one.
LAUNCHERS = {
    "ours": ("sweep.dir=done",),
    "ours with all pictures": ("sweep.dir=done", "sweep.pictures=all"),
    "ours stacked": ("sweep.dir=done", "sweep.stack=on"),
    "basic": ("run.root=done", "hydra/sweeper=basic"),
    # As many workers as cores; joblib then gives each one thread.
    "joblib": (
        *("run.root=done", "hydra/sweeper=basic"),
        *("hydra/launcher=joblib", "hydra.launcher.n_jobs=-1"),
    ),
}
TRIALS = (
    *("-m", "sweep=random", f"sweep.trials={NUM_TRIALS}", "sweep.dir=done", "trainer.epochs=18"),
    *("optimizer.lr=tag(log,interval(1e-5,1))", "model.dropout=interval(0,0.8)"),
    *("model.widths=[16],[64],[256]", "optimizer.weight_decay=tag(log,interval(1e-5,1))"),
)


def launchers(args: argparse.Namespace) -> None:
    """The same 16 jobs four ways."""
    common = [*MNIST, f"data.root={args.root}"]
    common += [f"data.limit={args.limit}"] if args.limit else []
    sides = args.sides.split(",") if args.sides else [*LAUNCHERS, "loop"]
    for number in range(args.rounds):
        for side in sides:
            with tempfile.TemporaryDirectory() as folder:
                if side == "loop":
                    each = " ".join([TRAIN, *common, "seed=$seed", "run.dir=done/$seed"])
                    numbers = " ".join(map(str, range(NUM_JOBS)))
                    command = ["sh", "-ec", f"for seed in {numbers}; do {each}; done"]
                else:
                    command = [TRAIN, "-m", *common, f"seed=range({NUM_JOBS})", *LAUNCHERS[side]]
                seconds, _ = timed(command, Path(folder))
                scores = [summary["test"]["accuracy"] for summary in _summaries(Path(folder))]
            assert len(scores) == NUM_JOBS, f"{side} has done {len(scores)} jobs"
            _note(
                kind="launchers", side=side, round=args.round or _stamp(number), limit=args.limit,
                seconds=seconds, accuracy=sum(scores) / NUM_JOBS,
            )  # fmt: skip


def threads(args: argparse.Namespace) -> None:
    """Two jobs of two threads each on two cores: typed at once, and in a sweep."""
    common = [*MNIST, f"data.root={args.root}", "trainer.epochs=null", "trainer.steps=100"]
    one = " ".join([TRAIN, *common, "trainer.threads=2"])
    sides = {
        "two commands at once": ["sh", "-ec", f"{one} run.dir=a & {one} run.dir=b seed=1; wait"],
        "a sweep": [TRAIN, "-m", *common, "seed=0,1", "sweep.dir=done"],
        "a sweep told to": [
            *(TRAIN, "-m", *common, "seed=0,1", "sweep.dir=done"),
            *("sweep.jobs=2", "trainer.threads=2"),
        ],
    }
    for number in range(args.rounds):
        for side, command in sides.items():
            with tempfile.TemporaryDirectory() as folder:
                timed(command, Path(folder))
                rates = [s["examples_per_second"] / 64 for s in _summaries(Path(folder))]
            assert len(rates) == 2
            _note(kind="threads", side=side, round=_stamp(number), steps_per_second=rates)


def pruning(args: argparse.Namespace) -> None:
    """The same 40 settings, all of them to the end and pruned."""
    for number in range(args.rounds):
        for side in ("to the end", "halving", "hyperband", "median"):
            prune = [] if side == "to the end" else [f"sweep.prune={side}"]
            with tempfile.TemporaryDirectory() as folder:
                command = [TRAIN, *TRIALS, f"sweep.seed={number}", *prune]
                seconds, _ = timed(command, Path(folder))
                epochs = [18 * s["step"] / s["steps"] for s in _summaries(Path(folder))]
                verdict = json.loads((Path(folder) / "done" / "sweep.json").read_text())
            best = verdict["settings"][0]
            _note(
                kind="pruning", side=side, round=number, seconds=seconds, epochs=sum(epochs),
                best=best["mean"][0], point=best["point"],
            )  # fmt: skip


def scheduler(args: argparse.Namespace) -> None:
    """What a job costs besides what it does."""
    del args
    words = ["trainer=smoke", "trainer.steps=1", "sweep.jobs=1", "sweep.dir=done"]
    with tempfile.TemporaryDirectory() as folder:
        timed([TRAIN, "-m", *words, "seed=range(64)"], Path(folder))
        # A job's state is last written when it ends: one after the other here.
        states = sorted(Path(folder).glob("done/.sweep/jobs/*.json"), key=_mtime)
        own = [json.loads(path.read_text())["seconds"] for path in states[1:]]
        span = _mtime(states[-1]) - _mtime(states[0])
    around = (span - sum(own)) / len(own)
    _note(kind="overhead", own=fmean(own), around=around, scheduler=_scheduling())


def plan(args: argparse.Namespace) -> None:
    """How long a plan of a thousand jobs takes."""
    del args
    with tempfile.TemporaryDirectory() as folder:
        command = [TRAIN, "-m", "optimizer.lr=range(1,1001)", "sweep.dry_run=true"]
        _note(kind="plan", seconds=timed(command, Path(folder))[0], jobs=1000)


def _scheduling() -> float:
    """Seconds of the scheduler for a job that takes no time in a process that takes none either."""
    from trainwright.sweep.job import Job
    from trainwright.sweep.schedule.queue import Queue
    from trainwright.sweep.schedule.scheduler import Scheduler
    from trainwright.sweep.schedule.show import Show
    from trainwright.sweep.settings import SweepSettings
    from trainwright.sweep.store import Store
    from trainwright.sweep.workers.slots import Slot

    class Instantly:
        """Stands in for the process that starts jobs: each has ended when it is asked about."""

        def __init__(self, store: Store) -> None:
            self._store, self._events = store, []

        def start(self, key: int, task: dict[str, Any], **rest: Any) -> None:
            state = {"status": "finished", "folder": "none", "seconds": 0.0}
            self._store.write_state(task["job"]["id"], state)
            self._events += [
                {"event": "started", "key": key}, {"event": "ended", "key": key, "code": 0}
            ]  # fmt: skip

        def events(self, seconds: float) -> list[dict[str, Any]]:
            events, self._events = self._events, []
            return events

    config = {"data": {}, "trainer": {"device": "cpu", "threads": 1}}
    jobs = [Job(f"{i:012x}", i, "x", {"seed": str(i)}, (), config) for i in range(1000)]
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        store = Store(Path(folder))
        store.prepare()
        show = Show(len(jobs), lambda state: "accuracy 0.9")
        queue, slots = Queue(jobs, store), [Slot(1)] * 2
        scheduler = Scheduler(queue, store, Instantly(store), slots, SweepSettings(), show)
        begun = time.perf_counter()
        scheduler.run()
        return (time.perf_counter() - begun) / len(jobs)


def table(args: argparse.Namespace) -> None:
    """The verdict on 10,000 jobs that are done."""
    del args
    from trainwright.sweep.job import Job
    from trainwright.sweep.store import Store

    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder) / "done")
        store.prepare()
        ranked = [{"metric": "validation/accuracy", "higher_is_better": True}]
        store.write_plan({"command": "train -m ...", "ranked": ranked})
        jobs = []
        for number in range(NUM_ROWS):
            point = {
                "lr": str(1 + number // 50),
                "width": str(number // 5 % 10),
                "seed": str(number % 5),
            }
            typed = tuple(f"{key}={value}" for key, value in point.items())
            jobs.append(Job(f"{number:012x}", number, "mlp-digits", point, typed, {}))
            value = (number * 7919 % 10007) / 10007
            state = {"status": "finished", "objective": "accuracy", "higher_is_better": True}
            state |= {"folder": "none", "seconds": 1.0, "best": {"metrics": {"accuracy": value}}}
            store.write_state(jobs[-1].id, state)
        store.add(jobs)
        seconds, _ = timed([RUNS, "sweep", str(store.path)], Path(folder))
        _note(kind="table", seconds=seconds, rows=NUM_ROWS)


def report(args: argparse.Namespace) -> None:
    """Write SWEEPS.md."""
    del args
    lines = [json.loads(line) for line in RESULTS.read_text().splitlines()]
    (HERE / "SWEEPS.md").write_text(sweeps_report.text(lines))


KINDS: dict[str, Callable[[argparse.Namespace], None]] = {
    function.__name__: function
    for function in (launchers, threads, pruning, scheduler, plan, table, report)
}


def _mtime(path: Path) -> float:
    return path.stat().st_mtime


def _summaries(folder: Path) -> Sequence[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted(folder.rglob("summary.json"))]


def _stamp(number: int) -> str:
    return f"{datetime.now(UTC):%Y-%m-%d %H:%M} {number}"


def _note(**facts: Any) -> None:
    """Append a result, and show it."""
    print(" ".join(f"{key}={value}" for key, value in facts.items()), flush=True)
    facts |= {
        "commit": machine.commit(), "machine": machine.describe(),
        "versions": machine.versions(), "time": f"{datetime.now(UTC):%Y-%m-%d %H:%M}",
    }  # fmt: skip
    with RESULTS.open("a") as file:
        file.write(json.dumps(facts) + "\n")


def main() -> None:
    """Do what was asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=list(KINDS))
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--round", help="name of the round, where its sides are measured in pieces")
    parser.add_argument("--sides", help="some of: " + ", ".join([*LAUNCHERS, "loop"]))
    parser.add_argument("--root", help="folder with mnist/*.gz, as data.root of train")
    parser.add_argument("--limit", type=int, help="training examples, fewer than all")
    args = parser.parse_args()
    KINDS[args.what](args)


if __name__ == "__main__":
    main()
