"""The command on several devices: one folder, one log, one end; a dead process costs little."""

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from harness import fingerprint

from trainwright.run.ranks.places import begun_before, first_node, note_folder, place_among_others

TYPED = (
    "data=digits",
    "data.limit=300",
    "model=cnn",
    "model.channels=[4, 8]",
    "model.norm=batch",
    "trainer.steps=120",
    "trainer.evaluate_every=20",
    "trainer.save_every=10",
    "trainer.threads=1",
    "trainer.plots=false",
    "trainer.devices=2",
)
SHARD = "trainer.shard=true"
TRIALS = int(os.environ.get("KILL_TRIALS", "4"))


class Command:
    """`train` in a process of its own; its lines are read as they come."""

    def __init__(self, *typed, cwd, module=("trainwright",)):
        self.process = subprocess.Popen(
            [sys.executable, "-m", *module, *typed],
            cwd=cwd,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.lines = []

    def until(self, pattern):
        for line in self.process.stdout:
            self.lines.append(line)
            if re.search(pattern, line):
                return
        raise AssertionError(f"no {pattern} in:\n{self.text}")

    def end(self):
        with self.process.stdout as stdout:
            self.lines += stdout
        return self.process.wait(timeout=120)

    @property
    def text(self):
        return "".join(self.lines)

    def ranks(self):
        found = []
        for entry in Path("/proc").iterdir():
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                if parent == self.process.pid and b"ranks.rank" in (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
            except (OSError, ValueError, IndexError):
                continue
        return sorted(found)


def test_a_run_on_two_devices_has_one_folder_and_one_log_and_the_other_rank_its_own(tmp_path):
    command = Command(*TYPED, "trainer.steps=6", "run.dir=run", cwd=tmp_path)
    assert command.end() == 0, command.text
    folder = tmp_path / "run"
    assert "2 ranks (gloo, batch normalisation over all)" in command.text
    assert command.text.count("folder: run") == 2  # at the beginning and at the end
    assert [path.name for path in (folder / "ranks").iterdir()] == ["1.log"]
    assert json.loads((folder / "summary.json").read_text())["status"] == "finished"


@pytest.mark.parametrize(
    ("nodes", "first"),
    [
        ("a1", "a1"),
        ("a1,a2", "a1"),
        ("a[1-3,7]", "a1"),
        ("a[01-03],b4", "a01"),
        ("b4,a[1-3]", "b4"),
    ],
)
def test_the_first_node_of_slurms_list_is_where_ranks_meet(nodes, first):
    assert first_node(nodes) == first


def test_processes_that_were_started_together_know_their_place(monkeypatch):
    assert place_among_others() is None
    slurm = {
        "SLURM_PROCID": "3",
        "SLURM_STEP_NUM_TASKS": "8",
        "SLURM_LOCALID": "1",
        "SLURM_STEP_NODELIST": "n[2-5]",
        "SLURM_JOB_ID": "77",
        "SLURM_STEP_ID": "0",
    }
    for name, value in slurm.items():
        monkeypatch.setenv(name, value)
    assert place_among_others() == (3, 8, 1, "n2", 20077, None)
    for name in slurm:
        monkeypatch.delenv(name)
    submitit = {"GLOBALID": "1", "NTASKS": "2", "LOCALID": "1", "JOB_ID": "12345"}
    for name, value in submitit.items():
        monkeypatch.setenv(f"SUBMITIT_LOCAL_{name}", value)
    assert place_among_others() == (1, 2, 1, "127.0.0.1", 22345, None)
    torchrun = {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "0"}
    for name, value in {**torchrun, "MASTER_ADDR": "here", "MASTER_PORT": "99"}.items():
        monkeypatch.setenv(name, value)
    assert place_among_others() == (1, 2, 0, "here", 99, None)


def test_a_world_that_torchrun_starts_again_goes_on_with_its_run(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "0")
    note_folder(tmp_path)
    assert begun_before() is None
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    assert begun_before() is None  # nothing was saved
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "last.safetensors").touch()
    assert begun_before() == str(tmp_path)


def left_alone(folder, *typed):
    """What a run comes to, and how many seconds that takes from when it has a folder."""
    command = Command(*TYPED, *typed, "run.dir=run", cwd=folder)
    command.until("folder: run")
    begun = time.monotonic()
    assert command.end() == 0, command.text
    return fingerprint(folder / "run"), time.monotonic() - begun


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    return left_alone(tmp_path_factory.mktemp("undisturbed"))


@pytest.fixture(scope="module")
def undisturbed(alone):
    return alone[0]


@pytest.fixture(scope="module")
def sharded(tmp_path_factory):
    return left_alone(tmp_path_factory.mktemp("sharded"), SHARD)


@pytest.mark.slow
@pytest.mark.parametrize("trial", range(TRIALS))
@pytest.mark.parametrize("kind", ["alone", "sharded"])
def test_a_rank_killed_at_any_moment_costs_nothing_but_time(trial, kind, request, tmp_path):
    expected, seconds = request.getfixturevalue(kind)
    rng = random.Random(trial)
    typed = (*TYPED, *([SHARD] if kind == "sharded" else []))
    command = Command(*typed, "run.dir=run", cwd=tmp_path)
    command.until("folder: run")
    time.sleep(rng.uniform(0, seconds))  # any moment, also within a save
    ranks = command.ranks()
    if ranks:  # else it has ended
        os.kill(rng.choice(ranks), signal.SIGKILL)
    assert command.end() == 0, command.text
    assert ("restart 1 of 3" in command.text) == bool(ranks), command.text
    assert fingerprint(tmp_path / "run") == expected


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1])
@pytest.mark.parametrize("who", ["command", 0, 1])
def test_a_signal_to_any_process_stops_all_with_one_message(number, who, undisturbed, tmp_path):
    command = Command(*TYPED, "run.dir=run", "trainer.max_restarts=0", cwd=tmp_path)
    command.until(r"step +20 ")
    ranks = command.ranks()
    os.kill(command.process.pid if who == "command" else ranks[who], number)
    begun = time.monotonic()
    assert command.end() == 128 + number, command.text
    assert time.monotonic() - begun < 10
    assert command.text.count("saved step") == 1
    assert not any(Path(f"/proc/{rank}").exists() for rank in ranks)
    again = Command("trainer.resume=run", cwd=tmp_path)
    assert again.end() == 0, again.text
    assert "2 ranks" in again.text
    assert fingerprint(tmp_path / "run") == undisturbed


@pytest.mark.slow
def test_restarts_have_an_end_and_the_way_to_go_on_is_said(tmp_path):
    command = Command(*TYPED, "run.dir=run", "trainer.max_restarts=0", cwd=tmp_path)
    command.until(r"step +20 ")
    os.kill(command.ranks()[1], signal.SIGKILL)
    assert command.end() == 128 + signal.SIGKILL
    assert "error: rank 1 was killed (SIGKILL), after 0 restarts" in command.text
    assert "go on: train trainer.resume=" in command.text
    assert "Traceback" not in command.text


@pytest.mark.slow
def test_a_rank_that_hangs_is_named_and_all_begin_again(undisturbed, tmp_path):
    command = Command(*TYPED, "run.dir=run", "trainer.rank_timeout=3", cwd=tmp_path)
    command.until(r"step +20 ")
    os.kill(command.ranks()[1], signal.SIGSTOP)
    assert command.end() == 0, command.text
    assert "rank 1 hangs, and does not say where (trainer.rank_timeout): restart 1" in command.text
    assert fingerprint(tmp_path / "run") == undisturbed


HANGING = """
import time
from trainwright.engine.hook import Hook

class Hanging(Hook):
    def due(self, step, total):
        return step == 2

    def __call__(self, state, metrics):
        time.sleep(1000)
"""


@pytest.mark.slow
def test_where_a_rank_hangs_is_said(tmp_path):
    (tmp_path / "of_mine.py").write_text(HANGING)
    typed = ("+hooks.mine={_target_:of_mine.Hanging}", "trainer.rank_timeout=3")
    command = Command(*TYPED, *typed, "trainer.max_restarts=0", "run.dir=run", cwd=tmp_path)
    assert command.end() == 128 + signal.SIGKILL
    assert re.search(r'rank 0 hangs, at ".*of_mine.py", line 10 in __call__', command.text)
    assert "go on: train trainer.resume=" in command.text


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
def test_a_second_ctrl_c_does_not_wait_for_a_rank_that_hangs(tmp_path, rank):
    command = Command(*TYPED, "run.dir=run", cwd=tmp_path)
    command.until(r"step +20 ")
    os.kill(command.ranks()[rank], signal.SIGSTOP)
    command.process.send_signal(signal.SIGINT)
    if rank:
        command.until("Ctrl-C again")
    else:
        time.sleep(0.5)  # it cannot say so, and two signals at once are one
    command.process.send_signal(signal.SIGINT)
    assert command.end() == 128 + signal.SIGINT, command.text
    assert "stopped at once" in command.text  # by rank 0, or where it cannot in its place
    assert "go on: train trainer.resume=" in command.text
    assert not command.ranks()


@pytest.mark.slow
def test_one_process_speaks_in_short_or_in_events(tmp_path):
    typed = (*TYPED, "trainer.steps=6")
    quiet = Command(*typed, "--quiet", cwd=tmp_path)
    assert quiet.end() == 0
    assert len(quiet.lines) == 1, quiet.text
    told = Command(*typed, "trainer.events=json", cwd=tmp_path)
    assert told.end() == 0
    events = [json.loads(line)["event"] for line in told.lines if line.startswith("{")]
    assert events.count("start") == events.count("finish") == 1
    steps = [json.loads(line)["step"] for line in told.lines if '"event": "metrics"' in line]
    assert steps == sorted(set(steps))


@pytest.mark.slow
def test_what_a_rank_that_follows_fails_with_is_said_once(own_rows, tmp_path, monkeypatch):
    monkeypatch.setenv("RANK_ONE_FAILS", "1")
    typed = (own_rows, "model=mlp", "trainer.steps=5", "trainer.devices=2", "trainer.plots=false")
    command = Command(*typed, cwd=tmp_path)
    assert command.end() == 3
    assert command.text.count("error: ") == 1, command.text
    assert "no rows for rank 1" in command.text


@pytest.mark.slow
def test_jobs_of_a_sweep_have_ranks_of_their_own(undisturbed, tmp_path):
    sweep = ("-m", "hydra/sweeper=trainwright", "seed=0,1", "sweep.jobs=2")
    command = Command(*sweep, *TYPED, cwd=tmp_path)
    assert command.end() == 0, command.text
    assert "at once: 2, 1 thread each" in command.text
    runs = sorted(path.parent for path in tmp_path.glob("outputs/**/summary.json"))
    assert len(runs) == 2, command.text
    for run in runs:
        assert [path.name for path in (run / "ranks").iterdir()] == ["1.log"]
        assert json.loads((run / "summary.json").read_text())["status"] == "finished"
    assert undisturbed in [fingerprint(run) for run in runs]  # that of the same seed


# Two tasks with what Slurm tells them; what it says of the job is written down.
SRUN = """#!/bin/bash
export SLURM_STEP_NUM_TASKS=2 SLURM_STEP_NODELIST=127.0.0.1 SLURM_STEP_ID=0
for rank in 0 1; do SLURM_PROCID=$rank SLURM_LOCALID=$rank "$@" & echo $! >>tasks; done
code=0; for task in $(jobs -p); do wait $task || code=$?; done; exit $code
"""
SCONTROL = '#!/bin/bash\necho "$@" >>asked\n'


@pytest.mark.slow
def test_the_script_for_slurm_requeues_a_job_that_loses_its_machines_and_goes_on(tmp_path):
    page = (Path(__file__).parents[2] / "docs" / "distributed.md").read_text()
    script = re.search(r"    #!/bin/bash\n(?:    .*\n)+", page)[0].replace("\n    ", "\n").strip()
    assert "model=resnet data=cifar10" in script
    small = " ".join(f"'{line}'" for line in TYPED if "devices" not in line)
    script = script.replace("model=resnet data=cifar10", small)
    for name, text in {"job": script, "srun": SRUN, "scontrol": SCONTROL}.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    path = os.pathsep.join([str(tmp_path), str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {**os.environ, "PATH": path, "SLURM_JOB_ID": str(os.getpid())}

    def job(until=None):
        process = subprocess.Popen(
            ["bash", "job"], cwd=tmp_path, env=environment, text=True, bufsize=1,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        lines = []
        with process.stdout:
            for line in process.stdout:
                lines.append(line)
                if until is not None and re.search(until, line):
                    until = None
                    for task in (tmp_path / "tasks").read_text().split():
                        os.kill(int(task), signal.SIGUSR1)
        return process.wait(), "".join(lines)

    code, text = job(until=r"step +20 ")
    assert code == 128 + signal.SIGUSR1, text
    assert (tmp_path / "asked").read_text() == f"requeue {os.getpid()}\n"
    code, text = job()
    assert code == 0, text
    assert re.search(r"resum|go(es|ing) on|from step", text), text
    assert json.loads((tmp_path / "outputs/resnet/summary.json").read_text())["step"] == 120
    assert (tmp_path / "asked").read_text().count("requeue") == 1


@pytest.mark.slow
@pytest.mark.parametrize("sweeper", ["trainwright", "basic"])
def test_a_launcher_of_several_tasks_has_them_share_each_job(sweeper, tmp_path):
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher")
    sweep = ("-m", f"hydra/sweeper={sweeper}", "seed=0,1", "hydra/launcher=submitit_local")
    typed = (*TYPED, "trainer.steps=6", "hydra.launcher.tasks_per_node=2")
    for _ in range(2 if sweeper == "trainwright" else 1):  # where there is no more to do, too
        command = Command(*sweep, *typed, cwd=tmp_path)
        assert command.end() == 0, command.text
    runs = [path.parent for path in tmp_path.rglob("summary.json")]
    assert len(runs) == 2
    for run in runs:
        assert [path.name for path in (run / "ranks").iterdir()] == ["1.log"]
        assert json.loads((run / "summary.json").read_text())["status"] == "finished"


@pytest.mark.slow
def test_why_a_rank_of_a_job_has_failed_is_in_the_table(own_rows, tmp_path, monkeypatch):
    monkeypatch.setenv("RANK_ONE_FAILS", "1")
    sweep = ("-m", "hydra/sweeper=trainwright", "seed=0")
    typed = (own_rows, "model=mlp", "trainer.steps=5", "trainer.devices=2", "trainer.plots=false")
    command = Command(*sweep, *typed, "trainer.threads=1", cwd=tmp_path)
    assert command.end() != 0
    assert "no rows for rank 1" in command.text


@pytest.mark.slow
def test_torchrun_starts_ranks_that_find_each_other(tmp_path):
    module = ("torch.distributed.run", "--nproc-per-node=2", "-m", "trainwright")
    typed = [line for line in TYPED if "devices" not in line]
    command = Command(*typed, "trainer.steps=4", "run.dir=run", cwd=tmp_path, module=module)
    assert command.end() == 0, command.text
    assert "2 ranks (gloo" in command.text
    assert command.text.count("best: step") == 1
