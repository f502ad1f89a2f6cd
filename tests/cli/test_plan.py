"""A run is planned once: its settings are read once, and each of its optimizers is made once."""

import pytest
from torch.optim import Optimizer

from trainwright.config import build
from trainwright.engine.optim.player_optimizer import PlayerOptimizer
from trainwright.engine.settings import TrainerSettings

SMALL = ("trainer=smoke", "trainer.plots=false", "data.limit=50", "trainer.batch_size=5")


@pytest.fixture
def made(monkeypatch):
    """What is made from now on: settings that are read, and optimizers, finished ones alone."""
    found = {TrainerSettings: 0, PlayerOptimizer: 0, Optimizer: 0}
    checks = build._settings_checks

    def noted(kind):
        if kind in found:
            found[kind] += 1
        return checks(kind)

    def count(kind):
        begin = kind.__init__

        def begin_and_count(self, *arguments, **named):
            begin(self, *arguments, **named)
            found[kind] += 1

        monkeypatch.setattr(kind, "__init__", begin_and_count)

    monkeypatch.setattr(build, "_settings_checks", noted)
    count(PlayerOptimizer)
    count(Optimizer)
    return found


@pytest.mark.parametrize(
    ("line", "players", "optimizers"),
    [
        (("model=mlp", "model.widths=[8]"), 1, 1),
        (("model=mlp", "model.widths=[8]", "optimizer=muon"), 1, 2),  # one is for the biases
        (("model=mlp_gan", "task.score=none", "optimizer.players.generator.lr=1e-3"), 2, 2),
    ],
)
def test_a_run_reads_its_settings_once_and_makes_each_optimizer_once(
    run_main, made, line, players, optimizers
):
    result = run_main(*line, *SMALL)
    assert result.code == 0, result.err
    assert made == {TrainerSettings: 1, PlayerOptimizer: players, Optimizer: optimizers}


def test_who_goes_on_reads_what_was_stored_and_what_becomes_of_it(run_main, made):
    """Two configs: a mistake in the first is the checkpoint's, one in the second was typed."""
    assert run_main("model=mlp", "model.widths=[8]", "run.dir=run", *SMALL).code == 0
    made |= dict.fromkeys(made, 0)
    result = run_main("trainer.resume=run", "trainer.steps=4", "trainer.schedule_until=100%")
    assert result.code == 0, result.err
    assert made == {TrainerSettings: 2, PlayerOptimizer: 1, Optimizer: 1}


def test_what_was_typed_is_kept_as_it_was_typed(run_main, empty, monkeypatch):
    monkeypatch.setenv("TRAINWRIGHT_TEST_PLACE", "here-and-nowhere-else")
    typed = ("run.root=${oc.env:TRAINWRIGHT_TEST_PLACE}", "run.name=kept", "model.widths=[8]")
    assert run_main(*typed, *SMALL).code == 0
    (kept,) = empty.glob("here-and-nowhere-else/*/*-kept/overrides.txt")
    assert kept.read_text().splitlines() == [*typed, *SMALL]
