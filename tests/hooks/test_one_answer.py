"""A classifier that has one answer for all is told so, and one that is learning is not."""

import logging

import pytest
import torch

from trainwright.engine.checkpoint import checkpoint
from trainwright.engine.clock import Clock
from trainwright.engine.state import Evaluation
from trainwright.engine.trainer import fit
from trainwright.errors import NonFiniteError
from trainwright.hooks.evaluate import Evaluate
from trainwright.hooks.one_answer import OneAnswer
from trainwright.hooks.save import Save
from trainwright.run.resume.recover import read
from trainwright.run.resume.rollback import Rollback, good_checkpoints
from trainwright.run.stopping import stopping_hooks
from trainwright.runs.folder import RunFolder
from trainwright.tasks.metrics.formulas import metrics_of_predictions

SMALL = ("data.limit=100", "trainer.batch_size=10", "model.widths=[4]")
NAMES = ("benign", "malign", "unsure")
TARGETS = torch.tensor([0] * 90 + [1] * 8 + [2] * 2)


def answers(right):
    """The metrics of who says "benign" always, but for so many others of which he is right."""
    said = torch.zeros(100, dtype=torch.long)
    said[90 : 90 + right] = TARGETS[90 : 90 + right]
    return metrics_of_predictions(torch.ones(100), said, TARGETS, num_classes=3, hits={})


@pytest.fixture
def state(assembled):
    state = assembled(*SMALL).state
    state.clock = Clock(num_examples=100, batch_size=10, total_steps=100)
    return state


def said_of(state, hook, looks, caplog):
    """At which looks, ten steps apart, it has warned."""
    warned = []
    for number, right in enumerate(looks, 1):
        state.step = 10 * number
        state.last = Evaluation(state.step, answers(right))
        caplog.clear()
        if hook.due(state.step, state.clock.total_steps):
            hook(state, {})
        warned += [number] if caplog.messages else []
    return warned


@pytest.mark.parametrize(
    ("looks", "expected"),
    [
        ([0, 0, 0, 0, 0, 0], [3]),  # once
        ([0, 0, 5, 0, 0, 5, 5], []),
        ([9, 9, 9, 0, 0, 0], [6]),
        ([5] * 9 + [0], [10]),  # the end of the run
        ([5] * 10, []),
    ],
)
def test_it_warns_once_where_three_evaluations_have_one_answer(state, caplog, looks, expected):
    assert said_of(state, OneAnswer(TARGETS, NAMES, every=10), looks, caplog) == expected


def test_it_remembers_across_a_resume(state, caplog):
    for stop in (1, 2, 3, 4):
        first, second = (OneAnswer(TARGETS, NAMES, every=10) for _ in range(2))
        before = said_of(state, first, [0] * stop, caplog)
        second.load_state_dict(first.state_dict())
        assert len(before + said_of(state, second, [0] * (6 - stop), caplog)) == 1


def test_the_warning_names_the_class_its_share_and_what_helps_today(state, caplog):
    hook = OneAnswer(TARGETS, NAMES, every=10)
    state.step = 10
    for _ in range(3):
        state.last = Evaluation(10, answers(0))
        hook(state, {})
    assert caplog.messages == [
        'validation accuracy 0.9 is what answering "benign" always would get: 90.0% of the examples'
        " are of that class; macro F1 is 0.316",
        "  what helps: task.class_weights=balanced, data.balance=true, task.focal=2; another"
        " optimizer.lr (a tenth, or ten times), another model",
    ]


def test_a_run_whose_rate_is_far_too_high_says_so_and_one_that_learns_does_not(assembled, caplog):
    """On digits of which nine in ten are noughts."""
    found = []
    for rate in ("0", "1e-2"):
        run = assembled(
            *("data.validation=600", "trainer.steps=60", "trainer.batch_size=50"),
            *("model.widths=[16]", f"optimizer.lr={rate}", "schedule=constant"),
        )
        split = run.dataset.validation
        noughts = (split.columns["targets"] == 0).nonzero().flatten()
        others = (split.columns["targets"] != 0).nonzero().flatten()[: len(noughts) // 9]
        kept = torch.cat([noughts, others])
        with torch.no_grad():  # a network that has one answer
            bias = list(run.state.task.parameters())[-1]
            bias[0] += 100.0 if rate == "0" else 0.0
        skewed = split.taken(kept)
        hook = OneAnswer(skewed.columns["targets"], run.dataset.info.class_names, every=20)
        evaluate = Evaluate(run.make_batches(skewed), every=20, batch_size=500)
        caplog.clear()
        with caplog.at_level(logging.WARNING, "trainwright"):
            fit(run.state, run.train, [evaluate, hook], run.settings)
        found.append([m for m in caplog.messages if "always would get" in m])
    assert len(found[0]) == 1
    assert found[1] == []


def test_tasks_that_tell_classes_apart_are_watched_and_no_others(assembled):
    def is_watched(*typed):
        return any(isinstance(hook, OneAnswer) for hook in stopping_hooks(assembled(*typed)))

    assert is_watched(*SMALL)
    assert not is_watched(*SMALL, "trainer.evaluate_every=0")
    assert not is_watched("data=diabetes", *SMALL)
    assert not is_watched("model=mlp_gan", "task.score=none", *SMALL[:2])


def test_a_rollback_to_a_checkpoint_that_is_older_than_a_hook_leaves_that_as_it_is(
    train, assembled, tmp_path
):
    """Checkpoints of 0.1 know nothing of this one; to miss it was a KeyError."""
    typed = (*SMALL, "trainer.steps=4", "trainer.save_every=2", "trainer.on_nonfinite=rollback")
    folder = RunFolder(train(tmp_path / "run", *typed).folder)
    found = read(folder.last)
    metadata = {key: value for key, value in found.metadata.items() if key != "format"}
    assert metadata["hooks"].pop("OneAnswer")
    checkpoint.save([folder.last], found.tensors, metadata)
    run = assembled(*typed)
    hooks = stopping_hooks(run)
    save = Save(folder, metadata, hooks, every=2, evaluate_every=0)
    rollback = Rollback(run.state, hooks, folder, save, run.settings)
    rollback.back(NonFiniteError("a number"), good_checkpoints(folder))
    assert (run.state.step, run.state.recovery.num_rollbacks) == (4, 1)
    assert "OneAnswer" in read(folder.last).metadata["hooks"]
