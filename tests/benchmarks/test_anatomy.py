"""What a step computes and moves, against counts by hand; and what the command prints."""

import re
import subprocess
import sys

import pytest
import torch


@pytest.mark.slow
def test_the_floor_counts_the_products_of_a_step(assembled):
    """digits, 64 pixels, one layer to 10 classes: forward 2 B 64 10, backward as much again.

    The gradient with respect to the images is nobody's business.
    """
    from floor import floor

    run = assembled("model=mlp", "model.widths=[]", "data=digits", "trainer.precision=fp32")
    counted = floor(run.state, run.train, run.settings)
    assert counted.flops == 2 * (2 * 64 * 64 * 10)
    assert counted.arithmetic == counted.flops / counted.flops_a_second > 0
    assert counted.memory > 0


def test_traffic_is_what_is_read_and_written():
    from floor import Traffic

    left, right = torch.ones(1000), torch.ones(1000)
    with Traffic() as traffic:
        left + right  # two read, one written
    assert traffic.bytes == 3 * 4000
    with Traffic() as traffic:
        left.add_(right)
    assert traffic.bytes == 3 * 4000
    with Traffic() as traffic:
        left.view(10, 100).t()
        torch.mm(left.view(10, 100), right.view(100, 10))  # counted as arithmetic
    assert traffic.bytes == 0


def test_the_stopwatch_adds_up_calls(monkeypatch):
    from anatomy import Stopwatch

    watch = Stopwatch(torch.device("cpu"))

    class Sleeper:
        def rest(self):
            return "rested"

    clock = iter([1.0, 3.0, 10.0, 10.5])
    monkeypatch.setattr("anatomy.time.perf_counter", lambda: next(clock))
    watch.timed(Sleeper, "rest", "resting")
    assert [Sleeper().rest(), Sleeper().rest()] == ["rested", "rested"]
    assert watch.seconds == {"resting": 2.5}
    assert watch.calls == {"resting": 2}


@pytest.mark.slow
def test_the_command_names_every_part():
    from measure import HERE

    words = ["model=mlp", "data=digits", "trainer.steps=24", "trainer.batch_size=16"]
    ended = subprocess.run(
        [sys.executable, "anatomy.py", *words],
        cwd=HERE,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    shares = {
        name: float(share)
        for name, share in re.findall(r"^  (\w[\w ]*?) +[\d.]+ ms +(\d+)%$", ended.stdout, re.M)
    }
    assert set(shares) == {"data", "forward", "backward", "optimizer", "hooks", "the rest"}
    assert 96 <= sum(shares.values()) <= 104  # rounded
    assert re.search(r"arithmetic .* MFLOP at .* GFLOP/s", ended.stdout)
