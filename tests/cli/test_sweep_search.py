"""`train -m sweep=optuna`, and other launchers: the same folders, the same verdict."""

import csv
import json

import pytest

SMALL = ("model.widths=[8]", "trainer.epochs=4", "trainer.batch_size=128")


def rows_of(folder):
    (sweep,) = (folder / "outputs" / "sweeps").iterdir()
    with (sweep / "sweep.csv").open() as file:
        return list(csv.DictReader(file))


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
def test_submitit_works_on_the_same_folders(run_train, empty):
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher")
    typed = ("-m", "trainer=smoke", "model.widths=[8]", "seed=0,1", "hydra/launcher=submitit_local")
    result = run_train(*typed)
    assert result.code == 0, result.err
    assert [row["status"] for row in rows_of(empty)] == ["finished"] * 2
    again = run_train(*typed[:-1])  # and our own scheduler sees that all is done
    assert "2 jobs, 2 done already" in again.out
