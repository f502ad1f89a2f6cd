"""The statistics of a verdict, against scipy's and by hand."""

import pytest
from scipy import stats

from trainwright.sweep.store import JobLine
from trainwright.sweep.verdict import Row, Setting, compare, holm, welch


def setting(*values):
    job = JobLine("0" * 12, 0, "run", {}, [], None)
    return Setting({}, [Row(job, {"status": "finished"}, value) for value in values])


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


def test_only_settings_with_several_seeds_are_compared():
    settings = [setting(0.9, 0.92), setting(0.5), setting(0.1, 0.12)]
    compare(settings)
    assert settings[1].p_value is None
    expected = stats.ttest_ind([0.9, 0.92], [0.1, 0.12], equal_var=False).pvalue
    assert settings[2].p_value == pytest.approx(expected)


def test_a_winner_with_one_seed_is_compared_with_nobody():
    settings = [setting(0.9), setting(0.1, 0.2)]
    compare(settings)
    assert settings[1].p_value is None
