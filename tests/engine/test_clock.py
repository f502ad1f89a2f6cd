import math
from fractions import Fraction

import pytest

from trainwright.engine.clock import Clock, is_multiple

SIZES = [(60000, 64), (1437, 64), (55000, 48), (100, 3), (7, 7), (10, 3), (1797, 128), (11, 10)]


def clock(num_examples=1000, batch_size=64, total_steps=500):
    return Clock(num_examples, batch_size, total_steps)


@pytest.mark.parametrize(
    ("duration", "steps"),
    [
        (500, 500),
        ("500", 500),
        ("500 steps", 500),
        ("1 step", 1),
        ("2 epochs", 31.25),
        ("1 epoch", 15.625),
        ("0.5 epochs", 7.8125),
        (".5epoch", 7.8125),
        ("6400 examples", 100),
        ("5%", 25),
        (" 12.5 % ", 62.5),
        (0, 0),
    ],
)
def test_a_duration_is_so_many_steps(duration, steps):
    assert clock().steps(duration) == pytest.approx(steps, rel=1e-12)


@pytest.mark.parametrize(
    "duration", ["", "five", "-1", -1, "1e3", "5 %%", "2 weeks", "epoch", "1,000", "5 percent", "."]
)
def test_what_is_no_duration_is_refused_with_the_forms_there_are(duration):
    with pytest.raises(ValueError, match=r"write 500, '2 epochs', '10000 examples' or 5%"):
        clock().steps(duration)


@pytest.mark.parametrize(("num_examples", "batch_size"), SIZES)
def test_each_epoch_ends_once_on_the_step_that_takes_its_last_example(num_examples, batch_size):
    every = clock(num_examples, batch_size).steps("1 epoch")
    exact = Fraction(num_examples, batch_size)
    ends = [math.ceil(k * exact) for k in range(1, 101)]
    assert [s for s in range(1, ends[-1] + 1) if is_multiple(s, every)] == ends


def test_the_steps_that_the_documentation_names_are_the_ones():
    assert [s for s in range(1, 2900) if is_multiple(s, 937.5)] == [938, 1875, 2813]


@pytest.mark.parametrize("every", [1, 2, 3, 7, 50, 333])
def test_a_whole_number_of_steps_is_due_on_its_multiples(every):
    expected = [s for s in range(1, 1001) if s % every == 0]
    assert [s for s in range(1, 1001) if is_multiple(s, float(every))] == expected


@pytest.mark.parametrize("parts", [3, 7, 10, 20])
def test_a_share_of_a_run_is_due_so_many_times_and_last_at_its_end(parts):
    for total in (parts, 997, 3750):
        due = [s for s in range(1, total + 1) if is_multiple(s, total / parts)]
        assert len(due) == parts
        assert due[-1] == total


def test_less_than_a_step_is_every_step_and_nothing_is_never():
    assert all(is_multiple(step, 0.3) for step in range(1, 50))
    assert not any(is_multiple(step, 0) for step in range(1, 50))


@pytest.mark.parametrize(("num_examples", "batch_size"), SIZES)
@pytest.mark.parametrize("epochs", [1, 3, 10])
def test_a_run_of_epochs_takes_as_many_steps_as_hold_its_examples(num_examples, batch_size, epochs):
    run = Clock.of_run(num_examples=num_examples, batch_size=batch_size, epochs=epochs, steps=None)
    assert run.total_steps == -(-epochs * num_examples // batch_size)


@pytest.mark.parametrize("epochs", ["0.1", "0.3", "1.1", "2.2", "4.35"])
def test_a_share_of_an_epoch_gains_no_step_by_rounding(epochs):
    for batch_size in (1, 10, 20):
        run = Clock.of_run(
            num_examples=100, batch_size=batch_size, epochs=float(epochs), steps=None
        )
        assert run.total_steps == math.ceil(Fraction(epochs) * 100 / batch_size)


def test_steps_count_where_both_are_given_and_a_run_has_at_least_one():
    assert Clock.of_run(num_examples=10, batch_size=5, epochs=3, steps=7).total_steps == 7
    assert Clock.of_run(num_examples=10, batch_size=5, epochs=0.01, steps=None).total_steps == 1
    assert clock(1000, 64).epochs(125) == 8


def test_the_tokens_of_text_are_a_length_and_a_duration():
    sizes = {"num_examples": 1000, "batch_size": 8, "epochs": None, "steps": None}
    run = Clock.of_run(**sizes, tokens=1e5, num_tokens=128)
    assert run.total_steps == 98  # of 1,024 tokens
    assert run.steps("4096 tokens") == 4


def test_what_has_no_tokens_is_not_counted_in_them():
    sizes = {"num_examples": 1000, "batch_size": 8, "epochs": None, "steps": None}
    with pytest.raises(ValueError, match=r"tokens=100000: only text has tokens"):
        Clock.of_run(**sizes, tokens=1e5)
    with pytest.raises(ValueError, match="'4096 tokens': only text has tokens"):
        clock().steps("4096 tokens")
