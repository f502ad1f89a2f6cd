"""A side that takes turns computes as many steps as it was given, and none while it waits."""

import os

import pytest

TURN = 3  # steps that are timed, after one that is not


@pytest.fixture
def gate_and_ends():
    from gate import TurnGate

    reports, its_reports = os.pipe()
    its_turns, turns = os.pipe()
    yield TurnGate(TURN, its_reports, its_turns), reports, turns
    for descriptor in (reports, its_reports, its_turns, turns):
        os.close(descriptor)


def test_a_turn_is_one_step_that_is_not_timed_and_those_that_are(gate_and_ends, monkeypatch):
    """With a clock that moves one second a step, a turn of three steps takes three seconds."""
    import gate as module

    gate, reports, turns = gate_and_ends
    now = 0.0
    monkeypatch.setattr(module.time, "perf_counter", lambda: now)
    os.write(turns, b"...")
    seen = []
    for number in range(module.WARM_UP + 2 * (1 + TURN)):
        gate.step()
        now += 1.0
        os.set_blocking(reports, False)
        try:
            seen.append((number + 1, os.read(reports, 64)))
        except BlockingIOError:
            continue
    first = module.WARM_UP  # the step before which it waits for the first turn
    assert seen == [
        (first, b"ready\n"),
        (first + 1 + TURN, b"3.0\n"),
        (first + 2 * (1 + TURN), b"3.0\n"),
    ]


def test_it_waits_until_it_is_given_a_turn(gate_and_ends):
    import threading

    import gate as module

    gate, reports, turns = gate_and_ends
    done = threading.Event()

    def train():
        for _ in range(module.WARM_UP):
            gate.step()
        done.set()

    thread = threading.Thread(target=train, daemon=True)
    thread.start()
    assert os.read(reports, 64) == b"ready\n"
    assert not done.is_set()
    os.write(turns, b".")
    assert done.wait(timeout=60)
