"""Private steps: gradients by hand and by Opacus, what is drawn, and what it is said to cost."""

import contextlib
import json
import warnings

import pytest
import torch
from torch.nn import functional

from trainwright.config.plan import Plan
from trainwright.data.dataset import DataInfo
from trainwright.engine.checkpoint.checkpoint import load
from trainwright.engine.private import Privacy, per_example
from trainwright.errors import ConfigError
from trainwright.nn.cnn import CNN
from trainwright.run.assemble.assemble import assemble
from trainwright.tasks.classifier import Classifier

pytestmark = pytest.mark.numeric
PRIVATE = ("trainer.privacy.epsilon=3", "trainer.privacy.delta=1e-4", "trainer.batch_size=32")


@pytest.fixture
def game(doubles):
    """A classifier of 8x8 images, its parameters, and a batch of eight."""
    torch.manual_seed(0)
    info = DataInfo.of_one_input("digits", (1, 8, 8), "classes", tuple("abc"), (0.5,), (0.5,))
    net = CNN(input_shape=(1, 8, 8), num_outputs=3, channels=(4, 6), dense=(5,), norm="layer")
    task = Classifier(model=net, info=info)
    batch = {"inputs": torch.randn(8, 1, 8, 8), "targets": torch.arange(8) % 3}
    return task, list(task.parameters()), batch


def by_hand(task, parameters, batch):
    """Gradients one example at a time."""
    for x, y in zip(batch["inputs"], batch["targets"], strict=True):
        loss = functional.cross_entropy(task.model(x[None]), y[None])
        yield torch.autograd.grad(loss, parameters)


def quiet(**changes):
    """Steps without noise."""
    settings = {"epsilon": 3, "delta": 1e-5, "clip": 0.3, "noise": 0.0, "rate": 0.1}
    return Privacy(**(settings | {"batch_size": 10, "seed": 0} | changes))


def step_of(privacy, game, *, parts=1, step=0):
    task, parameters, batch = game
    chunks = {name: column.tensor_split(parts) for name, column in batch.items()}
    of_parts = [({name: c[i] for name, c in chunks.items()}, {}) for i in range(parts)]
    return privacy.gradients(
        task, "model", parameters, of_parts, step=step, autocast=contextlib.nullcontext
    )


def test_the_gradient_of_each_example_is_opacuss(game):
    task, parameters, batch = game
    found, seen = per_example(task, "model", parameters, batch, {}, contextlib.nullcontext)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from opacus.grad_sample import GradSampleModule

        wrapped = GradSampleModule(task.model, loss_reduction="sum")
        losses = functional.cross_entropy(
            wrapped(batch["inputs"]), batch["targets"], reduction="none"
        )
        losses.sum().backward()
    for ours, parameter in zip(found, parameters, strict=True):
        theirs = parameter.grad_sample
        torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(seen["loss"], losses.detach())
    wrapped.remove_hooks()


@pytest.mark.parametrize("parts", [1, 3])
def test_a_step_sums_clipped_gradients_over_the_examples_expected(game, parts):
    task, parameters, batch = game
    every = [list(gradients) for gradients in by_hand(task, parameters, batch)]
    norms = [float(torch.cat([g.flatten() for g in gradients]).norm()) for gradients in every]
    clip = sorted(norms)[4]  # so that some are clipped and some are not
    factors = [min(1, clip / norm) for norm in norms]
    expected = [
        sum(f * g for f, g in zip(factors, of_one, strict=True)) / 10
        for of_one in zip(*every, strict=True)
    ]
    found, seen = step_of(quiet(clip=clip), game, parts=parts)
    torch.testing.assert_close(found, expected)
    loss = functional.cross_entropy(task.model(batch["inputs"]), batch["targets"])
    torch.testing.assert_close(seen["loss"], loss.detach(), check_dtype=False)


def test_no_example_moves_the_sum_by_more_than_the_clip(game):
    task, parameters, batch = game
    least = {name: column[1:] for name, column in batch.items()}
    wild = {**batch, "inputs": torch.cat([1e6 * batch["inputs"][:1], batch["inputs"][1:]])}
    without, _ = step_of(quiet(), (task, parameters, least))
    for other in (batch, wild):
        found, _ = step_of(quiet(), (task, parameters, other))
        moved = torch.cat([(a - b).flatten() for a, b in zip(found, without, strict=True)]).norm()
        assert float(moved) * 10 <= 0.3 * (1 + 1e-9)


def test_noise_is_as_large_as_was_accounted_for_and_a_function_of_the_step(game):
    none = {name: column[:0] for name, column in game[2].items()}
    nothing = (game[0], game[1], none)
    loud = quiet(noise=2.0, clip=0.5)

    def drawn(step, privacy=loud):
        return torch.cat([g.flatten() for g in step_of(privacy, nothing, step=step)[0]])

    assert torch.equal(drawn(3), drawn(3))
    assert not torch.equal(drawn(3), drawn(4))
    assert not torch.equal(drawn(3), drawn(3, quiet(noise=2.0, clip=0.5, seed=1)))
    many = 10 * torch.cat([drawn(step) for step in range(40)])  # over 10 examples expected
    # The deviation of n normal numbers is known to one in sqrt(2 n); five times that, and of the
    # mean to one in sqrt(n).
    assert float(many.std()) == pytest.approx(1.0, abs=5 / (2 * len(many)) ** 0.5)
    assert float(many.mean()) == pytest.approx(0.0, abs=5 / len(many) ** 0.5)


def test_each_example_is_drawn_by_a_coin_of_its_own_in_every_step(assembled):
    train = assembled("data=digits", "model=mlp", "model.widths=[4]", *PRIVATE).train
    steps = [train.indices(step) for step in range(400)]
    assert all(torch.equal(train.indices(step), steps[step]) for step in (7, 3))
    rate, num = 32 / train.num_examples, train.num_examples
    sizes = torch.tensor([len(drawn) for drawn in steps]).double()
    assert all(len(drawn.unique()) == len(drawn) for drawn in steps)
    assert float(sizes.mean()) == pytest.approx(32, abs=5 * (num * rate * (1 - rate) / 400) ** 0.5)
    assert float(sizes.var()) == pytest.approx(num * rate * (1 - rate), rel=5 * (2 / 400) ** 0.5)
    times = torch.bincount(torch.cat(steps), minlength=num).double()
    assert float(times.var()) == pytest.approx(400 * rate * (1 - rate), rel=5 * (2 / num) ** 0.5)
    assert train.at(5)["inputs"].shape[0] == len(steps[5])


def test_runs_of_one_seed_share_neither_coins_nor_noise_unless_they_are_the_same(assembled):
    words = ("data=digits", "model=mlp", "model.widths=[4]", *PRIVATE)
    first, same, other = (
        assembled(*words, more)
        for more in ("trainer.log_every=7", "trainer.log_every=9", "optimizer.lr=3e-3")
    )
    assert first.state.privacy.seed == same.state.privacy.seed != other.state.privacy.seed
    assert torch.equal(first.train.indices(3), same.train.indices(3))
    assert not torch.equal(first.train.indices(3), other.train.indices(3))


def test_what_is_spent_is_what_opacus_says_step_by_step(assembled):
    privacy = assembled("data=digits", "model=mlp", "model.widths=[4]", *PRIVATE,
                        "trainer.steps=40").state.privacy  # fmt: skip
    from opacus.accountants import RDPAccountant

    accountant = RDPAccountant()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(40):
            accountant.step(noise_multiplier=privacy.noise, sample_rate=privacy.rate)
        assert privacy.spent(40) == accountant.get_epsilon(1e-4)
    assert 2.98 < privacy.spent(40) <= 3
    assert privacy.spent(0) == 0 < privacy.spent(1) < privacy.spent(39) < privacy.spent(40)


def test_a_private_run_goes_on_to_the_bit_and_says_what_it_has_spent(train, resume, tmp_path):
    words = ("data=digits", "model=mlp", "model.widths=[8]", "model.dropout=0.2", *PRIVATE,
             "trainer.log_every=2", "trainer.steps=6", "trainer.save_every=3",
             "trainer.evaluate_every=3", "seed=12345678901234")  # fmt: skip
    whole, parts = (train(tmp_path / name, *words).folder for name in ("whole", "parts"))
    summary = json.loads((parts / "summary.json").read_text())
    # As after a kill: nothing is left of the second half but the log, which is ahead.
    (parts / "checkpoints" / "previous.safetensors").replace(
        parts / "checkpoints" / "last.safetensors"
    )
    (parts / "checkpoints" / "best.safetensors").unlink()
    (parts / "summary.json").write_text(json.dumps({**summary, "status": "running"}))
    resume(parts)
    assert (whole / "metrics.jsonl").read_text() == (parts / "metrics.jsonl").read_text()
    held = [load(folder / "checkpoints" / "last.safetensors")[0] for folder in (whole, parts)]
    assert held[0].keys() == held[1].keys()
    assert all(torch.equal(held[0][name], held[1][name]) for name in held[0])
    ends = [json.loads((f / "summary.json").read_text())["privacy"] for f in (whole, parts)]
    assert ends[0] == ends[1]
    rows = [json.loads(line) for line in (parts / "metrics.jsonl").read_text().splitlines()]
    spent = [row["epsilon"] for row in rows]
    assert spent == sorted(spent)
    assert spent[-1] == pytest.approx(ends[0]["epsilon"], rel=1e-6)
    with pytest.raises(ConfigError, match="cannot be changed when a private run goes on"):
        resume(parts, "trainer.steps=9")


def test_a_network_whose_examples_cannot_be_told_apart_is_refused(assembled, tmp_path):
    (tmp_path / "a.txt").write_text("to be or not to be\n" * 400)
    words = ("data=text", f"data.path={tmp_path}/a.txt", f"data.root={tmp_path}", "data.context=16",
             "model=gpt", "model.depth=1", "model.heads=2", "model.width=16")  # fmt: skip
    with pytest.raises(ConfigError, match="cannot give gradients of single examples"):
        assembled(*words, *PRIVATE)


def test_a_run_without_privacy_cannot_be_called_private_later(train, resume, tmp_path):
    folder = train(tmp_path / "run", "data=digits", "model=mlp", "trainer=smoke").folder
    with pytest.raises(ConfigError, match=r"trainer.privacy.epsilon: cannot be changed"):
        resume(folder, "trainer.privacy.epsilon=3", "trainer.steps=9")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("model=gan", "task.score=none"), "a GAN has 2 players"),
        (("model=resnet",), "features.1 is batch normalisation"),
        (("model=mlp", "trainer.batch_size=8"), "make it at least 16"),
        (("model=mlp", "trainer.privacy.delta=0.01"), "one of them be published"),
        (("model=mlp", "trainer.on_ill=rollback"), "makes steps again otherwise"),
        (("model=mlp", "data.balance=true"), "more often than others"),
        (("model=cnn", "data.augment.mixup=0.2"), "mixes examples"),
        (("model=mlp_flow", "task.coupling=optimal"), "task.coupling=optimal does not go with"),
        (("model=mlp", "trainer.devices=2"), "shares batches of one size"),
        (("model=mlp", "trainer.privacy.epsilon=1e-9"), "no noise is enough"),
    ],
)
def test_what_cannot_be_private_is_refused_in_words(composed, words, told):
    with pytest.raises(ConfigError, match=told):
        assemble(Plan.of(composed("data=digits", *PRIVATE, *words)))
