"""The time of a run that was interrupted is that of all its legs."""

import json

import pytest

from trainwright.engine import trainer
from trainwright.engine.checkpoint import checkpoint
from trainwright.run.resume.legs import Leg, Legs, legs_until

RUN = ("data.limit=200", "trainer.batch_size=10", "trainer.steps=30", "model.widths=[8]",
       "trainer.evaluate_every=10", "trainer.save_every=10")  # fmt: skip
TIMES = ("seconds", "examples_per_second", "legs")


def summary(folder):
    return json.loads((folder / "summary.json").read_text())


@pytest.fixture
def stopped(train, monkeypatch, tmp_path):
    """A run that was asked to stop after 17 of its 30 steps."""
    take_step = trainer.train_step

    def then_stop(state, batch, settings):
        if state.step == 16:
            state.stop_reason = "enough"
        return take_step(state, batch, settings)

    with monkeypatch.context() as patch:
        patch.setattr(trainer, "train_step", then_stop)
        train(tmp_path / "run", *RUN)
    return tmp_path / "run"


def test_the_time_and_the_rate_are_those_of_all_legs_and_each_has_its_own(stopped, resume):
    before = summary(stopped)
    (first,) = before["legs"]
    assert (first["begin"], first["end"]) == (0, 17)
    assert first["seconds"] == pytest.approx(before["seconds"], abs=1e-3)
    assert before["seconds"] > 0
    resume(stopped)
    after = summary(stopped)
    assert [(leg["begin"], leg["end"]) for leg in after["legs"]] == [(0, 17), (17, 30)]
    assert after["legs"][0] == first
    of_legs = [leg["seconds"] for leg in after["legs"]]
    assert after["seconds"] == pytest.approx(sum(of_legs), abs=1e-3)
    assert after["total_seconds"] > before["total_seconds"] > before["seconds"]
    for told, steps, seconds in (
        (after, 30, sum(of_legs)),
        (after["legs"][0], 17, of_legs[0]),
        (after["legs"][1], 13, of_legs[1]),
    ):
        assert told["examples_per_second"] == pytest.approx(10 * steps / seconds, abs=0.1)


def test_a_resume_that_finds_nothing_to_do_changes_no_time(train, resume, tmp_path):
    train(tmp_path / "run", *RUN)
    before = summary(tmp_path / "run")
    assert before["seconds"] > 0
    resume(tmp_path / "run")
    after = summary(tmp_path / "run")
    assert {key: after[key] for key in (*TIMES, "total_seconds")} == {
        key: before[key] for key in (*TIMES, "total_seconds")
    }


def test_a_run_that_was_killed_keeps_the_time_up_to_its_checkpoint(stopped, resume):
    """Its summary is that of a run under way: the checkpoint knows."""
    told = summary(stopped)
    left = {key: told[key] for key in told if key not in (*TIMES, "total_seconds", "step")}
    (stopped / "summary.json").write_text(json.dumps({**left, "status": "running"}))
    (saved,) = checkpoint.load(stopped / "checkpoints" / "last.safetensors")[1]["legs"]
    resume(stopped)
    after = summary(stopped)
    assert [(leg["begin"], leg["end"]) for leg in after["legs"]] == [(0, 17), (17, 30)]
    assert after["legs"][0]["seconds"] == saved["seconds"] > 0


def test_a_run_that_goes_on_from_an_earlier_checkpoint_has_no_time_of_what_came_after(
    stopped, resume
):
    resume(stopped / "checkpoints" / "previous.safetensors")
    after = summary(stopped)
    assert [(leg["begin"], leg["end"]) for leg in after["legs"]] == [(0, 10), (10, 30)]


def test_a_run_of_0_1_that_goes_on_keeps_the_time_of_its_last_leg():
    told = {"step": 40, "seconds": 4.0, "total_seconds": 9.0, "resumed": [{"step": 10}]}
    legs = legs_until(40, {}, told)
    assert legs.until(40) == (Leg(10, 40, 4.0),)
    assert legs.total_seconds(40) == 9.0
    assert legs_until(40, {}, {**told, "step": 50}).until(40) == ()


@pytest.mark.parametrize(
    "stored",
    [
        None, "x", 7, [7], [{}], [{"begin": 0, "end": 5}],
        [{"begin": 0, "end": 5, "seconds": None}],
        [{"begin": 0, "end": 5, "seconds": -1}], [{"begin": 5, "end": 5, "seconds": 1}],
        [{"begin": 0, "end": 50, "seconds": 1}], [{"begin": 0, "end": 1e400, "seconds": 1}],
        [{"begin": 0, "end": 5, "seconds": 1}, {"begin": 3, "end": 9, "seconds": 1}],
        [{"begin": True, "end": 5, "seconds": 1}],
    ],
)  # fmt: skip
def test_legs_of_a_stranger_that_cannot_be_are_left_out(stored):
    assert legs_until(40, {"legs": stored}, {"step": 40, "legs": stored}).until(40) == ()


def test_no_leg_is_counted_before_it_has_a_step():
    legs = Legs()
    assert legs.until(0) == ()
    assert legs.summary(0, 8)["seconds"] == 0
