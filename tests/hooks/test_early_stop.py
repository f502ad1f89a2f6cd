import math
import shlex

import pytest
import torch

from trainwright.config.plan import Plan
from trainwright.engine.state import Evaluation
from trainwright.errors import ConfigError
from trainwright.hooks.early_stop import EarlyStop, early_stop
from trainwright.run.assemble.rehearsal import rehearse
from trainwright.run.resume.resume import finished, resume_request
from trainwright.run.stopping import stopping_hooks
from trainwright.tasks.task import Objective


def stopped_at(assembly, values, *, higher, patience, min_delta=0.0, reload_at=None):
    """How many evaluations there were when the hook asked to stop; None if it never did."""
    objective = Objective("score", higher_is_better=higher)

    def fresh():
        return EarlyStop(objective, every=1.0, patience=patience, min_delta=min_delta)

    hook, state = fresh(), assembly.state
    state.stop_reason = None
    for number, value in enumerate(values, 1):
        if number == reload_at:
            memory, hook = hook.state_dict(), fresh()
            hook.load_state_dict(memory)
        state.last = Evaluation(number, {"score": value})
        hook(state, {"loss": torch.tensor(0.0)})
        if state.stop_reason is not None:
            return number
    return None


@pytest.fixture(scope="module")
def assembly(assembled):
    return assembled("data.limit=50", "trainer.batch_size=5", "model.widths=[2]")


@pytest.mark.parametrize(
    ("values", "higher", "options", "expected"),
    [
        ([1, 2, 3, 4, 5], True, {"patience": 1}, None),
        ([1, 2, 2], True, {"patience": 1}, 3),  # a tie is no improvement
        ([1, 2, 1, 3, 2, 2, 4], True, {"patience": 3}, None),
        ([1, 2, 1, 3, 2, 2, 3], True, {"patience": 3}, 7),
        ([5, 4, 4.5, 4.2], False, {"patience": 2}, 4),
        ([1.0, 1.05, 1.09, 1.2], True, {"patience": 2, "min_delta": 0.1}, 3),
        ([1.0, 1.05, 1.11, 1.15], True, {"patience": 2, "min_delta": 0.1}, None),
        ([math.nan, 1, 2, 3], True, {"patience": 2}, None),
        ([1, math.nan, math.nan], False, {"patience": 2}, 3),
    ],
)
def test_it_stops_after_so_many_evaluations_without_improvement(
    assembly, values, higher, options, expected
):
    assert stopped_at(assembly, values, higher=higher, **options) == expected
    for moment in range(1, len(values) + 1):
        again = stopped_at(assembly, values, higher=higher, reload_at=moment, **options)
        assert again == expected


STOPPING = ("trainer.early_stopping.patience=1", "trainer.early_stopping.mode=min")


def test_a_figure_of_a_gans_score_is_a_metric_to_stop_by(assembled):
    """It comes of what is generated for the judge, not of the examples of a split."""
    gan = ("model=gan", "model.width=4", "trainer.steps=2", "trainer.score_samples=100")
    assembly = assembled(*gan, *STOPPING, "trainer.early_stopping.metric=kid")
    assert any(isinstance(hook, EarlyStop) for hook in stopping_hooks(assembly))
    assembly = assembled(*gan, *STOPPING, "trainer.early_stopping.metric=kidd")
    with pytest.raises(ConfigError, match="did you mean kid"):
        stopping_hooks(assembly)


@pytest.mark.parametrize(
    ("typed", "way"),
    [(("model=mlp",), "max"), (("model=mlp", "data=diabetes"), "min"), (("model=gan",), "min")],
    ids=["classifier", "regression", "gan"],
)
@pytest.mark.parametrize("named", [False, True])
def test_the_wrong_way_for_the_metric_that_ranks_checkpoints_is_refused(
    assembled, composed, typed, way, named
):
    """It was ignored; and no data are read before it is refused."""
    patience = ("trainer.early_stopping.patience=1", "trainer.steps=2", "task.score=none")
    typed = [*typed, *(patience if "model=gan" in typed else patience[:2])]
    task = assembled(*typed).state.task
    typed += [f"trainer.early_stopping.metric={task.objective.metric}"] * named
    wrong = {"max": "min", "min": "max"}[way]
    rehearse(Plan.of(composed(*typed, f"trainer.early_stopping.mode={way}")))
    with pytest.raises(ConfigError, match=rf"early_stopping\.mode={wrong}.*mode={way}"):
        rehearse(Plan.of(composed(*typed, f"trainer.early_stopping.mode={wrong}")))
    wrongly = assembled(*typed, f"trainer.early_stopping.mode={wrong}")
    with pytest.raises(ConfigError, match=rf"early_stopping\.mode={wrong}"):
        early_stop(wrongly.settings, task.objective, wrongly.state.clock)


def test_who_resumes_a_run_that_was_stopped_early_is_told_what_lets_it_go_on(
    train, resume, composed, tmp_path
):
    """What was advised, twice its steps, made a run of 200 one of 60."""
    folder = tmp_path / "run"
    typed = ("trainer.steps=200", "trainer.evaluate_every=10", "trainer.early_stopping.patience=2")
    train(folder, *typed, "trainer.early_stopping.min_delta=9", "model.widths=[4]")

    def told():
        request = resume_request(composed(f"trainer.resume={folder}"), [])
        request.resume.lock.release()
        return finished(request)

    first = told()
    assert "stopped early at step 30: validation accuracy has not improved" in first
    command, *advised = shlex.split(first.splitlines()[-1].partition("go on with it: ")[2])
    assert (command, advised[0]) == ("train", f"trainer.resume={folder}")
    resume(folder, *advised[1:])
    assert "stopped early at step 50" in told()
    resume(folder, "trainer.early_stopping.patience=null")
    assert "it ended at step 200" in told()


@pytest.mark.parametrize(
    "typed", ["metric=f1", "mode=max", "min_delta=0.1", "metric=f1 mode=max patience=2", ""]
)
def test_early_stopping_without_patience_says_that_it_is_none(assembled, typed, caplog):
    overrides = [f"trainer.early_stopping.{part}" for part in typed.split()]
    hooks = stopping_hooks(assembled("model.widths=[2]", "data.limit=50",
                                     "trainer.batch_size=5", *overrides))  # fmt: skip
    is_on = any(isinstance(hook, EarlyStop) for hook in hooks)
    assert is_on is ("patience" in typed)
    assert ("has no effect" in caplog.text) is bool(typed and not is_on)
