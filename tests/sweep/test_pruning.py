"""Which runs are stopped: hand-made reports, one epoch apart."""

import json
from dataclasses import replace

import pytest

from trainwright.engine.clock import Clock
from trainwright.sweep.verdict.pruning import Pruning, Report, SweepJudge


def pruning(kind, *, factor=3, higher=True, path="reports"):
    return Pruning(kind, "validation/accuracy", higher, "1 epoch", factor, str(path))


def reports(total=9, **values):
    """A value an epoch for each job; jobs have hexadecimal names."""
    return {
        job: [Report(epoch, total, 1, value) for epoch, value in enumerate(of, start=1)]
        for job, of in values.items()
    }


def test_the_median_stops_what_is_worse_than_half_of_the_others():
    others = {"a": [0.1, 0.5], "b": [0.2, 0.6], "c": [0.3, 0.7], "d": [0.4, 0.8]}
    judge = pruning("median")
    # By epoch 2 the others' best values are 0.5, 0.6, 0.7, 0.8: the median is 0.65.
    assert judge.reason_to_stop("e", reports(**others, e=[0.0, 0.64]))
    assert judge.reason_to_stop("e", reports(**others, e=[0.0, 0.66])) is None
    assert judge.reason_to_stop("e", reports(**others, e=[0.7, 0.1])) is None  # its best counts
    del others["d"]
    assert judge.reason_to_stop("e", reports(**others, e=[0.0, 0.0])) is None  # too few to say


def test_lower_can_be_better_and_what_is_no_number_is_worst():
    others = {"a": [1.0], "b": [2.0], "c": [3.0], "d": [4.0]}
    judge = pruning("median", higher=False)
    assert judge.reason_to_stop("e", reports(**others, e=[2.4])) is None
    assert judge.reason_to_stop("e", reports(**others, e=[2.6]))
    assert judge.reason_to_stop("e", reports(**others, e=[float("nan")]))


def test_halving_lets_a_third_go_on_from_each_rung():
    judge = pruning("halving")
    assert judge.rungs("a", Report(1, 30, 1, 0)) == [1, 3, 9, 27]
    assert judge.rungs("a", Report(1, 9, 1, 0)) == [1, 3]  # the end is no rung
    five = {"a": [0.1], "b": [0.2], "c": [0.3], "d": [0.4], "e": [0.5]}
    # Six have come to epoch 1, two may go on.
    assert judge.reason_to_stop("f", reports(**five, f=[0.45])) is None
    assert judge.reason_to_stop("f", reports(**five, f=[0.35]))
    # Between rungs nobody is stopped.
    assert judge.reason_to_stop("f", reports(**five, f=[0.45, 0.0])) is None
    # At epoch 3 it is alone, and the best of one.
    assert judge.reason_to_stop("f", reports(**five, f=[0.45, 0.0, 0.0])) is None


def test_a_run_that_was_stopped_goes_on_when_later_ones_are_worse():
    judge = pruning("halving")
    early = {"a": [0.5], "b": [0.4], "c": [0.3]}
    assert judge.reason_to_stop("b", reports(**early))
    assert judge.promoted(["b", "c"], reports(**early)) == []
    later = {"d": [0.1], "e": [0.2], "f": [0.25]}
    assert judge.promoted(["b", "c"], reports(**early, **later)) == ["b"]


def test_hyperband_compares_within_a_ladder_and_ladders_begin_later_and_later():
    judge = pruning("hyperband")
    report = Report(1, 27, 1, 0)
    # 27 epochs hold ladders that begin at 1, 3 and 9, with weights 9, 3 and 1.
    ladders = [tuple(judge.rungs(f"{number:x}", report)) for number in range(13)]
    assert ladders.count((1, 3, 9)) == 9
    assert ladders.count((3, 9)) == 3
    assert ladders.count((9,)) == 1


def test_what_is_reported_twice_counts_once_and_torn_lines_do_not(tmp_path):
    path = tmp_path / "reports.jsonl"
    clock = Clock(num_examples=100, batch_size=10, total_steps=90)
    judge = SweepJudge(pruning("halving", path=path), "a1")
    assert judge.verdict(10, clock, 0.25) is None
    with path.open("a") as file:
        file.write(json.dumps({"id": "b2"})[:5] + "\n")
    judge.verdict(10, clock, 0.5)
    assert pruning("median", path=path).reports() == {"a1": [Report(1.0, 9.0, 1.0, 0.5)]}


def test_what_was_reported_of_another_metric_does_not_count(tmp_path):
    """Typed again with sweep.metric=loss: accuracies are no losses."""
    path = tmp_path / "reports.jsonl"
    clock = Clock(num_examples=100, batch_size=10, total_steps=90)
    for job_id in ("a", "b", "c", "d"):
        SweepJudge(pruning("median", path=path), job_id).verdict(10, clock, 0.1)
    loss = replace(pruning("median", higher=False, path=path), metric="validation/loss")
    assert SweepJudge(loss, "e").verdict(10, clock, 2.0) is None
    assert list(loss.reports()) == ["e"]


@pytest.mark.parametrize("kind", ["median", "halving", "hyperband"])
def test_after_nothing_means_from_the_first_step_on(kind, tmp_path):
    judge = SweepJudge(replace(pruning(kind, path=tmp_path / "reports"), after="0%"), "a1")
    assert judge.verdict(10, Clock(num_examples=100, batch_size=10, total_steps=90), 0.25) is None
    assert pruning(kind, path=tmp_path / "reports").reports() == {
        "a1": [Report(1.0, 9.0, 0.1, 0.25)]
    }


@pytest.mark.parametrize("kind", ["median", "halving", "hyperband"])
def test_the_first_of_all_is_never_stopped(kind):
    judge = pruning(kind)
    assert judge.reason_to_stop("a", reports(a=[0.1, 0.1, 0.1])) is None
