import math

import pytest
import torch
from torch import nn

from trainwright.data.batches import Batch
from trainwright.engine.device.device import Placement
from trainwright.engine.gradients import clip_, global_norm, gradients
from trainwright.tasks.task import Objective, Task

pytestmark = pytest.mark.numeric
CPU = Placement(torch.device("cpu"), "fp32", torch.contiguous_format, 1)


class Duel(Task):
    """Two small players, each of whose losses reads the other too."""

    objective = Objective("loss", higher_is_better=False)

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(4, 8), nn.Linear(8, 3)
        self.unused = nn.Parameter(torch.ones(2))
        self.first.register_parameter("unused", self.unused)

    @property
    def players(self):
        return {"first": self.first, "second": self.second}

    def forward(self, player, batch, handed):
        outputs = self.second(torch.tanh(self.first(batch.inputs)))
        loss = (outputs - batch.targets[:, None]).square().mean()
        loss = loss if player == "first" else -loss
        return loss, {"loss": loss.detach(), "largest": outputs.detach().abs().mean()}

    def evaluate(self, batch):
        raise NotImplementedError

    def score(self, values):
        raise NotImplementedError


def duel():
    torch.manual_seed(0)
    return Duel().double()


def batch(size=12):
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randn(size, 4, generator=generator, dtype=torch.float64)
    return Batch(inputs, torch.randn(size, generator=generator, dtype=torch.float64))


def parts(whole, num):
    chunks = zip(whole.inputs.chunk(num), whole.targets.chunk(num), strict=True)
    return [Batch(i, t) for i, t in chunks]


@pytest.mark.parametrize("player", ["first", "second"])
def test_the_gradient_is_that_of_backward_for_that_player_and_no_other_is_touched(player):
    task, reference = duel(), duel()
    parameters = list(task.players[player].parameters())
    grads, seen = gradients(task, player, parameters, [batch()], [{}], CPU)
    loss, _ = reference(player, batch(), {})
    loss.backward()
    for grad, theirs in zip(grads, reference.players[player].parameters(), strict=True):
        expected = torch.zeros_like(theirs) if theirs.grad is None else theirs.grad
        assert torch.equal(grad, expected)
    assert all(parameter.grad is None for parameter in task.parameters())
    assert all(parameter.requires_grad for parameter in task.parameters())
    assert torch.equal(seen["loss"], loss.detach())


@pytest.mark.parametrize("num_parts", [1, 2, 3, 6, 12])
def test_accumulating_over_equal_parts_gives_the_gradient_of_the_whole_batch(num_parts):
    task = duel()
    parameters = list(task.first.parameters())
    whole, seen = gradients(task, "first", parameters, [batch()], [{}], CPU)
    handed = [{} for _ in range(num_parts)]
    accumulated, mean = gradients(
        task, "first", parameters, parts(batch(), num_parts), handed, CPU, loss_scale=8.0
    )
    for mine, reference in zip(accumulated, whole, strict=True):
        torch.testing.assert_close(mine, 8 * reference, rtol=1e-12, atol=1e-12)
    for name, value in seen.items():
        torch.testing.assert_close(mean[name], value, rtol=1e-12, atol=1e-12)


@pytest.mark.usefixtures("doubles")
@pytest.mark.parametrize("max_norm", [1e-3, 0.5, 1e3])
def test_clipping_equals_torch_s(max_norm):
    values = [torch.randn(3, 4), torch.randn(5), torch.randn(2, 3, 2, 2)]
    values[2] = values[2].contiguous(memory_format=torch.channels_last)
    parameters = [nn.Parameter(torch.zeros_like(value)) for value in values]
    for parameter, value in zip(parameters, values, strict=True):
        parameter.grad = value.clone()
    theirs = nn.utils.clip_grad_norm_(parameters, max_norm)
    norm = global_norm(values)
    clip_(values, norm, max_norm)
    assert norm == pytest.approx(float(theirs))
    for mine, parameter in zip(values, parameters, strict=True):
        torch.testing.assert_close(mine, parameter.grad)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_one_bad_number_anywhere_makes_the_norm_not_finite(bad):
    for position in range(6):
        values = [torch.ones(2, 2), torch.ones(2)]
        flat = values[0].view(-1) if position < 4 else values[1]
        flat[position % 4] = bad
        assert not math.isfinite(global_norm(values))
