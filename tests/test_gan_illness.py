"""Each illness, provoked in a real game, is found; what goes well is left alone."""

import dataclasses
import json

import pytest
import torch

from trainwright.engine.trainer import fit
from trainwright.errors import IllError
from trainwright.hooks.evaluate import Evaluate
from trainwright.hooks.health import HealthCheck

SMALL = ("model=gan", "model.width=4", "trainer.batch_size=32", "trainer.ema=null",
         "trainer.precision=fp32", "schedule=constant", "trainer.steps=150",
         "data.limit=600", "task.score=none")  # fmt: skip
PLAIN = ("task.relativistic=false", "task.r1=0")  # the game of the paper, which is easily upset
EVERY = 30


def play(assembly, interfere=None):
    """Train, with a look every 30 steps; `interfere` is called after 90. What was found when."""
    state = assembly.state
    check = HealthCheck(every=EVERY, on_ill="warn")
    validation = assembly.make_batches(assembly.dataset.validation)
    hooks = [Evaluate(validation, every=EVERY, batch_size=500), check]
    if interfere is not None:
        whole, state.clock = state.clock, state.clock.__class__(
            num_examples=state.clock.num_examples, batch_size=32, total_steps=90
        )  # fmt: skip
        fit(state, assembly.train, hooks, assembly.settings)
        state.clock = whole
        interfere(state)
    fit(state, assembly.train, hooks, assembly.settings)
    return check.course


def found(course, word):
    return [step for words, steps in course.items() if word in words for step in steps]


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_a_game_that_goes_well_is_left_alone(assembled, seed):
    course = play(assembled(*SMALL, f"seed={seed}"))
    assert course == {"healthy": [30, 60, 90, 120, 150]}


def test_a_discriminator_that_learns_a_hundred_times_as_fast_wins(assembled):
    course = play(assembled(*SMALL, *PLAIN, "optimizer.players.discriminator.lr=0.1"))
    assert found(course, "discriminator wins")
    assert not found(course, "generator wins")


@pytest.mark.slow
def test_against_a_generator_that_stands_still_the_discriminator_wins(assembled):
    course = play(assembled(*SMALL, "optimizer.players.generator.lr=0"))
    assert 150 in found(course, "discriminator wins")
    assert not found(course, "generator wins")


@pytest.mark.slow
def test_against_a_discriminator_that_stands_still_the_generator_wins(assembled):
    course = play(assembled(*SMALL, "optimizer.players.discriminator.lr=0"))
    assert {60, 90, 120, 150} <= set(found(course, "generator wins"))
    assert not found(course, "discriminator wins")


@pytest.mark.slow
def test_a_generator_that_draws_but_one_image_has_collapsed(assembled):
    assembly = assembled(*SMALL, "optimizer.players.generator.lr=0")
    torch.nn.init.zeros_(assembly.state.task.model.generator.body[-1].weight)
    course = play(assembly)
    assert {60, 90, 120, 150} <= set(found(course, "collapsing"))


@pytest.mark.slow
def test_a_class_of_which_there_is_but_one_image_is_named(assembled):
    """From the 91st step on the latents do nothing for the class `3`, and all for the others."""

    def forget_three(state):
        modulation = state.task.model.generator.modulation.by_class.weight
        with torch.no_grad():
            modulation[3, : modulation.shape[1] // 2] = -1  # a gain of 1 - 1: the bias is left

    assembly = assembled(
        *SMALL, "optimizer.players.generator.lr=0", "optimizer.players.discriminator.lr=0"
    )
    play(assembly, interfere=forget_three)
    reasons = {ailment.name: ailment.because for ailment in assembly.state.health.ailments}
    assert "all alike: " in reasons["collapsing"]
    assert "3" in reasons["collapsing"].split("all alike: ")[1].split(", ")


@pytest.mark.slow
def test_a_class_that_is_no_longer_drawn_is_named_by_the_score(assembled):
    """After 1,500 real steps it draws a nought for a three, and learns no more."""
    assembly = assembled("model=gan", "trainer.ema=null", "trainer.steps=1800",
                         "trainer.score_samples=500")  # fmt: skip
    state, whole = assembly.state, assembly.state.clock
    check = HealthCheck(every=100, on_ill="warn")
    validation = assembly.make_batches(assembly.dataset.validation)
    hooks = [Evaluate(validation, every=100, batch_size=500), check]
    state.clock = dataclasses.replace(whole, total_steps=1500)
    fit(state, assembly.train, hooks, assembly.settings)
    assert 1500 in found(check.course, "healthy")

    modulation = state.task.model.generator.modulation.by_class.weight
    with torch.no_grad():
        modulation[3] = modulation[0]
    state.recovery.lr_scale = 0.0
    state.clock = whole
    fit(state, assembly.train, hooks, assembly.settings)
    assert 1800 in found(check.course, "collapsing")
    because = " ".join(ailment.because for ailment in state.health.ailments)
    assert because.endswith("classes are missing: 3")


@pytest.mark.slow
def test_a_game_whose_weights_blow_up_has_diverged(assembled):
    def blow_up(state):
        for parameter in state.task.model.discriminator.parameters():
            parameter.data *= 20

    course = play(assembled(*SMALL), interfere=blow_up)
    assert 120 in found(course, "diverged")
    assert course["healthy"][:3] == [30, 60, 90]


def test_health_is_in_the_log_the_rows_and_the_summary_of_a_run(train, tmp_path):
    folder = train(
        tmp_path / "run", *SMALL, "trainer.steps=90", "trainer.evaluate_every=30",
        "trainer.on_ill=stop", "optimizer.players.discriminator.lr=0"
    ).folder  # fmt: skip
    summary = json.loads((folder / "summary.json").read_text())
    (ill,) = summary["health"]
    (step,) = summary["health"][ill]
    assert "generator wins" in ill
    assert summary["step"] == step < 90  # it was stopped
    assert summary["stopped_because"] == f"the run is ill: {ill} (trainer.on_ill=stop)"
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert rows[-1]["health"] == ill
    assert rows[-1]["health/separation"] < 0.45
    text = (folder / "train.log").read_text()
    assert "health: generator wins: the discriminator ranks only" in text
    assert "what helps: " in text


def test_an_ill_run_goes_back_to_when_it_was_healthy_and_goes_on_more_slowly(train, tmp_path):
    """A rate of 0.5 leaves one image at the first look; 1/500 of it, from step 0, heals."""
    outcome = train(
        tmp_path / "run", *SMALL, *PLAIN, "trainer.steps=90", "trainer.evaluate_every=30",
        "trainer.save_every=30", "trainer.on_ill=rollback", "trainer.rollback.factor=0.002",
        "optimizer.lr=0.5"
    )  # fmt: skip
    summary = json.loads((outcome.folder / "summary.json").read_text())
    assert summary["status"] == "finished"
    assert summary["rollbacks"] == 1
    assert summary["health"] == {"healthy": [30, 60, 90]}
    text = (outcome.folder / "train.log").read_text()
    assert "the run is ill at step 30: collapsing" in text
    assert "back to step 0, learning rate now times 0.002" in text
    rows = [
        json.loads(line) for line in (outcome.folder / "metrics.jsonl").read_text().splitlines()
    ]
    assert [row["step"] for row in rows if "health" in row] == [30, 60, 90]
    assert rows[-1]["lr/generator"] == pytest.approx(0.001)


@pytest.mark.slow
def test_a_run_that_going_back_does_not_cure_fails_with_what_ails_it(train, tmp_path):
    with pytest.raises(IllError, match=r"ill at step 60: generator wins\n  after 1 rollback"):
        train(
            tmp_path / "run", *SMALL, "trainer.steps=60", "trainer.evaluate_every=30",
            "trainer.save_every=30", "trainer.on_ill=rollback", "trainer.rollback.limit=1",
            "optimizer.players.discriminator.lr=0"
        )  # fmt: skip
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["status"] == "failed"
