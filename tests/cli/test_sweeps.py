"""`train -m`: planned, run in processes of their own, remembered, compared."""

import csv
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from trainwright.cli import runs
from trainwright.cli.commands.inspect.sweep import find_sweep
from trainwright.cli.terminal.arguments import in_order
from trainwright.config.compose import register_schema
from trainwright.engine.checkpoint import checkpoint

pytestmark = pytest.mark.timeout(1800)  # for a machine that is busy with other things
TRAIN = Path(sys.executable).with_name("train")
QUICK = ("trainer=smoke", "trainer.sample_every=0", "trainer.plots=false", "model.widths=[8]")
GRID = ("-m", *QUICK, "trainer.threads=1", "optimizer.lr=1e-2,1e-3", "run.name=mine")

# Notes what Hydra hands to sweepers; found like any module in the working directory.
NOTE = """
import json
from hydra.experimental.callback import Callback

class Note(Callback):
    def on_job_end(self, config, job_return, **kwargs):
        with open("returned.jsonl", "a") as file:
            file.write(json.dumps(job_return.return_value) + "\\n")
"""

# Says in its second batch that it is there, and waits, if there is a gate.
GATED = """
from pathlib import Path
from trainwright.nn.mlp import MLP

class Gated(MLP):
    def __init__(self, *, input_shape: tuple[int, ...], num_outputs: int):
        super().__init__(input_shape=input_shape, num_outputs=num_outputs, widths=[8])
        self.calls = 0

    def forward(self, inputs):
        self.calls += self.training
        if self.training and self.calls == 2 and Path("gate").exists():
            Path("reached").write_text("x")
            Path("gate").read_text()
        return super().forward(inputs)
"""


@pytest.fixture
def gated(empty):
    (empty / "gated.py").write_text(GATED)
    (empty / "configs" / "model").mkdir(parents=True)
    (empty / "configs" / "model" / "gated.yaml").write_text("_target_: gated.Gated\n")
    return (
        *("model=gated", "trainer.steps=4", "trainer.evaluate_every=2", "trainer.plots=false"),
        "sweep.rehearse=false",
    )


def sweep_of(folder):
    (found,) = (folder / "outputs" / "sweeps").iterdir()
    return found


def table(folder):
    with (sweep_of(folder) / "sweep.csv").open() as file:
        return list(csv.DictReader(file))


def runs_of(folder):
    return sorted(path.parent for path in folder.rglob("summary.json"))


def same_run(one, other):
    """Whether two runs have the same last checkpoint and metrics, to the bit."""
    tensors, others = (
        checkpoint.load(run / "checkpoints" / "last.safetensors")[0] for run in (one, other)
    )
    assert tensors.keys() == others.keys()
    same = all(torch.equal(tensors[name], others[name]) for name in tensors)
    return same and (one / "metrics.jsonl").read_text() == (other / "metrics.jsonl").read_text()


@pytest.fixture(scope="module")
def swept(tmp_path_factory, environment):
    """A folder in which a sweep over two rates and two seeds has been run. Not to be changed."""
    folder = tmp_path_factory.mktemp("swept")
    command = [TRAIN, *GRID, "seed=0,1"]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "sweep: 4 jobs" in done.stdout
    return folder


def test_every_job_has_a_run_and_the_table_ranks_them(swept):
    rows = table(swept)
    assert {(row["optimizer.lr"], row["seed"]) for row in rows} == {
        ("0.01", "0"),
        ("0.01", "1"),
        ("0.001", "0"),
        ("0.001", "1"),
    }
    for row in rows:
        run = sweep_of(swept) / row["folder"]
        summary = json.loads((run / "summary.json").read_text())
        assert row["status"] == summary["status"] == "finished"
        assert float(row["value"]) == summary["best"]["metrics"]["accuracy"]
        assert run.name == f"mine-{row['id']}"
    means = [
        s["mean"][0] for s in json.loads((sweep_of(swept) / "sweep.json").read_text())["settings"]
    ]
    assert means == sorted(means, reverse=True)


def test_a_job_of_a_sweep_is_the_run_that_train_makes(swept, train, tmp_path):
    (row,) = [r for r in table(swept) if (r["optimizer.lr"], r["seed"]) == ("0.001", "1")]
    job = sweep_of(swept) / row["folder"]
    train(tmp_path / "alone", *GRID[1:-2], "optimizer.lr=1e-3", "seed=1")
    assert same_run(job, tmp_path / "alone")


@pytest.mark.slow
def test_pictures_are_drawn_of_runs_that_were_the_best_when_they_ended(run_train, empty):
    assert run_train(*GRID, "seed=0,1", "trainer.plots=true").code == 0
    drawn = [run for run in runs_of(empty) if (run / "plots" / "curves.png").exists()]
    best = max(float(row["value"]) for row in table(empty))
    values = [json.loads((r / "summary.json").read_text())["best"]["metrics"] for r in drawn]
    assert best in [value["accuracy"] for value in values]
    for run in set(runs_of(empty)) - set(drawn):
        assert "no pictures: another run" in (run / "train.log").read_text()


def test_the_verdict_is_there_any_time(swept, monkeypatch, capsys):
    monkeypatch.chdir(swept)
    for name in ("last", str(sweep_of(swept)), "mine", str(runs_of(swept)[0])):
        with pytest.raises(SystemExit) as stop:
            runs.main(["sweep", name])
        assert stop.value.code == 0
        assert "again: train trainer=smoke" in capsys.readouterr().out
    monkeypatch.chdir(sweep_of(swept))
    for words in (["last"], []):
        with pytest.raises(SystemExit) as stop:
            runs.main(["sweep", *words])
        assert stop.value.code == 0
    for folder in (swept, sweep_of(swept)):
        monkeypatch.chdir(folder)
        with pytest.raises(SystemExit) as stop:
            runs.main(["sweep", "nothing"])
        assert stop.value.code == 2


def test_a_sweep_of_just_that_name_is_meant(tmp_path):
    for name in ("rates", "rates-and-widths"):
        (tmp_path / name / ".sweep").mkdir(parents=True)
        (tmp_path / name / ".sweep" / "plan.json").write_text("{}")
    assert find_sweep("rates", tmp_path).path.name == "rates"
    assert find_sweep("widths", tmp_path).path.name == "rates-and-widths"


@pytest.mark.slow
def test_typed_again_with_more_values_it_runs_what_is_new_and_nothing_else(swept, run_train, empty):
    shutil.copytree(swept, empty, dirs_exist_ok=True)
    stamps = {run: (run / "summary.json").stat().st_mtime_ns for run in runs_of(empty)}
    again = run_train(*GRID, "seed=0,1,2", "sweep.rehearse=false")
    assert again.code == 0, again.err
    assert "sweep: 6 jobs, 4 done already" in again.out
    assert len(runs_of(empty)) == 6
    assert all((run / "summary.json").stat().st_mtime_ns == at for run, at in stamps.items())


@pytest.mark.slow
def test_another_sweep_takes_over_the_jobs_that_it_has_in_it(swept, run_train, empty):
    shutil.copytree(swept, empty, dirs_exist_ok=True)
    other = run_train(*GRID[:-2], "run.name=mine", "optimizer.lr=1e-2", "seed=0,1")
    assert "2 jobs, 2 done already" in other.out
    assert len(runs_of(empty)) == 4


@pytest.mark.slow
def test_a_job_in_a_fresh_process_is_the_same_run(swept, run_train, empty):
    assert run_train(*GRID, "seed=0,1", "sweep.isolation=process").code == 0
    assert len(runs_of(empty)) == 4
    for run in runs_of(empty):
        (warm,) = swept.rglob(run.name)
        assert same_run(run, warm)


def test_a_mistake_in_any_job_is_found_before_anything_starts(run_main, empty):
    result = run_main("-m", *QUICK, "trainer.batch_size=16,oops,8,0")
    assert result.code == 2
    said = "trainer.batch_size=oops has a mistake, and so has 1 other; nothing was started"
    assert said in result.err
    assert "trainer.batch_size='oops': it must be a whole number" in result.err
    assert list(empty.iterdir()) == []


@pytest.mark.slow
def test_a_mistake_that_only_a_constructor_knows_is_found_before_anything_starts(run_train, empty):
    result = run_train("-m", *QUICK, "optimizer.lr=1e-3,oops,1e-2,-1")
    assert result.code == 2
    assert "optimizer.lr=oops has a mistake, and so has 1 other" in result.err
    assert "optimizer.lr='oops': it must be a number" in result.err
    assert list(empty.iterdir()) == []


@pytest.mark.slow
def test_a_folder_takes_no_jobs_that_cannot_be_compared_with_its_own(run_train, empty):
    """They would lie at the same points, as further seeds of the same settings."""
    rates = ("-m", *QUICK, "sweep.dir=mine", "sweep.rehearse=false", "optimizer.lr=1e-2,1e-3")
    assert run_train(*rates).code == 0
    before = (empty / "mine" / "sweep.csv").read_text()
    other = run_train(*rates, "trainer.steps=3")
    assert other.code == 2
    assert "sweep.dir=mine holds another sweep: train -m trainer=smoke" in other.err
    assert "what differs: trainer.steps=3\n" in other.err
    assert (empty / "mine" / "sweep.csv").read_text() == before
    more = run_train(*rates, "trainer.batch_size=8,16", "trainer.log_every=3")
    assert "sweep: 4 jobs" in more.out, more.err


@pytest.mark.slow
def test_a_dry_run_leaves_nothing(run_train, empty):
    result = run_train("-m", *QUICK, "seed=0,1,2", "sweep.dry_run=true")
    assert result.code == 0
    assert "sweep: 3 jobs" in result.out
    assert "estimated:" in result.out
    assert list(empty.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_sweep_that_was_stopped_and_typed_again_is_the_sweep_that_was_not(
    number, gated, start_train, run_train, empty
):
    """With Ctrl-C running jobs save first; a killed sweep's jobs notice, and save as well."""
    typed = ("-m", *gated, "seed=0,1,2", "sweep.jobs=1", "trainer.threads=1")
    for name in ("gate", "reached"):
        os.mkfifo(empty / name)
    process = start_train(*typed)
    (empty / "reached").read_text()  # the first job is in its second batch
    process.send_signal(number)
    if number == signal.SIGINT:
        assert "Ctrl-C again to kill" in process.stderr.readline() + process.stderr.readline()
    else:
        process.wait()
    (empty / "gate").write_text("go")
    if number == signal.SIGINT:
        out, _ = process.communicate()
        assert process.returncode == 130
        assert "to go on: train -m" in out
    for name in ("gate", "reached"):
        (empty / name).unlink()
    assert run_train(*typed).code == 0
    resumed = {row["seed"]: row["value"] for row in table(empty)}
    sweep_of(empty).rename(empty / "first")
    (empty / "outputs").rename(empty / "away")
    assert run_train(*typed).code == 0
    assert resumed == {row["seed"]: row["value"] for row in table(empty)}
    for run in runs_of(empty / "outputs"):
        assert same_run(run, empty / "first" / run.name)


@pytest.mark.slow
def test_a_job_whose_newest_checkpoint_is_lost_goes_on_from_another(run_train, empty):
    """Its folder was deleted, with the other checkpoints in it, to begin anew."""
    typed = ("-m", *QUICK, "seed=0,1", "sweep.jobs=1", "sweep.rehearse=false")
    assert run_train(*typed).code == 0
    whole = {run.name: (run / "metrics.jsonl").read_text() for run in runs_of(empty)}
    run = runs_of(empty)[0]
    before = checkpoint.load(run / "checkpoints" / "last.safetensors")[0]
    (run / "checkpoints" / "last.safetensors").unlink()
    state = sweep_of(empty) / ".sweep" / "jobs" / f"{run.name.rpartition('-')[2]}.json"
    for path in (run / "summary.json", state):
        path.write_text(json.dumps(json.loads(path.read_text()) | {"status": "stopped"}))
    assert run_train(*typed).code == 0
    assert "going on from " in (run / "train.log").read_text()
    after = checkpoint.load(run / "checkpoints" / "last.safetensors")[0]
    assert all(torch.equal(after[name], before[name]) for name in before)
    assert {run.name: (run / "metrics.jsonl").read_text() for run in runs_of(empty)} == whole


@pytest.mark.slow
def test_the_commands_that_are_printed_name_the_folder_of_configs_that_was_named(run_train, empty):
    (empty / "named" / "model").mkdir(parents=True)
    (empty / "named" / "model" / "own.yaml").write_text(
        "_target_: trainwright.nn.mlp.MLP\nwidths: [4]\n"
    )
    typed = ("--config-dir=named", "-m", "model=own", *QUICK[:-1], "seed=0,1")
    result = run_train(*typed, "sweep.rehearse=false")
    assert result.code == 0, result.err
    again = shlex.split(re.search(r"^again: train (.*)$", result.out, re.M)[1])
    assert run_train(*again).code == 0
    command = shlex.split(json.loads((sweep_of(empty) / ".sweep/plan.json").read_text())["command"])
    assert "sweep: 2 jobs, 2 done already" in run_train(*command[1:]).out


@pytest.mark.slow
def test_two_sweeps_over_one_folder_share_the_work(start_train, empty):
    typed = ("-m", *QUICK, "seed=range(8)", "sweep.jobs=1", "sweep.rehearse=false")
    processes = [start_train(*typed) for _ in range(2)]
    for process in processes:
        out, err = process.communicate()
        assert process.returncode == 0, err
        assert re.search(r"  8 +[\d.]+ s +finished$", out, re.M), out
    states = [
        json.loads(path.read_text()) for path in (sweep_of(empty) / ".sweep/jobs").glob("*.json")
    ]
    assert [state["attempts"] for state in states] == [1] * 8


def test_a_bug_in_a_sweep_is_not_blamed_on_the_users_configs(run_main, empty):
    (empty / "configs" / "model").mkdir(parents=True)
    (empty / "mine" / ".sweep").mkdir(parents=True)
    line = dict.fromkeys(("id", "number", "name", "point", "overrides", "trial"), 1)
    (empty / "mine" / ".sweep" / "jobs.jsonl").write_text(json.dumps(line))
    result = run_main("-m", *QUICK, "seed=0,1", "sweep.dir=mine", "sweep.rehearse=false")
    assert result.code == 1
    assert "config file" not in result.err
    assert result.err.endswith("error: this is a bug in trainwright or in a class of your own\n")


def test_settings_of_a_sweep_are_refused_without_one(run_main, empty):
    result = run_main("sweep.jobs=2")
    assert result.code == 2
    assert "only `train -m` makes one" in result.err
    assert list(empty.iterdir()) == []


@pytest.mark.parametrize(
    "words",
    [["sweep.trials=5"], ["sweep=random", "sweep.sampler=gp"], ["sweep.prune_factor=4"],
     ["hydra/launcher=submitit_local", "sweep.timeout=9"]],
)  # fmt: skip
def test_a_setting_that_would_have_no_effect_is_refused(words, run_main, empty):
    if "submitit" in words[0]:
        pytest.importorskip("hydra_plugins.hydra_submitit_launcher")
    result = run_main("-m", "seed=0,1", *words)
    assert result.code == 2
    assert "has no effect" in result.err
    assert not list(empty.iterdir())


@pytest.mark.slow
def test_hydras_own_sweeper_can_be_chosen_and_gets_the_best_objective(run_main, empty):
    (empty / "note.py").write_text(NOTE)
    note = ("+hydra.callbacks.note._target_=note.Note", "hydra/sweeper=basic")
    result = run_main("-m", "optimizer.lr=1e-2,oops", *QUICK, *note)
    assert result.code == 2
    assert "error in job 1 (" in result.err
    returned = [json.loads(line) for line in (empty / "returned.jsonl").read_text().splitlines()]
    best = json.loads((runs_of(empty)[0] / "summary.json").read_text())["best"]
    assert returned[0] == best["metrics"]["accuracy"]
    assert returned[1] != returned[1]


def test_epochs_that_are_typed_win_over_the_steps_that_a_model_brings(run_main):
    shown = run_main("model=gan", "--cfg", "job").out
    assert "epochs: null" in shown
    result = run_main(
        *("model=gan", "trainer.epochs=0.1", "trainer.batch_size=16", "trainer.ema=null"),
        *("model.width=4", "run.dir=run", "trainer.score_samples=0", "trainer.plots=false"),
    )
    assert result.code == 0, result.err
    assert "training: 9 steps (0.1 epochs), batches of 16" in result.out


def test_a_key_that_the_usual_options_lack_is_looked_for_in_each_job():
    register_schema()
    typed = ["model=gan,vae", "model.width=16", "task.score=none", "trainer.steps=2"]
    meant = ["model=gan,vae", "model.width=choice(16)", "task.score=choice(none)", typed[-1]]
    assert in_order([*typed, "model.norm=batch,layer", "-m"]) == [
        *meant, "model.norm=batch,layer", "-m",
    ]  # fmt: skip
    one = ["model=gan", "model.width=16", "seed=1,2", "-m"]
    assert in_order(one) == one


@pytest.mark.slow
def test_options_with_keys_of_their_own_are_swept(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    typed = ("-m", "model=flow,vae", "model.width=8", "task.score=none", "data.limit=200",
             "trainer.steps=1", "trainer.threads=1", "trainer.plots=false")  # fmt: skip
    done = subprocess.run([TRAIN, *typed], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "model=vae model.width=8" in done.stdout
