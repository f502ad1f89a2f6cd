import logging

import pytest
import torch

from trainwright.engine.state import Evaluation
from trainwright.errors import ConfigError
from trainwright.hooks.health import HealthCheck
from trainwright.run.stopping import stopping_hooks

GOOD = {"separation": 0.7, "diversity": 0.9}
ALIKE = {"separation": 0.7, "diversity": 0.1}


@pytest.fixture
def state(assembled):
    return assembled("model=gan", "task.score=none", "data.limit=50", "trainer.batch_size=5",
                     "model.width=2").state  # fmt: skip


def look(hook, state, signs):
    state.step += 1
    state.signs = signs
    state.last = Evaluation(state.step, {state.task.objective.metric: 1 / state.step})
    hook(state, {"generator/grad_norm": torch.tensor(1.0), "generator/loss": torch.tensor(1.0)})


EARLY = {"separation": 0.9997, "diversity": 0.9}


def test_it_says_how_the_run_is_at_every_look_and_why_once(state, caplog):
    hook = HealthCheck(every=1, on_ill="warn")
    with caplog.at_level(logging.INFO, "trainwright"):
        for signs in (EARLY, GOOD, ALIKE, ALIKE, GOOD, GOOD):
            look(hook, state, signs)
    said = [message for message in caplog.messages if message.startswith("health")]
    assert said == [
        "health: too early to tell",
        "health: healthy",
        "health: collapsing: samples differ 0.10 times as much as real images do",
        "health: collapsing",
        "health: healthy again",
        "health: healthy",
    ]
    assert hook.course == {
        "too early to tell": [1],
        "healthy": [2, 5, 6],
        "collapsing": [3, 4],
    }
    assert state.stop_reason is None
    assert str(state.health) == "healthy"


def test_it_stops_where_that_is_asked_for(state):
    hook = HealthCheck(every=1, on_ill="stop")
    look(hook, state, GOOD)
    assert state.stop_reason is None
    look(hook, state, ALIKE)
    assert state.stop_reason == "the run is ill: collapsing (trainer.on_ill=stop)"


def test_it_remembers_across_a_resume_what_it_has_seen(state):
    """Alike at the look after a good one is a collapse; at the first look of all it is not."""
    hook, fresh = HealthCheck(every=1, on_ill="warn"), HealthCheck(every=1, on_ill="warn")
    look(hook, state, GOOD)
    fresh.load_state_dict(hook.state_dict())
    look(fresh, state, ALIKE)
    assert fresh.course == {"healthy": [1], "collapsing": [2]}
    fresh.load_state_dict({})
    look(fresh, state, ALIKE)
    assert fresh.course == {"too early to tell": [3]}


def test_only_what_has_an_opinion_on_its_health_is_asked(assembled):
    small = ("data.limit=50", "trainer.batch_size=5")
    hooks = stopping_hooks(assembled("model=mlp", *small))
    assert not any(isinstance(hook, HealthCheck) for hook in hooks)
    gan = ("model=gan", "task.score=none", *small)
    (hook,) = stopping_hooks(assembled(*gan))
    assert isinstance(hook, HealthCheck)
    with pytest.raises(ConfigError, match=r"on_ill=stop: a classifier has no opinion"):
        stopping_hooks(assembled("model=mlp", "trainer.on_ill=stop", *small))
    with pytest.raises(ConfigError, match="on_ill=stop: it needs evaluations"):
        stopping_hooks(assembled(*gan, "trainer.on_ill=stop", "trainer.evaluate_every=0"))
