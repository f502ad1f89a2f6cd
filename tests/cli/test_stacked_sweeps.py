"""`train -m sweep.stack=on`: the sweep that it would be without, in fewer steps of the program."""

import contextlib
import json
import os
import signal
import time

import pytest
import torch

from trainwright.engine.checkpoint import checkpoint

SMALL = ("model.widths=[16]", "trainer.precision=fp32", "trainer.threads=1")


def runs_of(folder):
    """The runs of the one sweep in a folder, by what was swept."""
    (sweep,) = (folder / "outputs" / "sweeps").iterdir()
    lines = [line for line in (sweep / ".sweep" / "jobs.jsonl").read_text().splitlines() if line]
    found = {}
    for line in map(json.loads, lines):
        label = " ".join(f"{key}={value}" for key, value in line["point"].items())
        found[label] = sweep / f"{line['name']}-{line['id']}"
    return found


def last(run):
    return checkpoint.load(run / "checkpoints" / "last.safetensors")[0]


def rows(run):
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def states(folder):
    for path in (folder / "outputs" / "sweeps").glob("*/.sweep/jobs/*.json"):
        with contextlib.suppress(ValueError, FileNotFoundError):
            yield json.loads(path.read_text())


@pytest.mark.parametrize(
    "words",
    [["sweep.timeout=9"], ["sweep.rehearse=false"], ["sweep=optuna", "optimizer.lr=1e-3,1e-2"]],
)
def test_what_does_not_go_with_stacking_is_refused(words, run_main, empty):
    result = run_main("-m", "seed=0,1", "sweep.stack=on", *words)
    assert result.code == 2
    assert "sweep.stack does not go with" in result.err
    assert not list(empty.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("optimizer.lr=1e-3,-1", "the job optimizer.lr=-1 has a mistake; nothing was started"),
        ("model.dropout=0.1,oops", "model.dropout='oops': it must be a number"),
        ("model.dropout=0.1,null", "model.dropout=None: it must be a number"),
        ("model=mlp_gan task.r1=0,oops", "task.r1='oops': it must be"),
    ],
)
def test_a_mistake_in_what_members_may_differ_in_is_told_as_without_stacks(
    words, says, run_main, empty
):
    told = []
    for stack in ("auto", "off"):
        result = run_main("-m", *words.split(), "trainer.steps=9", f"sweep.stack={stack}")
        assert result.code == 2
        told.append(result.err[result.err.index("error") :])  # after a line of a slow machine
    assert told[0] == told[1]
    assert says in told[0]
    assert not list(empty.iterdir())


@pytest.mark.slow
def test_the_plan_says_what_is_stacked_and_why_the_rest_is_not(run_train, empty):
    typed = ("-m", *SMALL, "trainer.epochs=1", "sweep.dry_run=true", "sweep.stack=on")
    several = run_train(*typed, "model.widths=[16],[8]", "seed=0,1,2,3", "sweep.jobs=2")
    assert "stacked: 8 jobs in 4 stacks of 2" in several.out
    apart = run_train(*typed, "model.widths=[16],[8]")
    assert "alone: 2 jobs: no other has the same network, data, task and length" in apart.out
    parts = run_train(*typed, "trainer.accumulate=2", "seed=0,1")
    assert "alone: 2 jobs: trainer.accumulate computes a batch in parts" in parts.out


@pytest.mark.slow
def test_auto_measures_once_keeps_that_and_goes_by_it(run_train, empty, tmp_path):
    typed = ("-m", *SMALL, "trainer.steps=20", "sweep.stack=auto", "seed=0,1,2", "sweep.jobs=1")
    cache = {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    assert run_train(*typed, "sweep.dry_run=true", **cache).code == 0
    (kept,) = (tmp_path / "cache" / "trainwright" / "stacks").iterdir()
    found = json.loads(kept.read_text())
    assert found["refused"] is None
    assert found["speedup"] > 0
    # Kept, and gone by: so what is written there decides.
    kept.write_text(json.dumps({"speedup": 0.625, "refused": None}))
    slower = run_train(*typed, "sweep.dry_run=true", **cache)
    assert "alone: 3 jobs: 0.62 times as fast if stacked, as measured here" in slower.out
    # What cannot be read is measured again.
    kept.write_text("{")
    assert run_train(*typed, "sweep.dry_run=true", **cache).code == 0
    assert json.loads(kept.read_text())["speedup"] > 0
    kept.write_text(json.dumps({"speedup": 2.5, "refused": None}))
    faster = run_train(*typed, **cache)
    assert faster.code == 0, faster.err
    assert "stacked: 3 jobs in 1 stack of 3, 2.5 times as fast" in faster.out
    assert all("stacked" in json.loads((run / "summary.json").read_text())["placement"]
               for run in runs_of(empty).values())  # fmt: skip


@pytest.mark.slow
def test_a_stacked_sweep_leaves_the_runs_that_it_leaves_without(run_train, empty):
    """Runs that differ in the learning rate, some of which are stopped early."""
    typed = (
        *("-m", *SMALL, "trainer.epochs=3", "model.dropout=0.2", "optimizer.lr=1e-3,3e-3"),
        *("trainer.early_stopping.patience=null,1", "trainer.early_stopping.min_delta=1"),
    )
    result = run_train(*typed, "sweep.stack=on")
    assert result.code == 0, result.err
    assert "stacked: 4 jobs in 2 stacks of 2" in result.out
    (empty / "outputs").rename(empty / "first")
    assert run_train(*typed).code == 0
    steps = set()
    for alone in runs_of(empty).values():
        (run,) = (empty / "first").rglob(alone.name)
        mine, theirs = last(run), last(alone)
        assert mine.keys() == theirs.keys()
        for name, value in mine.items():
            # To the last digits tests/stack holds it, in float64. Here 1e-5 is 80 roundings of
            # float32; products that are all 4 roundings off move these weights by half a one.
            assert torch.allclose(value, theirs[name], rtol=1e-4, atol=1e-5), name
        assert [row["step"] for row in rows(run)] == [row["step"] for row in rows(alone)]
        assert {path.name for path in run.iterdir()} == {path.name for path in alone.iterdir()}
        summary = json.loads((run / "summary.json").read_text())
        other = json.loads((alone / "summary.json").read_text())
        assert summary["status"] == "finished"
        assert summary["stopped_because"] == other["stopped_because"]
        assert "stacked" in summary["placement"]
        assert "stacked" not in other["placement"]
        steps.add(summary["step"])
        # What is told of one run is in its log, and nothing of others.
        log = (run / "train.log").read_text()
        assert log.count("computing on:") == 1
        assert log.count("test (best weights)") == 1
    assert len(steps) == 2


@pytest.mark.slow
@pytest.mark.parametrize("whom", ["the stacks", "everything", "none, but Ctrl-C"])
def test_a_stack_that_was_killed_goes_on_to_the_bit(whom, start_train, run_train, empty):
    """Killed, a stack goes on by halves, as if memory had run out; killed with all, when typed."""
    typed = ("-m", *SMALL, "seed=range(6)", "trainer.epochs=60", "sweep.stack=on", "sweep.jobs=1")
    assert run_train(*typed).code == 0
    (empty / "outputs").rename(empty / "first")
    process = start_train(*typed)
    deadline = time.monotonic() + 100
    while time.monotonic() < deadline:
        if len(list((empty / "outputs").rglob("last.safetensors"))) == 6:
            break
        time.sleep(0.01)
    running = {state["pid"] for state in states(empty) if state["status"] == "running"}
    assert len(running) == 1  # six jobs in one process, none of them done
    if whom == "none, but Ctrl-C":
        process.send_signal(signal.SIGINT)
    else:
        if whom == "everything":
            process.kill()
        os.kill(running.pop(), signal.SIGKILL)
    out, _ = process.communicate(timeout=200)
    if whom != "the stacks":
        assert all(state["status"] in ("running", "stopped") for state in states(empty))
        again = run_train(*typed)
        assert again.code == 0
        assert "6 to go on with" in again.out
    else:
        assert process.returncode == 0
        assert "now half as many" in out
    for run in runs_of(empty).values():
        (other,) = (empty / "first").rglob(run.name)
        mine, theirs = last(run), last(other)
        assert all(torch.equal(mine[name], theirs[name]) for name in theirs)
        assert rows(run) == rows(other)


@pytest.mark.slow
def test_who_diverges_or_is_pruned_leaves_the_stack_and_the_others_go_on(run_train, empty):
    result = run_train(
        *("-m", *SMALL, "seed=0,1,2", "optimizer.lr=1e-2,1e-9,1e38", "trainer.epochs=4"),
        *("sweep.stack=on", "sweep.jobs=1", "sweep.prune=halving"),
    )
    assert result.code == 5
    found = {}
    for label, run in runs_of(empty).items():
        summary = json.loads((run / "summary.json").read_text())
        found[label] = summary["status"]
    assert {found[f"seed={s} optimizer.lr=1e+38"] for s in range(3)} == {"failed"}
    assert "finished" in found.values()
    assert "pruned" in found.values()


@pytest.mark.slow
def test_a_member_goes_on_alone_and_says_that_it_rounds_otherwise(run_train, empty):
    short = ("-m", *SMALL, "seed=0,1", "trainer.steps=20", "sweep.stack=on", "sweep.jobs=1")
    assert run_train(*short).code == 0
    run = runs_of(empty)["seed=0"]
    longer = ("trainer.steps=30", "trainer.schedule_until=100%")
    result = run_train(f"trainer.resume={run}", *longer)
    assert result.code == 0, result.err
    assert "not bit-exact: steps stacked -> alone" in result.out
    assert [row["step"] for row in rows(run)][-1] == 30


@pytest.mark.slow
def test_gans_are_stacked_and_leave_their_samples(run_train, empty):
    result = run_train(
        *("-m", "model=mlp_gan", "data=digits", "seed=0,1,2", "trainer.epochs=1"),
        *("trainer.score_samples=0", "sweep.stack=on", "sweep.jobs=1"),
    )
    assert result.code == 0, result.err
    assert "stacked: 3 jobs in 1 stack of 3" in result.out
    for run in runs_of(empty).values():
        assert list((run / "samples").glob("*.png"))
        assert {"train/discriminator/loss", "train/generator/loss"} <= rows(run)[-1].keys()
