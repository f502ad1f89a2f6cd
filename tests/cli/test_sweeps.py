"""`train -m`: every job its own folder, a bad one sinks no other, the objective is returned."""

import json

QUICK = ("trainer=smoke", "trainer.sample_every=0")

# Notes what Hydra hands to sweepers; found like any module in the working directory.
NOTE = """
import json
from hydra.experimental.callback import Callback

class Note(Callback):
    def on_job_end(self, config, job_return, **kwargs):
        with open("returned.jsonl", "a") as file:
            file.write(json.dumps(job_return.return_value) + "\\n")
"""


def runs_of(folder):
    return sorted(path.parent for path in folder.rglob("summary.json"))


def test_every_job_has_a_folder_and_the_bad_one_sinks_no_other(run_main, empty):
    result = run_main("-m", "model.widths=[8]", "optimizer.lr=1e-3,oops,1e-2", *QUICK)
    assert result.code == 2
    assert "error in job 1 (" in result.err
    assert "optimizer.lr='oops'" in result.err
    runs = runs_of(empty)
    assert [run.name for run in runs] == ["0-mlp-digits", "2-mlp-digits"]
    assert len({run.parent for run in runs}) == 1
    for run in runs:
        assert json.loads((run / "summary.json").read_text())["status"] == "finished"


def test_the_exit_code_is_that_of_the_first_job_that_failed(run_main, empty):
    explodes = ["optimizer=sgd", "model.widths=[8]", *QUICK]
    assert run_main("-m", *explodes, "optimizer.lr=1e30,oops").code == 5
    assert run_main("-m", *explodes, "optimizer.lr=oops,1e30").code == 2


def test_sweepers_are_given_the_best_objective_and_nan_for_a_failure(run_main, empty):
    (empty / "note.py").write_text(NOTE)
    note = "+hydra.callbacks.note._target_=note.Note"
    run_main("-m", "model.widths=[8]", "optimizer.lr=1e-2,oops", *QUICK, note)
    returned = [json.loads(line) for line in (empty / "returned.jsonl").read_text().splitlines()]
    best = json.loads((runs_of(empty)[0] / "summary.json").read_text())["best"]
    assert returned[0] == best["metrics"]["accuracy"]
    assert returned[1] != returned[1]


def test_a_sweep_of_which_no_job_can_start_leaves_nothing(run_main, empty):
    assert run_main("-m", "trainer.epochs=ten,eleven").code == 2
    assert list(empty.iterdir()) == []


def test_epochs_that_are_typed_win_over_the_steps_that_a_model_brings(run_main):
    shown = run_main("model=gan", "--cfg", "job").out
    assert "epochs: null" in shown
    result = run_main(
        *("model=gan", "trainer.epochs=0.1", "trainer.batch_size=16", "trainer.ema=null"),
        *("model.width=4", "run.dir=run"),
    )
    assert result.code == 0, result.err
    assert "steps: 9 of 16 (0.1 epochs)" in result.out
