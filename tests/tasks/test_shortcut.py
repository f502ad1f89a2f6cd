"""Shortcuts of a flow: what they learn, and that one step arrives where a flow needs many."""

import copy

import pytest
import torch

from trainwright.data.dataset import DataInfo
from trainwright.nn.generators.unet import UNet
from trainwright.nn.generators.velocity import DenseVelocity, Velocity
from trainwright.tasks.flow.paths import linear
from trainwright.tasks.flow.sampling import Sampling
from trainwright.tasks.flow.shortcut import Shortcut
from trainwright.tasks.flow.task import Flow

pytestmark = [pytest.mark.numeric, pytest.mark.usefixtures("doubles")]
TEN = DataInfo.of_one_input("ten", (1, 8, 8), "classes", tuple("0123456789"), (0.5,), (0.3,))
LINE = DataInfo.of_one_input("line", (1,), "none", (), (0.0,), (1.0,))
MEAN, STD = 1.5, 0.4


class Noting(Velocity):
    """Says its point times the length, plus the time, and notes what it was given."""

    def __init__(self):
        super().__init__((1, 8, 8), 10, 4)
        self.seen = []

    def forward(self, points, times, classes=None, lengths=None):
        self.seen.append((points, times, classes, lengths))
        lengths = torch.zeros(len(points)) if lengths is None else lengths
        return points * lengths.view(-1, 1, 1, 1) + times.view(-1, 1, 1, 1)


def test_a_step_has_to_arrive_where_two_of_half_its_length_do():
    torch.manual_seed(0)
    task = Shortcut(model=Noting(), info=TEN, seed=0, lengths=3, drop_classes=0.0)
    classes = torch.arange(200) % 10
    batch = {"inputs": torch.rand(300, 1, 8, 8) * 2 - 1, "targets": classes}
    found = task.evaluate(batch)["loss"]
    flow, first, second, step = task.model.seen
    points, times, told, lengths = step
    assert flow[3] is None
    assert torch.equal(told, classes)
    half = 0.5**lengths  # of a step of 1, 1/2 and 1/4: two of 1/2, 1/4, 1/8
    assert lengths.unique().tolist() == [1, 2, 3]
    for length in (1, 2, 3):
        starts = times[lengths == length].unique() * 2 ** (length - 1)
        assert starts.tolist() == list(range(2 ** (length - 1)))
    halves = torch.where(lengths == 3, 0, lengths + 1)  # the shortest steps are the flow's own
    assert torch.equal(first[3], halves)
    assert torch.equal(second[3], halves)

    def wide(values):
        return values.view(-1, 1, 1, 1)

    torch.testing.assert_close(first[0], points)
    one = points * wide(halves) + wide(times)
    torch.testing.assert_close(second[0], points + wide(half) * one)
    torch.testing.assert_close(second[1], times + half)
    two = second[0] * wide(halves) + wide(second[1])
    arrived = points + wide(half) * (one + two)
    said = points + 2 * wide(half) * (points * wide(lengths) + wide(times))
    gap = ((said - arrived) / (2 * wide(half))).square().mean(dim=(1, 2, 3))
    noise = (flow[0] - wide(flow[1]) * batch["inputs"]) / (1 - wide(flow[1]))
    of_flow = (wide(flow[1]) - (batch["inputs"] - noise)).square().mean(dim=(1, 2, 3))
    torch.testing.assert_close(found, of_flow + gap)


@pytest.mark.parametrize("make", [UNet, DenseVelocity])
def test_a_network_that_learns_steps_says_at_first_what_it_said_and_then_tells_them_apart(make):
    torch.manual_seed(0)
    plain = make(input_shape=(1, 8, 8), num_classes=10)
    for parameter in plain.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    told = copy.deepcopy(plain)
    told.learn_steps(4)
    missing, unexpected = told.load_state_dict(plain.state_dict(), strict=False)
    assert (missing, unexpected) == (["by_step.weight"], [])
    given = torch.randn(2, 1, 8, 8), torch.rand(2), torch.tensor([3, 10])
    with torch.no_grad():
        assert torch.equal(told(*given, torch.tensor([0, 4])), plain(*given))
        torch.nn.init.normal_(told.by_step.weight)
        sums = {float(told(*given, torch.full((2,), length)).sum()) for length in range(5)}
        assert len(sums) == 5
        assert torch.equal(told(*given), told(*given, torch.zeros(2, dtype=torch.long)))


def test_a_sample_is_told_how_long_its_steps_are():
    task = Shortcut(model=Noting(), info=TEN, seed=0, lengths=4)
    for steps, length in ((1, 1), (2, 2), (8, 4)):
        task.model.seen.clear()
        task.generate(2, seed=0, steps=steps, guidance=1.5)
        assert {tuple(seen[3].tolist()) for seen in task.model.seen} == {(length,) * 4}
    task.model.seen.clear()
    task.generate(2, seed=0, sampler="euler")
    assert [seen[3] for seen in task.model.seen] == [None] * 4


def test_steps_that_were_not_learned_are_refused():
    shortcut = Shortcut(model=Noting(), info=TEN, seed=0, lengths=3)
    with pytest.raises(ValueError, match="steps=3: a shortcut has learned 1, 2, 4; for others"):
        shortcut.generate(1, seed=0, steps=3)
    with pytest.raises(ValueError, match="lengths=0 is not from 1 to 10"):
        Shortcut(model=Noting(), info=TEN, seed=0, lengths=0)
    with pytest.raises(ValueError, match="runs fork RUN task=shortcut"):
        Flow(model=Noting(), info=TEN, seed=0).generate(1, seed=0, sampler="shortcut")


def test_one_step_of_a_shortcut_goes_from_one_gaussian_to_another():
    torch.manual_seed(0)
    model = DenseVelocity(input_shape=(1,), num_classes=0, widths=(32, 32))
    task = Shortcut(model=model, info=LINE, seed=0, lengths=3)
    optimizer = torch.optim.Adam(task.parameters(), 1e-2)
    for _ in range(200):
        loss, _ = task("model", {"inputs": MEAN + STD * torch.randn(128, 1)}, {})
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    noise = torch.linspace(-1.5, 1.5, 7).view(-1, 1)
    with torch.no_grad():
        found = Sampling("shortcut", 1).follow(model, noise, None, linear)[0]
    # One Euler step of the flow itself would be the mean, wrong by 0.6 at both ends.
    assert (found - (MEAN + STD * noise)).abs().max() < 0.2
