"""The verdict: its statistics against scipy's, the Pareto front against its definition."""

import json
import random

import pytest
from scipy import stats

from trainwright.sweep.job import Job
from trainwright.sweep.verdict.ranking import Ranked, values_of
from trainwright.sweep.verdict.report import _luck
from trainwright.sweep.verdict.significance import gap, holm, welch
from trainwright.sweep.verdict.verdict import Best, Row, Setting, compare, pareto_front

ACCURACY, LOSS = Ranked("validation/accuracy", True), Ranked("validation/loss", False)
SIZE = Ranked("parameters", False)


def setting(*values):
    """A setting of which each job has one value, or a tuple of several."""
    job = Job("0" * 12, 0, "run", {}, [])
    each = [value if isinstance(value, tuple) else (value,) for value in values]
    return Setting({}, [Row(job, {"status": "finished"}, one) for one in each])


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ([0.91, 0.93, 0.92], [0.90, 0.92, 0.91]),
        ([1.0, 2.0], [5.0, 9.0, 7.0, 8.0]),
        ([1.0, 1.0, 1.25], [2.0, 3.0]),
    ],
)
def test_welchs_test_is_scipys(one, other):
    expected = stats.ttest_ind(one, other, equal_var=False).pvalue
    assert welch(one, other) == pytest.approx(expected, rel=1e-9)


def test_samples_without_variance_differ_for_certain_or_not_at_all():
    assert welch([1.0, 1.0], [1.0, 1.0]) == 1
    assert welch([1.0, 1.0], [2.0, 2.0]) == 0


def test_holms_correction_by_hand():
    # Sorted: 0.01 * 4, 0.02 * 3, 0.03 * 2 (not below the one before), 0.5 * 1.
    assert holm([0.03, 0.01, 0.5, 0.02]) == pytest.approx([0.06, 0.04, 0.5, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0]


def test_only_settings_with_several_seeds_that_were_not_pruned_are_compared():
    best, one_seed, other = setting(0.9, 0.92), setting(0.5), setting(0.1, 0.12)
    pruned = setting(0.1, 0.12)
    pruned.rows[1].state["status"] = "pruned"
    ((found, p_value),) = compare(best, [one_seed, pruned, other])
    assert found is other
    assert p_value == pytest.approx(
        stats.ttest_ind([0.9, 0.92], [0.1, 0.12], equal_var=False).pvalue
    )
    assert compare(one_seed, [best, other]) == []


@pytest.mark.parametrize("status", ["running", "stopped"])
def test_what_has_not_finished_is_not_compared(status):
    """Its best value so far is of a shorter training, however many seeds have one."""
    best, begun, mixed = setting(0.9, 0.92), setting(0.1, 0.12), setting(0.8, 0.84, 0.1)
    for row in (*begun.rows, mixed.rows[2]):
        row.state["status"] = status
    ((found, p_value),) = compare(best, [begun, mixed])
    assert found is mixed
    assert p_value == pytest.approx(
        stats.ttest_ind([0.9, 0.92], [0.8, 0.84], equal_var=False).pvalue
    )
    assert compare(begun, [best]) == []


def test_the_front_is_what_no_other_setting_beats():
    draw = random.Random(0)
    # Few different values, so that there are ties.
    settings = [
        setting((draw.randrange(8), draw.randrange(8), draw.randrange(8))) for _ in range(200)
    ]

    def beats(one, other):
        a, b = [one.mean(i) for i in range(3)], [other.mean(i) for i in range(3)]
        no_worse = a[0] >= b[0] and a[1] <= b[1] and a[2] <= b[2]
        return no_worse and a != b

    expected = {s for s in settings if not any(beats(other, s) for other in settings)}
    assert pareto_front(settings, (ACCURACY, LOSS, SIZE)) == expected
    assert 3 < len(expected) < 100


def test_the_front_of_one_metric_is_the_best_and_what_equals_it():
    settings = [setting(0.9), setting(0.95), setting(0.95), setting()]
    assert pareto_front(settings, (ACCURACY,)) == set(settings[1:3])


def test_of_several_metrics_count_the_values_of_one_moment(tmp_path):
    """The best accuracy is at step 20, where the loss is not at its best; train/loss is from 15."""
    rows = [
        {"step": 10, "validation/accuracy": 0.5, "validation/loss": 0.1, "train/loss": 3.0},
        {"step": 15, "train/loss": 2.0},
        {"step": 20, "validation/accuracy": 0.9, "validation/loss": 0.4},
        {"step": 25, "train/loss": 1.0},
        {"step": 30, "validation/accuracy": 0.7, "validation/loss": None},
    ]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    state = {"status": "finished", "parameters": {"generator": 70, "critic": 30}}
    train = Ranked("train/loss", False)
    assert values_of((ACCURACY, LOSS, train, SIZE), state, tmp_path) == (0.9, 0.4, 2.0, 100.0)
    assert values_of((SIZE, ACCURACY), state, tmp_path) == (100.0, 0.9)
    assert values_of((LOSS,), state, tmp_path) == (0.1,)
    assert values_of((LOSS, Ranked("validation/f1", True)), state, tmp_path) is None


def luck(best, *others):
    """What is said of the lead of the first setting, as one text."""
    found = Best(0, ACCURACY, best, best.rows[0], compare(best, others))
    return "\n".join(_luck(found, len(others), "seed"))


def named(name, *values):
    made = setting(*values)
    made.point["lr"] = name
    return made


def test_the_gap_is_counted_in_standard_deviations_of_both():
    """Cohen's d, by hand: means 2 apart, variances 2 and 8."""
    assert gap([1.0, 3.0], [2.0, 6.0]) == pytest.approx(2 / 5**0.5)
    assert gap([1.0, 1.0], [1.0, 1.0]) == 0
    assert gap([1.0, 1.0], [2.0, 2.0]) == float("inf")


def test_two_seeds_that_cannot_prove_a_wide_gap_are_not_said_to_be_within_noise():
    """0.93 and 0.42 were, for by two seeds no test tells that many settings apart."""
    best, far = named("1e-3", 0.93, 0.94), named("1", 0.42, 0.46)
    near = [named(f"{n}e-3", 0.92, 0.935) for n in range(2, 14)]
    said = luck(best, far, *near)
    assert dict(compare(best, [far, *near]))[far] > 0.05
    assert "far ahead of: lr=1 (by 24 times the spread); so few seeds cannot prove it" in said
    assert "within seed noise of: lr=2e-3; lr=3e-3; lr=4e-3 and 9 more (p" in said
    assert "two seeds tell little" in said


@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_two_seeds_are_always_cautioned_against_and_more_are_not(seeds):
    one, other = [0.9 + n / 1e6 for n in range(seeds)], [0.1 + n / 1e6 for n in range(seeds)]
    said = luck(named("1", *one), named("2", *other))
    assert "better than each other setting by more than seed noise" in said
    assert ("two seeds tell little" in said) is (seeds == 2)
    tied = luck(named("1", *one), named("2", *one))
    assert "within seed noise of: lr=2 (p" in tied
    assert ("two seeds tell little" in tied) is (seeds == 2)
