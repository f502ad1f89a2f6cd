"""`train/<metric>` is the mean over the steps since the line before, however steps are made."""

import json
from dataclasses import replace

import pytest
import torch

from trainwright.engine.checkpoint import checkpoint
from trainwright.engine.hook import Hook
from trainwright.engine.metrics.means import MOST_UNREAD
from trainwright.engine.trainer import fit, fitting
from trainwright.hooks.log import Log
from trainwright.run.assemble.assemble import Assembly
from trainwright.stack.together import together

MLP = ("model.widths=[8]", "data.limit=200", "trainer.batch_size=16", "trainer.steps=100")
# Its critic moves in every step and its generator in every third: two kinds of steps.
GAN = ("model=mlp_gan", "model.generator_widths=[8]", "model.discriminator_widths=[8]",
       "task.score=none", "task.critic_steps=3", "task.r1=0", "data.limit=64",
       "trainer.batch_size=16", "trainer.steps=100")  # fmt: skip
EVERY = 45  # more steps than are kept unread, and no divisor of the run
assert EVERY > MOST_UNREAD


class Watch(Hook):
    """Reads the metrics of every step, which nobody else need do."""

    def __init__(self):
        self.seen = []

    def due(self, step, total):
        return True

    def __call__(self, state, metrics):
        self.seen.append({name: float(value.double().mean()) for name, value in metrics.items()})


class StopAt(Watch):
    """Ends a training after a step."""

    def __init__(self, step):
        self.step = step

    def __call__(self, state, metrics):
        if state.step == self.step:
            state.stop_reason = "enough"


def rows(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def means(seen):
    """By hand: of each metric the mean over the steps that have it."""
    names = dict.fromkeys(name for step in seen for name in step)
    found = {name: [step[name] for step in seen if name in step] for name in names}
    return {f"train/{name}": sum(of) / len(of) for name, of in found.items()}


def check(path, seen):
    """The first lines against what was seen in the steps before each; seven digits are kept."""
    written = rows(path)
    assert [row["step"] for row in written] == [EVERY, 2 * EVERY, 100]
    for row, (begin, end) in zip(written, ((0, 45), (45, 90), (90, 100)), strict=True):
        expected = means(seen[begin:end])
        assert {n: row[n] for n in row if n.startswith("train/")} == pytest.approx(
            expected, rel=1e-6
        )


@pytest.mark.parametrize("static", [False, True])
@pytest.mark.parametrize("kind", [MLP, GAN], ids=["classifier", "gan"])
def test_a_line_has_the_means_of_the_steps_since_the_one_before(assembled, tmp_path, kind, static):
    run = assembled(*kind)
    run.state.placement = replace(run.state.placement, static=static)
    path, watch = tmp_path / "metrics.jsonl", Watch()
    fit(run.state, run.train, [watch, Log(path, every=EVERY, evaluate_every=0)], run.settings)
    check(path, watch.seen)


def test_each_run_of_a_stack_has_its_own(assembled, tmp_path):
    runs = [assembled(*MLP, f"seed={seed}") for seed in (1, 2, 3)]
    watches = [Watch() for _ in runs]
    paths = [tmp_path / f"{number}.jsonl" for number in range(3)]
    together(
        [
            fitting(
                run.state,
                run.train,
                [watch, Log(path, every=EVERY, evaluate_every=0)],
                run.settings,
            )
            for run, watch, path in zip(runs, watches, paths, strict=True)
        ]
    )
    for path, watch in zip(paths, watches, strict=True):
        check(path, watch.seen)
    assert len({path.read_text() for path in paths}) == 3


@pytest.mark.parametrize("static", [False, True])
@pytest.mark.parametrize("stop", [1, 20, EVERY, 77])
def test_an_interruption_changes_no_byte_of_the_log(assembled, tmp_path, stop, static):
    """Also in the middle of a line: what it has summed up is in the checkpoint."""

    def made() -> Assembly:
        run = assembled(*GAN)
        run.state.placement = replace(run.state.placement, static=static)
        return run

    def go_on(run, path, *more):
        hooks = [Log(path, every=EVERY, evaluate_every=0), *more]
        fit(run.state, run.train, hooks, run.settings)
        return run.state

    whole, first, second = made(), made(), made()
    last = go_on(whole, tmp_path / "whole.jsonl")
    state = go_on(first, tmp_path / "parts.jsonl", StopAt(stop))
    progress = json.loads(json.dumps(checkpoint.progress_metadata(state)))
    checkpoint.restore(second.state, checkpoint.state_tensors(state), progress)
    after = go_on(second, tmp_path / "parts.jsonl")
    assert (tmp_path / "parts.jsonl").read_bytes() == (tmp_path / "whole.jsonl").read_bytes()
    assert after.means.state_dict() == last.means.state_dict()


def test_control_sums_that_are_not_saved_are_seen(assembled, tmp_path):
    run = assembled(*MLP)
    path = tmp_path / "metrics.jsonl"
    hooks = [Log(path, every=EVERY, evaluate_every=0)]
    fit(run.state, run.train, [*hooks, StopAt(20)], run.settings)
    progress = checkpoint.progress_metadata(run.state)
    del progress["means"]  # as in a checkpoint of 0.1
    checkpoint.restore(run.state, checkpoint.state_tensors(run.state), progress)
    run.state.stop_reason = None
    watch = Watch()
    fit(run.state, run.train, [watch, *hooks], run.settings)
    first = rows(path)[0]
    assert first["train/loss"] == pytest.approx(means(watch.seen[:25])["train/loss"], rel=1e-6)


def test_a_batch_that_is_skipped_has_no_part_in_the_mean(assembled, tmp_path):
    run = assembled(*MLP, "trainer.on_nonfinite=skip")
    watch, at = Watch(), run.train.at

    def spoilt(step):
        batch = at(step)
        return {**batch, "inputs": batch["inputs"] * float("nan")} if step == 7 else batch

    run.train.at = spoilt
    path = tmp_path / "metrics.jsonl"
    fit(run.state, run.train, [watch, Log(path, every=EVERY, evaluate_every=0)], run.settings)
    assert run.state.recovery.num_skipped == 1
    assert watch.seen[7] == {}
    check(path, watch.seen)


def test_nothing_is_read_between_lines_but_for_a_few_steps_at_a_time(assembled, monkeypatch):
    """To read is to wait for the device."""
    run, reads = assembled(*MLP), []
    tolist = torch.Tensor.tolist
    monkeypatch.setattr(torch.Tensor, "tolist", lambda self: reads.append(1) or tolist(self))
    for _ in range(MOST_UNREAD - 1):
        run.state.means.add({"loss": torch.ones(()), "accuracy": torch.ones(16)})
    assert not reads
    run.state.means.add({"loss": torch.ones(()), "accuracy": torch.ones(16)})
    assert len(reads) == 1  # of all accuracies
    assert run.state.means.read() == {"loss": 1.0, "accuracy": 1.0}
