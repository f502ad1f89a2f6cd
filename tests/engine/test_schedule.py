"""Each schedule against torch's own scheduler, step by step through a whole run."""

import math
import random

import pytest
import torch
from torch.optim import lr_scheduler

from trainwright.engine.clock import Clock
from trainwright.engine.schedule import (
    Constant,
    Cosine,
    Exponential,
    Linear,
    OneCycle,
    Plateau,
    Step,
)

TOTAL = 120
LR = 0.3
CLOCK = Clock(num_examples=250, batch_size=10, total_steps=TOTAL)  # 25 steps an epoch


def torch_rates(make, steps=TOTAL):
    """The learning rates that a scheduler of torch sets for each of `steps` steps."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=LR)
    scheduler = make(optimizer)
    rates = []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


def rates(schedule, steps=TOTAL):
    return [LR * schedule.factor(step) for step in range(steps)]


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (
            Linear(clock=CLOCK, final=0.2),
            lambda o: lr_scheduler.LinearLR(o, 1.0, end_factor=0.2, total_iters=TOTAL - 1),
        ),
        (
            Cosine(clock=CLOCK, final=0.1),
            lambda o: lr_scheduler.CosineAnnealingLR(o, T_max=TOTAL - 1, eta_min=LR * 0.1),
        ),
        (
            Step(clock=CLOCK, every="30%", gamma=0.2),
            lambda o: lr_scheduler.StepLR(o, step_size=36, gamma=0.2),
        ),
        (
            Step(clock=CLOCK, every="1 epoch", gamma=0.5),
            lambda o: lr_scheduler.StepLR(o, step_size=25, gamma=0.5),
        ),
        (
            Exponential(clock=CLOCK, gamma=0.7),
            lambda o: lr_scheduler.ExponentialLR(o, gamma=0.7 ** (1 / 25)),
        ),
        (Constant(clock=CLOCK), lambda o: lr_scheduler.ConstantLR(o, factor=1.0)),
        (
            OneCycle(clock=CLOCK, rise=0.25, start_div=20, final_div=500),
            lambda o: lr_scheduler.OneCycleLR(
                o,
                max_lr=LR,
                total_steps=TOTAL,
                pct_start=0.25,
                div_factor=20,
                final_div_factor=500 / 20,  # torch counts it from the start
                cycle_momentum=False,
            ),
        ),
    ],
    ids=["linear", "cosine", "step", "step-epochs", "exponential", "constant", "one_cycle"],
)
def test_a_schedule_sets_the_learning_rates_that_torch_s_does(ours, theirs):
    assert rates(ours) == pytest.approx(torch_rates(theirs), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize("patience", [0, 1, 3])
def test_plateau_drops_when_reduce_lr_on_plateau_does(mode, patience):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=LR)
    theirs = lr_scheduler.ReduceLROnPlateau(
        optimizer, mode=mode, factor=0.5, patience=patience, threshold=0.0, threshold_mode="abs",
        min_lr=LR * 0.1,
    )  # fmt: skip
    ours = Plateau(clock=CLOCK, mode=mode, gamma=0.5, patience=patience, final=0.1)
    draw = random.Random(patience)
    values = [round(draw.gauss(0, 1), 1) for _ in range(60)]  # rounded: with ties
    for value in [*values, math.nan, *values[:9]]:
        theirs.step(value)
        ours.observe(value)
        assert LR * ours.factor(50) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-12)
    assert ours.factor(50) == pytest.approx(0.1)  # it did drop, to the floor


def test_a_first_value_that_is_not_a_number_is_beaten_by_any_number():
    """As torch has it: else the rate would only fall from there on."""
    schedule = Plateau(clock=CLOCK, mode="max", gamma=0.5, patience=2)
    for value in (math.nan, 1.0, 2.0, 3.0, 4.0, 5.0):
        schedule.observe(value)
    assert schedule.factor(0) == 1.0


def test_plateau_goes_on_from_its_state_as_if_never_stopped():
    values = [3.0, 2.0, 2.5, 2.5, 1.0, 1.5, 1.2, 1.1, 1.3]
    for stop in range(len(values)):
        whole, first, second = (Plateau(clock=CLOCK, mode="min", patience=1) for _ in range(3))
        for value in values[:stop]:
            first.observe(value)
        second.load_state_dict(first.state_dict())
        for value in values:
            whole.observe(value)
        for value in values[stop:]:
            second.observe(value)
        assert second.factor(0) == whole.factor(0)
        assert second.state_dict() == whole.state_dict()


def all_schedules(**options):
    return [
        Constant(clock=CLOCK, **options),
        Linear(clock=CLOCK, **options),
        Cosine(clock=CLOCK, **options),
        Step(clock=CLOCK, **options),
        Exponential(clock=CLOCK, **options),
        OneCycle(clock=CLOCK, **options),
        Plateau(clock=CLOCK, mode="min", **options),
    ]


@pytest.mark.parametrize("warmup", [0, 10, "10%", "0.3 epochs"])
def test_the_factor_depends_on_the_step_alone_in_whatever_order_it_is_asked(warmup):
    for schedule in all_schedules(warmup=warmup):
        forwards = [schedule.factor(step) for step in range(TOTAL)]
        shuffled = random.Random(0).sample(range(TOTAL), TOTAL)
        asked = {step: schedule.factor(step) for step in shuffled}
        assert [asked[step] for step in range(TOTAL)] == forwards


def test_the_warm_up_rises_by_equal_steps_and_ends_where_the_shape_begins():
    for schedule in all_schedules(warmup=9):
        begin = schedule.shape(0.0, 0)
        rise = [schedule.factor(step) / begin for step in range(9)]
        assert rise == pytest.approx([(step + 1) / 10 for step in range(9)])
        assert schedule.factor(9) == pytest.approx(begin)


def test_after_the_warm_up_the_shape_takes_what_is_left_of_the_run():
    warm = Cosine(clock=CLOCK, warmup=20)
    rest = Cosine(clock=Clock(250, 10, TOTAL - 20))
    assert [warm.factor(20 + s) for s in range(TOTAL - 20)] == pytest.approx(
        [rest.factor(s) for s in range(TOTAL - 20)]
    )


@pytest.mark.parametrize("warmup", [TOTAL, 500, "100%", "5 epochs"])
def test_a_warm_up_as_long_as_the_run_is_refused(warmup):
    with pytest.raises(ValueError, match="warmup"):
        Constant(clock=CLOCK, warmup=warmup)


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        (Step, {"every": 0}, "every"),
        (Step, {"every": "soon"}, "not a duration"),
        (Exponential, {"gamma": 0.0}, "gamma"),
        (OneCycle, {"rise": 0.0}, "rise"),
        (OneCycle, {"rise": 1.0}, "rise"),
        (OneCycle, {"start_div": 0.5}, "start_div"),
        (OneCycle, {"final_div": 0.0}, "final_div"),
        (Plateau, {"mode": "min", "gamma": 1.0}, "gamma"),
        (Plateau, {"mode": "min", "gamma": 0.0}, "gamma"),
        (Linear, {"warmup": "-3"}, "not a duration"),
    ],
)
def test_a_setting_that_makes_no_schedule_is_refused_by_name(kind, options, message):
    with pytest.raises(ValueError, match=message):
        kind(clock=CLOCK, **options)


def test_hold_keeps_the_rate_up_and_then_the_line_goes_down_to_final_in_what_is_left():
    clock = Clock(num_examples=100, batch_size=10, total_steps=200)
    schedule = Linear(clock=clock, hold=0.5, final=0.1)
    assert [schedule.factor(step) for step in (0, 98, 99)] == [1.0, 1.0, 1.0]
    assert schedule.factor(149) == pytest.approx(0.55, abs=0.005)  # half a step beside the middle
    assert schedule.factor(199) == pytest.approx(0.1)
    with pytest.raises(ValueError, match="hold"):
        Linear(clock=clock, hold=1.0)


@pytest.mark.parametrize("warmup", [0, 3, "20%"])
@pytest.mark.parametrize("total", [1, 2, 3, 5, 10, 1000])
def test_what_has_an_end_is_there_in_the_last_step_and_not_before(total, warmup):
    """One cycle of 10 steps ended at a twentieth of its peak."""
    clock = Clock(num_examples=100, batch_size=10, total_steps=total)
    if clock.steps(warmup) >= total - 1:
        return  # the warm-up takes all of it, or all but one
    ends = {
        Linear(clock=clock, warmup=warmup, final=0.1): 0.1,
        Linear(clock=clock, warmup=warmup, hold=0.5, final=0.25): 0.25,
        Cosine(clock=clock, warmup=warmup, final=0.01): 0.01,
        OneCycle(clock=clock, warmup=warmup, final_div=500): 1 / 500,
    }
    for schedule, end in ends.items():
        assert schedule.factor(total - 1) == pytest.approx(end, rel=1e-9)
        assert schedule.factor(total + 5) == pytest.approx(end, rel=1e-9)  # of a run made longer
        after = range(math.ceil(schedule.warmup_steps), total - 1)
        assert all(schedule.factor(step) > end * 1.000001 for step in after)


@pytest.mark.parametrize("kind", [Linear, Cosine])
@pytest.mark.parametrize("total", [2, 10, 1000])
def test_what_ends_at_zero_is_there_after_the_last_step_which_still_moves(kind, total):
    clock = Clock(num_examples=100, batch_size=10, total_steps=total)
    schedule = kind(clock=clock)
    assert schedule.factor(total - 1) > 0
    assert schedule.factor(total) == pytest.approx(0, abs=1e-12)


def test_a_run_of_one_step_makes_it_at_the_full_rate():
    clock = Clock(num_examples=10, batch_size=10, total_steps=1)
    assert Linear(clock=clock).factor(0) == Cosine(clock=clock).factor(0) == 1.0
    assert OneCycle(clock=clock).factor(0) == 1.0
    assert Linear(clock=clock, final=0.1).factor(1) == pytest.approx(0.1)  # of a longer run


@pytest.mark.parametrize("total", [4, 10, 37, 500])
@pytest.mark.parametrize("rise", [0.1, 0.3, 0.5])
def test_one_cycle_is_that_of_torch_in_runs_of_any_length(total, rise):
    if rise * total <= 1:
        return  # there torch divides by what is not above zero
    clock = Clock(num_examples=100, batch_size=10, total_steps=total)
    theirs = torch_rates(
        lambda o: lr_scheduler.OneCycleLR(
            o, max_lr=LR, total_steps=total, pct_start=rise, cycle_momentum=False
        ),
        steps=total - 1,
    )
    ours = rates(OneCycle(clock=clock, rise=rise, start_div=25, final_div=25e4), total - 1)
    assert ours == pytest.approx(theirs, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("warmup", [0, 7])
def test_a_run_that_0_1_began_keeps_its_course(warmup):
    """Its checkpoints hold nothing of such a schedule. The shapes of 0.1, by hand."""
    rest = TOTAL - warmup
    shapes = {
        Linear(clock=CLOCK, warmup=warmup, final=0.2): lambda p: 1 - 0.8 * p,
        Cosine(clock=CLOCK, warmup=warmup, final=0.1): lambda p: (
            0.1 + 0.9 * (1 + math.cos(math.pi * p)) / 2
        ),
        OneCycle(clock=CLOCK, warmup=warmup, rise=0.4): lambda p: (
            1 / 25 + (1 - 1 / 25) * (1 - math.cos(math.pi * p / 0.4)) / 2
            if p < 0.4
            else 1e-4 + (1 - 1e-4) * (1 + math.cos(math.pi * (p - 0.4) / 0.6)) / 2
        ),
    }
    for schedule, shape in shapes.items():
        assert schedule.state_dict() != {}
        today = schedule.factor(60)
        schedule.load_state_dict({})
        for step in range(warmup, TOTAL):
            assert schedule.factor(step) == pytest.approx(shape((step - warmup) / rest))
        assert schedule.state_dict() == {}  # nor do those that are written from then on
        assert schedule.factor(60) != today
        schedule.load_state_dict({"ends_in_last_step": 1})
        assert schedule.factor(60) == today
