"""`train -m sweep=optuna`, and other launchers: the same folders, the same verdict."""

import csv
import json

import pytest

pytestmark = pytest.mark.timeout(1800)  # for a machine that is busy with other things
SMALL = ("model.widths=[8]", "trainer.epochs=4", "trainer.batch_size=128")


def rows_of(folder):
    (sweep,) = (folder / "outputs" / "sweeps").iterdir()
    with (sweep / "sweep.csv").open() as file:
        return list(csv.DictReader(file))


def test_a_search_runs_as_many_jobs_at_once_as_it_has_trials(run_main):
    """And not as many as were composed to see whether they can be."""
    pytest.importorskip("optuna")
    search = ("sweep=optuna", "optimizer.lr=interval(1e-4,1e-1)", "sweep.jobs=3")
    known = ("sweep.rehearse=false", "sweep.metric=accuracy", "sweep.mode=max")
    for trials, num_at_once in ((7, 3), (2, 2)):
        typed = ("-m", *search, *known, f"sweep.trials={trials}", "sweep.dry_run=true")
        assert f"at once: {num_at_once}," in run_main(*typed).out


@pytest.mark.slow
def test_a_search_with_pruning_stops_the_hopeless_and_keeps_their_checkpoints(run_train, empty):
    pytest.importorskip("optuna")
    rate = "optimizer.lr=tag(log,interval(1e-5,1e-1))"
    typed = ("-m", *SMALL, "sweep=optuna", "sweep.trials=6", rate, "sweep.prune=halving")
    result = run_train(*typed, "sweep.jobs=1")
    assert result.code == 0, result.err
    rows = rows_of(empty)
    assert len(rows) == 6
    assert {row["status"] for row in rows} == {"finished", "pruned"}
    for row in rows:
        (run,) = empty.rglob(row["folder"])
        summary = json.loads((run / "summary.json").read_text())
        assert summary["status"] == row["status"]
        assert (run / "checkpoints" / "last.safetensors").exists()
        if row["status"] == "pruned":
            assert summary["step"] < summary["steps"]
    # Typed again without pruning, those that were stopped go on from where they are.
    grid = ("-m", *SMALL, "optimizer.lr=1e-2,1e-3,1e-5", "sweep.jobs=1")
    assert run_train(*grid, "sweep.prune=halving", "sweep.dir=grid").code == 0
    logs = [path.read_text() for path in (empty / "grid").rglob("train.log")]
    assert any("pruned: not among the best 1/3" in log for log in logs)
    assert run_train(*grid, "sweep.dir=grid").code == 0
    with (empty / "grid" / "sweep.csv").open() as file:
        assert [row["status"] for row in csv.DictReader(file)] == ["finished"] * 3
    logs = [path.read_text() for path in (empty / "grid").rglob("train.log")]
    assert any("resumed at step" in log for log in logs)


@pytest.mark.slow
@pytest.mark.parametrize("sampler", ["cmaes", "gp"])
def test_a_search_by_another_sampler_runs_to_its_verdict(sampler, run_train, empty):
    """Twelve trials: the first ten of either are drawn at random."""
    pytest.importorskip("optuna")
    rates = ("optimizer.lr=tag(log,interval(1e-5,1e-1))", "model.dropout=interval(0,0.5)")
    result = run_train(
        *("-m", "trainer=smoke", "model.widths=[8]", "trainer.plots=false", "sweep=optuna"),
        *("sweep.trials=12", f"sweep.sampler={sampler}", "sweep.jobs=1", *rates),
    )
    assert result.code == 0, result.err
    assert [row["status"] for row in rows_of(empty)] == ["finished"] * 12
    assert len({row["optimizer.lr"] for row in rows_of(empty)}) == 12


@pytest.mark.slow
def test_a_search_by_two_metrics_has_a_front(run_train, empty):
    pytest.importorskip("optuna")
    typed = ("-m", "trainer=smoke", "sweep=optuna", "sweep.trials=6", "trainer.plots=false")
    ranked = ("sweep.metric=[accuracy,parameters]", "sweep.mode=[max,min]")
    result = run_train(*typed, *ranked, "model.widths=[4],[64]", "optimizer.lr=interval(1e-3,1e-1)")
    assert result.code == 0, result.err
    rows = rows_of(empty)
    points = [(float(row["value"]), float(row["parameters"])) for row in rows]
    for row, (accuracy, size) in zip(rows, points, strict=True):
        beaten = any(a >= accuracy and s <= size and (a, s) != (accuracy, size) for a, s in points)
        assert row["front"] == ("no" if beaten else "yes")
    assert "Pareto front: " in result.out
    assert "best accuracy: " in result.out
    assert "best parameters: model.widths=[4]" in result.out
    assert next(empty.rglob("front.png")).stat().st_size > 1000


@pytest.mark.slow
def test_two_commands_at_once_work_on_one_study(start_train, empty):
    pytest.importorskip("optuna")
    typed = ("-m", "trainer=smoke", "model.widths=[8]", "trainer.plots=false", "sweep=optuna")
    search = ("sweep.trials=8", "sweep.jobs=1", "optimizer.lr=tag(log,interval(1e-5,1e-1))")
    processes = [start_train(*typed, *search, "sweep.storage=sqlite:///study.db") for _ in range(2)]
    for process in processes:
        _, err = process.communicate()
        assert process.returncode == 0, err
    states = [json.loads(path.read_text()) for path in empty.rglob(".sweep/jobs/*.json")]
    assert [(state["status"], state["attempts"]) for state in states] == [("finished", 1)] * 8


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("sweep=optuna", "sweep.sampler=cmaes"), "cmaes searches by one metric"),
        (("sweep.prune=median",), "by one metric that they log"),
    ],
)
def test_what_takes_one_metric_alone_is_refused_several(words, says, run_main, empty):
    ranked = ("sweep.metric=[accuracy,loss]", "sweep.mode=[max,min]")
    result = run_main("-m", "optimizer.lr=1e-3,1e-2", *ranked, *words)
    assert result.code == 2
    assert says in result.err
    assert list(empty.iterdir()) == []


def test_each_metric_needs_a_mode(run_main, empty):
    result = run_main("-m", "seed=0,1", "sweep.metric=[accuracy,loss]", "sweep.mode=max")
    assert result.code == 2
    assert "a mode for each metric" in result.err


@pytest.mark.slow
def test_a_metric_that_no_job_logs_is_named_with_the_nearest_and_costs_no_training(run_train):
    typed = ("-m", "seed=0,1", "trainer=smoke", "trainer.plots=false", "sweep.mode=max")
    wrong = run_train(*typed, "sweep.metric=acuracy")
    assert "no job has logged validation/acuracy; did you mean validation/accuracy?" in wrong.out
    right = run_train(*typed, "sweep.metric=accuracy")
    assert "2 done already" in right.out
    assert "no job has logged" not in right.out


@pytest.mark.slow
def test_submitit_works_on_the_same_folders(run_train, empty):
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher")
    typed = ("-m", "trainer=smoke", "model.widths=[8]", "seed=0,1", "hydra/launcher=submitit_local")
    result = run_train(*typed)
    assert result.code == 0, result.err
    assert [row["status"] for row in rows_of(empty)] == ["finished"] * 2
    again = run_train(*typed[:-1])  # and our own scheduler sees that all is done
    assert "2 jobs, 2 done already" in again.out
