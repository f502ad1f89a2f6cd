"""A sweep that is killed at any moment and typed again is the sweep that was not.

What dies is drawn anew each time: the command alone, the process that its jobs are forked from, one
job, all of them together; or the command is asked politely. The next one is typed at once, while
jobs of the last one may still be saving.
"""

import csv
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from trainwright.engine.checkpoint import checkpoint
from trainwright.sweep.store import DONE, Store

TRAIN = Path(sys.executable).with_name("train")
TYPED = (
    *("-m", "seed=range(8)", "optimizer.lr=1e-2,1e-3", "sweep.dir=done", "sweep.rehearse=false"),
    *("model.widths=[8]", "trainer.batch_size=16", "trainer.steps=30", "trainer.sample_every=0"),
    *("trainer.save_every=5", "trainer.evaluate_every=10", "trainer.threads=1", "sweep.jobs=2"),
    *("trainer.plots=false", "trainer.log_every=5"),
)
NUM_JOBS = 16
VICTIMS = ("command", "command", "server", "job", "all", "politely")


def start(folder):
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive"}
    with (folder / "output").open("a") as output:
        return subprocess.Popen(
            [TRAIN, *TYPED], cwd=folder, env=environment, stdout=output, stderr=output
        )


def children(pid):
    try:
        return [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def kill(pids, number=signal.SIGKILL):
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue


def strike(process, victim, generator):
    servers = children(process.pid)
    jobs = [job for server in servers for job in children(server)]
    if victim == "politely" and servers:  # not while Python itself is starting
        kill([process.pid], signal.SIGINT)
    elif victim == "server":  # and the command before it has started another
        kill([*servers, process.pid])
    elif victim == "job" and jobs:
        kill([generator.choice(jobs)])
        return  # the sweep notes that it failed, and goes on
    else:
        kill([process.pid, *servers, *jobs] if victim == "all" else [process.pid])
    process.wait()


def wait_for(process, folder, num_changes):
    """Wait until so many states have been written anew, or the sweep has ended."""
    seen, changes = states_of(folder), 0
    while process.poll() is None and changes < num_changes:
        time.sleep(0.02)
        now = states_of(folder)
        changes += len(now.items() - seen.items())
        seen = now


def states_of(folder):
    found = {}
    for path in (folder / "done" / ".sweep" / "jobs").glob("*.json"):
        found[path.name] = path.stat().st_mtime_ns
    return found


def finished(folder):
    """When the run of each job that is done was finished, by the job."""
    store = Store(folder / "done")
    found = {}
    for path in (folder / "done" / ".sweep" / "jobs").glob("*.json"):
        state = store.state(path.stem)
        if state["status"] in DONE:
            found[path.stem] = (store.run_folder(state) / "summary.json").stat().st_mtime_ns
    return found


def table(folder):
    with (folder / "done" / "sweep.csv").open() as file:
        rows = [{k: row[k] for k in row if k != "seconds"} for row in csv.DictReader(file)]
    return sorted(rows, key=lambda row: row["id"])


def tensors_of(folder, row):
    path = folder / "done" / row["folder"] / "checkpoints" / "last.safetensors"
    return checkpoint.load(path)[0]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    assert start(folder).wait() == 0, (folder / "output").read_text()
    return folder


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.skipif(sys.platform != "linux", reason="asks /proc for children")
def test_killed_at_a_hundred_points_it_has_the_same_table_and_repeats_nothing(
    undisturbed, tmp_path
):
    generator, num_kills, trial = random.Random(0), 0, 0
    while num_kills < 100:
        folder = tmp_path / str(trial)
        folder.mkdir()
        trial += 1
        done: dict[str, int] = {}
        while True:
            process = start(folder)
            wait_for(process, folder, generator.randrange(6))
            time.sleep(generator.random() * 0.3)
            assert process.poll() in (None, 0), (folder / "output").read_text()
            if process.poll() == 0:
                break
            victim = generator.choice(VICTIMS)
            strike(process, victim, generator)
            if victim == "job":
                process.wait()
            num_kills += 1
            now = finished(folder)
            assert done.items() <= now.items(), f"after kill {num_kills} a job was done again"
            done = now
        assert done.items() <= finished(folder).items()
        output = (folder / "output").read_text()
        assert "Traceback" not in output, output
        assert table(folder) == table(undisturbed)
        for row in table(folder):
            one, other = tensors_of(folder, row), tensors_of(undisturbed, row)
            assert one.keys() == other.keys()
            assert all(torch.equal(one[name], other[name]) for name in one), row
        shutil.rmtree(folder)
    assert num_kills >= 100
