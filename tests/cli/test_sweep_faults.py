"""A job that fails takes only itself with it, however it fails, and the table says how."""

import csv
import json
import random
import re
import sys

import pytest

pytestmark = pytest.mark.timeout(1800)  # for a machine that is busy with other things

# Does what `fault` says in the second batch of a run, which no rehearsal of one batch can see:
# that has a global flag, which a run has not.
FAULTY = """
import ctypes, os, resource, signal, sys, time
from pathlib import Path
import torch
from trainwright.nn.mlp import MLP

class Faulty(MLP):
    def __init__(self, *, fault: str = "none", input_shape: tuple[int, ...], num_outputs: int):
        super().__init__(input_shape=input_shape, num_outputs=num_outputs, widths=[8])
        self.fault, self.calls = fault, 0

    def forward(self, inputs):
        self.calls += self.training
        if self.training and self.calls == 2:
            getattr(self, self.fault)()
        return super().forward(inputs)

    def none(self): pass
    def raises(self): raise RuntimeError("a bug of mine")
    def exits_0(self): sys.exit(0)
    def exits_3(self): os._exit(3)
    def killed(self): os.kill(os.getpid(), signal.SIGKILL)
    def segfaults(self): ctypes.string_at(0)
    def hungry(self):
        in_use = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (in_use + 2**26, resource.RLIM_INFINITY))
        self.eaten = [torch.zeros(2**20) for _ in range(2**14)]
    def hangs(self):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(3600)
    def once(self):
        if not Path("tried").exists():
            Path("tried").touch()
            os._exit(9)
"""


REASONS = {
    "raises": "code of your own fails: RuntimeError: a bug of mine",
    "exits_0": "something called sys.exit(0)",
    "exits_3": "its process exited with 3 before it was done",
    "killed": "killed by SIGKILL (out of memory?)",
    "segfaults": "killed by SIGSEGV",
    "hungry": "out of memory with trainer.batch_size=64, trainer.evaluate_batch_size=1000",
    "hangs": "timed out after 150 s",
}
IN_LOG = {
    "raises": "RuntimeError: a bug of mine",
    "segfaults": "Fatal Python error: Segmentation fault",
    "hungry": "error: out of memory with trainer.batch_size=64",
}


@pytest.fixture
def faulty(empty):
    (empty / "faulty.py").write_text(FAULTY)
    (empty / "configs" / "model").mkdir(parents=True)
    (empty / "configs" / "model" / "faulty.yaml").write_text(
        "_target_: faulty.Faulty\nfault: none\n"
    )
    return (
        *("model=faulty", "trainer.steps=4", "trainer.evaluate_every=2", "trainer.plots=false"),
        "sweep.rehearse=false",
    )


def sweep_of(folder):
    (found,) = (folder / "outputs" / "sweeps").iterdir()
    return found


def rows_of(folder):
    with (sweep_of(folder) / "sweep.csv").open() as file:
        return list(csv.DictReader(file))


@pytest.mark.slow
def test_the_first_batch_of_every_model_is_tried_before_anything_starts(run_train, faulty, empty):
    (empty / "faulty.py").write_text(FAULTY.replace("self.calls == 2", "self.calls == 1"))
    for fault in ("segfaults", "raises"):
        result = run_train("-m", *faulty[:-1], f"model.fault=none,{fault}")
        assert result.code in (1, 2)
        assert f"model.fault={fault}" in result.err
        assert "nothing was started" in result.err
    assert not (empty / "outputs").exists()


def test_what_fails_takes_only_itself(run_train, faulty, empty):
    result = run_train("-m", *faulty, "model.fault=raises,exits_0,exits_3,killed,segfaults,none")
    assert result.code == 2  # of the first that failed
    for row in rows_of(empty):
        assert row["error"] == REASONS.get(row["model.fault"], "")
        assert row["status"] == ("failed" if row["model.fault"] in REASONS else "finished")


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc to limit the memory of a job")
@pytest.mark.parametrize("isolation", ["warm", "process"])
def test_of_twenty_jobs_seven_fail_each_its_own_way_and_the_others_finish(
    isolation, run_train, faulty, empty
):
    """One of them hangs: it does not heed that it is asked to stop when its time is up."""
    faults = [*REASONS, *["none"] * 13]
    random.Random(0).shuffle(faults)
    rates = [f"{number}e-4" for number in range(1, 21)]
    result = run_train(
        *("-m", *faulty, "sweep=zip", "sweep.jobs=2", f"sweep.isolation={isolation}"),
        *(f"model.fault={','.join(faults)}", f"optimizer.lr={','.join(rates)}"),
        "sweep.timeout=150",  # seconds; the others take one or two, on a machine that is free
    )
    rows = sorted(rows_of(empty), key=lambda row: float(row["optimizer.lr"]))
    assert [row["model.fault"] for row in rows] == faults
    codes = []
    for row in rows:
        log = (sweep_of(empty) / row["log"]).read_text()
        run = sweep_of(empty) / row["folder"]
        assert "cpu, fp32" in log, row  # how far it had come
        if row["model.fault"] == "none":
            assert (row["status"], row["error"]) == ("finished", "")
            assert json.loads((run / "summary.json").read_text())["status"] == "finished"
            continue
        reason = REASONS[row["model.fault"]]
        assert (row["status"], row["error"], row["value"]) == ("failed", reason, "")
        assert re.search(rf"failed: .*: {re.escape(reason)}\n  log: .*{row['log']}", result.out)
        assert IN_LOG.get(row["model.fault"], "") in log
        state = json.loads((sweep_of(empty) / f".sweep/jobs/{row['id']}.json").read_text())
        codes.append(state["code"])
    assert 0 not in codes
    assert result.code == codes[0]


@pytest.mark.slow
def test_a_job_that_failed_is_tried_again_if_that_is_asked_for(run_train, faulty, empty):
    result = run_train("-m", *faulty, "model.fault=once", "sweep.retries=1")
    assert result.code == 0, result.err
    assert "try again: model" in result.out or "try again: faulty" in result.out
    assert [row["status"] for row in rows_of(empty)] == ["finished"]


@pytest.mark.slow
def test_fail_fast_starts_nothing_after_a_failure(run_train, faulty, empty):
    typed = ("model.fault=raises,none", "seed=0,1", "sweep.jobs=1", "sweep.fail_fast=true")
    assert run_train("-m", *faulty, *typed).code == 2
    assert [row["status"] for row in rows_of(empty)].count("planned") == 3
