"""The shared step against loops written by hand."""

import copy
import math

import pytest
import torch
from torch import nn

from trainwright.data.batches import Batch
from trainwright.engine.clock import Clock
from trainwright.engine.device.device import Placement
from trainwright.engine.optim.averages import AveragedTask
from trainwright.engine.optim.player_optimizer import PlayerOptimizer
from trainwright.engine.optim.scaling import LossScale
from trainwright.engine.schedule import Constant, Cosine
from trainwright.engine.settings import TrainerSettings
from trainwright.engine.state import TrainState
from trainwright.engine.trainer import fit, train_step
from trainwright.errors import NonFiniteError
from trainwright.seeds import derive_seed
from trainwright.tasks.gan.losses import discriminator_loss, generator_loss
from trainwright.tasks.task import Objective, Task

pytestmark = pytest.mark.numeric
CPU = Placement(torch.device("cpu"), "fp32", torch.contiguous_format, 1)
CLOCK = Clock(num_examples=100, batch_size=8, total_steps=20)


class Fit(Task):
    """One player with dropout, whose loss or gradient is poisoned when told."""

    objective = Objective("loss", higher_is_better=False)

    def __init__(self):
        super().__init__()
        self.model = nn.Sequential(
            nn.Linear(5, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.5), nn.Linear(16, 1)
        )
        self.poison = None

    @property
    def players(self):
        return {"model": self.model}

    def forward(self, player, batch, handed):
        outputs = self.model(batch.inputs).squeeze(1)
        loss = (outputs - batch.targets).square().mean()
        if self.poison == "loss":
            loss = loss * torch.tensor(float("nan"))
        if self.poison == "gradient":  # the loss stays finite: the slope of a root at 0 is not
            loss = loss + (self.model[0].weight * 0).sqrt().sum()
        return loss, {"loss": loss.detach(), "noise": torch.rand(())}

    def evaluate(self, batch):
        raise NotImplementedError

    def score(self, values):
        raise NotImplementedError


class Pair(Task):
    """Two players with one layer each; the second is the one that can be poisoned."""

    objective = Objective("loss", higher_is_better=False)

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(5, 1), nn.Linear(5, 1)
        self.poison = None

    @property
    def players(self):
        return {"first": self.first, "second": self.second}

    def forward(self, player, batch, handed):
        network = self.players[player]
        loss = (network(batch.inputs).squeeze(1) - batch.targets).square().mean()
        if player == "second" and self.poison == "loss":
            loss = loss / 0
        if player == "second" and self.poison == "gradient":
            loss = loss + (network.weight * 0).sqrt().sum()
        return loss, {"loss": loss.detach()}

    def evaluate(self, batch):
        raise NotImplementedError

    def score(self, values):
        raise NotImplementedError


def adam(player, **options):
    return torch.optim.Adam(player.parameters(), lr=0.01, fused=True, **options)


def make_state(kind=Fit, *, schedule=None, make=adam, **more):
    torch.manual_seed(0)
    task = kind()
    optimizers = {n: PlayerOptimizer(p, [make(p)], l1=0.0) for n, p in task.players.items()}
    schedule = schedule or Constant(clock=CLOCK)
    return TrainState(task, optimizers, schedule, CLOCK, CPU, seed=3, **more)


class Stream:
    """Batches as a run asks for them: one for each step."""

    def at(self, step):
        generator = torch.Generator().manual_seed(step)
        inputs = torch.randn(8, 5, generator=generator)
        return Batch(inputs, inputs.sum(dim=1) + 0.1)


BATCHES = Stream()
PLAIN = TrainerSettings()


def weights(module):
    return [parameter.detach().clone() for parameter in module.parameters()]


def same(first, second):
    return all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_a_one_player_run_is_the_loop_that_one_would_write_to_the_bit():
    state = make_state(schedule=Cosine(clock=CLOCK, warmup=4, final=0.1))
    fit(state, BATCHES, [], TrainerSettings(clip_norm=0.7))
    assert state.step == 20

    torch.manual_seed(0)
    model = Fit().model.train()
    optimizer = adam(model)
    schedule = Cosine(clock=CLOCK, warmup=4, final=0.1)
    for step in range(20):
        torch.manual_seed(derive_seed(3, "step", step))
        batch = BATCHES.at(step)
        loss = (model(batch.inputs).squeeze(1) - batch.targets).square().mean()
        optimizer.zero_grad()
        loss.backward()
        norm = math.sqrt(sum(float(torch.dot(g.flatten(), g.flatten())) for g in grads(model)))
        for gradient in grads(model):
            if norm > 0.7:
                gradient.mul_(0.7 / (norm + 1e-6))
        optimizer.param_groups[0]["lr"] = 0.01 * schedule.factor(step)
        optimizer.step()
    assert same(state.task.model.state_dict().values(), model.state_dict().values())


def grads(model):
    return [parameter.grad for parameter in model.parameters()]


@pytest.mark.parametrize("model", ["mlp_gan", "gan"])
@pytest.mark.parametrize("loss", ["non_saturating", "least_squares", "hinge"])
@pytest.mark.usefixtures("doubles")
def test_a_gan_step_is_two_moves_with_the_fakes_computed_for_each(assembled, model, loss):
    """The generator's fakes are handed on, not computed again: it must make no difference.

    With SGD, as Adam's first step is all sign and would blow up the last bit.
    """
    assembly = assembled(
        f"model={model}", f"task.loss={loss}", "task.relativistic=false", "task.r1=0",
        "task.score=none", "optimizer=sgd", "optimizer.lr=0.01",
        "trainer.precision=fp32", "trainer.memory_format=contiguous", "trainer.batch_size=32",
        "trainer.ema=null", "data.limit=200", "schedule=constant",
    )  # fmt: skip
    state = assembly.state
    gan = copy.deepcopy(state.task.model)
    moves = {
        name: torch.optim.SGD(player.parameters(), lr=0.01, momentum=0.9, nesterov=True)
        for name, player in (("d", gan.discriminator), ("g", gan.generator))
    }
    for step in range(3):
        batch = assembly.train.at(step)
        train_step(state, batch, assembly.settings)
        state.step += 1

        torch.manual_seed(derive_seed(0, "step", step))
        latents = torch.randn(32, gan.latent_dim)
        real = gan.discriminator(batch.inputs, batch.targets)
        fake = gan.discriminator(gan.generator(latents, batch.targets).detach(), batch.targets)
        moves["d"].zero_grad()
        discriminator_loss(loss, real, fake).backward()
        moves["d"].step()
        fake = gan.discriminator(gan.generator(latents, batch.targets), batch.targets)
        moves["g"].zero_grad()
        generator_loss(loss, fake).backward()
        moves["g"].step()
    for mine, reference in zip(state.task.model.parameters(), gan.parameters(), strict=True):
        assert mine.dtype == torch.float64
        torch.testing.assert_close(mine, reference, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("poison", ["loss", "gradient"])
def test_numbers_that_are_not_finite_stop_the_run_with_the_weights_as_they_were(poison):
    state = make_state()
    fit(state, BATCHES, [], PLAIN)
    state.step, before = 7, weights(state.task)
    memory = state.optimizers["model"].state_dict()
    memory = {name: value.clone() for name, value in memory.items()}
    state.task.poison = poison
    with pytest.raises(NonFiniteError, match=r"player 'model'.*step 8"):
        train_step(state, BATCHES.at(7), TrainerSettings(clip_norm=1.0))
    assert same(weights(state.task), before)
    assert same(state.optimizers["model"].state_dict().values(), memory.values())


@pytest.mark.parametrize("poison", ["loss", "gradient"])
def test_the_player_whose_numbers_go_wrong_is_named_and_not_moved(poison):
    state = make_state(Pair)
    first, second = weights(state.task.first), weights(state.task.second)
    state.task.poison = poison
    with pytest.raises(NonFiniteError, match="player 'second'"):
        train_step(state, BATCHES.at(0), PLAIN)
    assert not same(weights(state.task.first), first)
    assert same(weights(state.task.second), second)
    assert state.optimizers["second"].state_dict() == {}


@pytest.mark.usefixtures("doubles")
def test_players_move_in_turn_each_seeing_the_other_as_it_then_stands():
    class Chase(Pair):
        def forward(self, player, batch, handed):
            handed["turns"] = [*handed.get("turns", []), player]
            loss = (self.first.weight - self.second.weight).square().sum()
            return loss, {"loss": loss.detach()}

    def half(player):
        return torch.optim.SGD(player.parameters(), lr=0.25)

    state = make_state(Chase, make=half)
    gap = (state.task.first.weight - state.task.second.weight).detach()
    seen = train_step(state, BATCHES.at(0), PLAIN)
    # lr 1/4 on a square halves the gap: the second player finds half of it left.
    torch.testing.assert_close(seen["first/loss"], gap.square().sum())
    torch.testing.assert_close(seen["second/loss"], (gap / 2).square().sum())
    torch.testing.assert_close(state.task.first.weight - state.task.second.weight, gap / 4)


def test_the_generator_moves_in_every_critic_steps_th_step(assembled):
    assembly = assembled(
        "model=mlp_gan", "task.score=none", "task.critic_steps=3", "task.loss=wasserstein_gp",
        "data.limit=100", "trainer.batch_size=8",
    )  # fmt: skip
    state, moved = assembly.state, []
    gan = state.task.model
    for step in range(7):
        before = weights(gan.discriminator), weights(gan.generator)
        seen = train_step(state, assembly.train.at(step), assembly.settings)
        state.step += 1
        assert not same(weights(gan.discriminator), before[0])
        moved.append(not same(weights(gan.generator), before[1]))
        assert ("generator/loss" in seen) == moved[-1]
    assert moved == [False, False, True, False, False, True, False]


def test_randomness_is_a_function_of_seed_and_step_alone():
    def noise(state, step):
        state.step = step
        return train_step(state, BATCHES.at(0), PLAIN)["noise"].item()

    state = make_state()
    first = {step: noise(state, step) for step in (0, 1, 2, 3)}
    assert len(set(first.values())) == 4
    torch.manual_seed(99)
    again = {step: noise(state, step) for step in (3, 0, 2, 1)}
    assert again == first
    state.seed = 4
    assert noise(state, 0) != first[0]


@pytest.mark.usefixtures("doubles")
def test_accumulation_moves_the_weights_as_the_whole_batch_does():
    whole, split = (make_state(Pair) for _ in range(2))
    fit(whole, BATCHES, [], PLAIN)
    fit(split, BATCHES, [], TrainerSettings(accumulate=4))
    for mine, reference in zip(split.task.parameters(), whole.task.parameters(), strict=True):
        torch.testing.assert_close(mine, reference)


@pytest.mark.usefixtures("doubles")
def test_clipping_holds_the_gradient_to_its_bound_and_reports_the_norm_before():
    def descend(player):
        return torch.optim.SGD(player.parameters(), lr=1.0)

    free, held = make_state(make=descend), make_state(make=descend)
    before = weights(held.task)
    norm = train_step(free, BATCHES.at(0), PLAIN)["grad_norm"]
    assert norm > 0.1
    seen = train_step(held, BATCHES.at(0), TrainerSettings(clip_norm=0.1))
    moved = [a - b for a, b in zip(weights(held.task), before, strict=True)]
    torch.testing.assert_close(nn.utils.get_total_norm(moved), torch.tensor(0.1))
    assert float(seen["grad_norm"]) == pytest.approx(float(norm), rel=1e-7)


def test_a_scaled_loss_gives_the_same_weights_as_an_unscaled_one():
    """A power of two passes through every operation but underflow unchanged."""
    plain, scaled = make_state(), make_state(scale=LossScale(True, 1024.0))
    fit(plain, BATCHES, [], TrainerSettings(clip_norm=0.5))
    fit(scaled, BATCHES, [], TrainerSettings(clip_norm=0.5))
    assert same(scaled.task.state_dict().values(), plain.task.state_dict().values())


@pytest.mark.parametrize("poison", ["loss", "gradient"])
def test_an_overflow_skips_the_step_halves_the_scale_and_training_goes_on(poison):
    state = make_state(scale=LossScale(True, 1024.0, growth_every=3))
    train_step(state, BATCHES.at(0), PLAIN)
    before, state.task.poison = weights(state.task), poison
    train_step(state, BATCHES.at(1), PLAIN)
    assert same(weights(state.task), before)
    assert (state.scale.value, state.scale.num_good) == (512.0, 0)
    state.task.poison = None
    for step in range(2, 5):
        train_step(state, BATCHES.at(step), PLAIN)
    assert not same(weights(state.task), before)
    assert all(torch.isfinite(weight).all() for weight in weights(state.task))
    assert state.scale.value == 1024.0  # three good steps double it again


def test_an_overflow_that_no_scale_can_help_is_an_error():
    state = make_state(scale=LossScale(True, 8.0))
    state.task.poison = "loss"
    for scale in (4.0, 2.0, 1.0):
        train_step(state, BATCHES.at(0), PLAIN)
        assert state.scale.value == scale
    with pytest.raises(NonFiniteError):
        train_step(state, BATCHES.at(0), PLAIN)


def test_the_scale_goes_on_from_its_state():
    scale = LossScale.for_precision("fp16")
    assert scale.value == 2**16
    for _ in range(1999):
        scale.succeeded()
    fresh = LossScale.for_precision("fp16")
    fresh.load_state_dict(scale.state_dict())
    fresh.succeeded()
    assert fresh.value == 2**17
    for precision in ("fp32", "bf16"):
        assert not LossScale.for_precision(precision).is_dynamic


@pytest.mark.usefixtures("doubles")
def test_averages_are_those_computed_by_hand():
    state = make_state()
    state.averaged = AveragedTask(state.task, 0.6)
    means = weights(state.task)
    for step in range(12):
        train_step(state, BATCHES.at(step), PLAIN)
        state.step += 1
        decay = min(0.6, (1 + step) / (10 + step))
        means = [
            decay * m + (1 - decay) * w for m, w in zip(means, weights(state.task), strict=True)
        ]
    for mine, reference in zip(weights(state.averaged.task), means, strict=True):
        torch.testing.assert_close(mine, reference)
    trained, averaged = state.task.model[1], state.averaged.task.model[1]
    assert averaged.running_mean is not trained.running_mean
    assert torch.equal(averaged.running_mean, trained.running_mean)
    assert torch.equal(averaged.running_var, trained.running_var)
    assert averaged.num_batches_tracked == 12
    assert state.evaluated_task is state.averaged.task


def test_a_gan_averages_its_generator_and_shares_its_discriminator(assembled):
    assembly = assembled("model=gan", "task.score=none", "trainer.ema=0.9", "data.limit=100",
                         "trainer.batch_size=8")  # fmt: skip
    state = assembly.state
    train_step(state, assembly.train.at(0), assembly.settings)
    trained, averaged = state.task.model, state.averaged.task.model
    assert averaged.discriminator is trained.discriminator
    assert averaged.generator is not trained.generator
    shared = {id(p) for p in trained.generator.parameters()}
    assert not shared & {id(p) for p in averaged.generator.parameters()}
    assert not same(weights(trained.generator), weights(averaged.generator))


def test_fit_ends_after_the_step_in_which_a_hook_asks_it_to():
    class StopAt:
        calls = ()

        def due(self, step, total):
            return step % 2 == 0

        def __call__(self, state, metrics):
            self.calls = (*self.calls, state.step)
            if state.step == 6:
                state.stop_reason = "enough"

    hook, state = StopAt(), make_state()
    fit(state, BATCHES, [hook], PLAIN)
    assert (state.step, hook.calls) == (6, (2, 4, 6))
