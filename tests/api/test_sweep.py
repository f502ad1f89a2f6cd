"""A sweep from Python is that of `train -m`."""

import json
import threading

import pytest

import trainwright as tw

WORDS = ("optimizer.lr=1e-4,1e-2", "trainer.steps=8", "trainer.threads=1", "trainer.plots=false",
         "data.limit=300", "sweep.rehearse=false", "sweep.jobs=1")  # fmt: skip


@pytest.mark.slow
def test_it_says_what_the_sweep_has_written_and_goes_on_in_a_thread(program, capfd):
    sweep = tw.sweep(*WORDS, "seed=0,1")
    written = json.loads((sweep.path / "sweep.json").read_text())
    assert written["settings"][0]["point"] == {"optimizer.lr": "0.01"}
    assert sweep.table["optimizer.lr"].tolist() == [0.01, 0.0001]
    means = [setting["mean"][0] for setting in written["settings"]]
    assert sweep.table["validation/accuracy"].tolist() == means
    assert sweep.best.metrics["validation/accuracy"] >= means[0]
    assert sweep.best.config["optimizer"]["lr"] == 0.01
    assert sweep.verdict.splitlines()[0] == "best: optimizer.lr=0.01"
    assert sweep.verdict in capfd.readouterr().out
    assert tw.load_sweep("last").path == sweep.path

    again = threading.Thread(target=tw.sweep, args=(*WORDS, "seed=0,1,2"))
    again.start()
    again.join()
    assert sweep.table["seeds"].tolist() == [3, 3]
    assert len(sweep.runs) == 6
    assert [run.status for run in sweep.runs] == ["finished"] * 6


def test_what_is_refused_is_told_before_any_job(program):
    with pytest.raises(tw.ConfigError, match=r"there is no such key; did you mean optimizer\.lr"):
        tw.sweep("optimizer.l=1,2")
    with pytest.raises(tw.ConfigError, match=r"-m: flags are for the shell"):
        tw.sweep("-m", "seed=0,1")
