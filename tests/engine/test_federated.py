"""Federated averaging beside rounds by hand; who holds what; the same bits when a run goes on."""

import copy
import json

import numpy as np
import pytest
import torch
from torch import nn

from trainwright.config.plan import Plan
from trainwright.engine.federated.partition import at_random, by_mixtures, mixtures
from trainwright.engine.optim.player_optimizer import PlayerOptimizer
from trainwright.engine.step import train_step
from trainwright.engine.trainer import fit
from trainwright.errors import ConfigError, NonFiniteError
from trainwright.run.assemble.assemble import assemble
from trainwright.run.resume.verify import verify
from trainwright.runs.folder import RunFolder

SGD = ("optimizer=sgd", "optimizer.lr=0.1", "optimizer.momentum=0", "optimizer.nesterov=false")
ROUNDS = (
    "trainer=federated", "data=digits", "model=mlp", "model.widths=[8]", "trainer.precision=fp32",
    "federated.clients=5", "federated.rounds=3", "trainer.batch_size=100", *SGD,
    "trainer.plots=false", "trainer.sample_every=0",
)  # fmt: skip
ALL = (
    "federated.split=dirichlet", "federated.momentum=0.5", "model.norm=batch",
    "federated.proximal=0.3", "federated.fraction=0.6", "optimizer.momentum=0.9",
)  # fmt: skip


@pytest.mark.parametrize("num", [3, 100, 101])
def test_at_random_every_example_has_one_client_and_clients_are_of_one_size(num):
    parts = at_random(num, 7, 0, "train")
    assert torch.equal(torch.cat(parts).sort().values, torch.arange(num))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
    again, other = at_random(num, 7, 0, "train"), at_random(num, 7, 1, "train")
    assert all(map(torch.equal, parts, again))
    assert num == 3 or not all(map(torch.equal, parts, other))


@pytest.mark.parametrize("alpha", [0.001, 0.3, 1e5])
def test_by_dirichlet_so_too_and_alpha_says_how_far_classes_are_from_all(alpha):
    classes = torch.arange(2003) % 10 % 9  # class 0 twice as often
    wanted = mixtures(classes, 8, alpha, 3)
    assert wanted.sum(axis=1) == pytest.approx(np.ones(8))
    parts = by_mixtures(classes, wanted, 3, "train")
    assert torch.equal(torch.cat(parts).sort().values, torch.arange(2003))
    assert {len(part) for part in parts} == {250, 251}
    assert all(map(torch.equal, parts, by_mixtures(classes, wanted, 3, "train")))
    largest = [np.bincount(classes[part]).max() / len(part) for part in parts]
    if alpha > 1:  # about 0.2 of each are class 0: 0.13 is five deviations of 250 draws
        assert max(largest) < 0.2 + 0.13
    else:
        assert largest[0] > {0.001: 0.75, 0.3: 0.3}[alpha]  # who comes first has what it wants


def test_a_class_that_training_lacks_is_dealt_out_all_the_same():
    shares = mixtures(torch.tensor([0, 1, 1, 0]), 2, 0.1, 0)
    parts = by_mixtures(torch.tensor([0, 2, 2, 1, 2]), shares, 0, "validation")
    assert torch.equal(torch.cat(parts).sort().values, torch.arange(5))


@pytest.mark.numeric
def test_the_pull_is_the_gradient_of_fedproxs_penalty(doubles):
    torch.manual_seed(0)
    net = nn.Linear(4, 3)
    start = [torch.randn_like(p) for p in net.parameters()]
    by_hand = copy.deepcopy(net)
    x, y = torch.randn(6, 4), torch.randn(6, 3)
    penalty = sum((p - s).square().sum() for p, s in zip(by_hand.parameters(), start, strict=True))
    ((by_hand(x) - y).square().mean() + 0.7 / 2 * penalty).backward()

    optimizer = PlayerOptimizer(net, [torch.optim.SGD(net.parameters(), lr=0.1)], l1=0.0)
    optimizer.pull_to(start, 0.7)
    loss = (net(x) - y).square().mean()
    optimizer.step(torch.autograd.grad(loss, optimizer.parameters), 1.0)
    for found, expected in zip(net.parameters(), by_hand.parameters(), strict=True):
        torch.testing.assert_close(found, expected - 0.1 * expected.grad)


def rounds_by_hand(assembly, *, momentum=0.0, mu=0.0):
    """The weights and statistics after all rounds, in plain torch: who takes part is asked for."""
    state, federation = assembly.state, assembly.state.rounds
    net = copy.deepcopy(state.task.model)
    velocity = [torch.zeros_like(p) for p in net.parameters()]
    inner = federation.settings.epochs
    for number in range(state.clock.total_steps):
        state.step = number
        chosen = federation.chosen(state)
        lr = 0.1 * state.schedule.factor(number)
        sent = []
        for client in chosen:
            local = copy.deepcopy(net)
            size = client.train.num_examples / client.train.batch_size
            for step in range(round(inner * size)):
                batch = client.train.at(number * round(inner * size) + step)
                loss = nn.functional.cross_entropy(local(batch["inputs"]), batch["targets"])
                for p, start in zip(local.parameters(), net.parameters(), strict=True):
                    loss = loss + mu / 2 * (p - start.detach()).square().sum()
                grads = torch.autograd.grad(loss, list(local.parameters()))
                with torch.no_grad():
                    for p, grad in zip(local.parameters(), grads, strict=True):
                        p -= lr * grad
            sent.append((client.train.num_examples, local))
        total = sum(n for n, _ in sent)
        with torch.no_grad():
            for place, p in enumerate(net.parameters()):
                mean = sum(n / total * list(local.parameters())[place] for n, local in sent)
                velocity[place] = momentum * velocity[place] + p - mean
                p -= velocity[place]
            for place, b in enumerate(net.buffers()):
                values = [list(local.buffers())[place] for _, local in sent]
                if b.is_floating_point():
                    shares = [n / total for n, _ in sent]
                    b.copy_(sum(s * v for s, v in zip(shares, values, strict=True)))
                else:
                    b.copy_(max(values))
    state.step = 0
    return net


@pytest.mark.numeric
@pytest.mark.parametrize(
    ("more", "given"),
    [
        ((), {}),
        (("federated.epochs=2", "model.norm=batch"), {}),
        (("federated.momentum=0.6", "federated.fraction=0.4"), {"momentum": 0.6}),
        (("federated.proximal=2", "federated.split=dirichlet"), {"mu": 2}),
    ],
)
def test_rounds_are_those_by_hand(doubles, assembled, more, given):
    assembly = assembled(*ROUNDS, *more)
    expected = rounds_by_hand(assembly, **given)
    before = copy.deepcopy(assembly.state.task.model)
    fit(assembly.state, assembly.train, [], assembly.settings)
    found = assembly.state.task.model.state_dict()
    for name, value in expected.state_dict().items():
        torch.testing.assert_close(found[name], value)
    moved = [float((found[n] - v).abs().sum()) for n, v in before.state_dict().items()]
    assert min(moved) > 0


@pytest.mark.numeric
def test_one_client_with_sgd_at_one_rate_is_plain_training_on_its_batches(doubles, assembled):
    """Where the optimizer has no memory: it begins anew in each round."""
    assembly = assembled(*ROUNDS, "federated.clients=1", "schedule=constant")
    (client,) = assembly.state.rounds.clients
    plain = assembled(*ROUNDS, "schedule=constant", "federated=null", "trainer.steps=3")
    fit(assembly.state, assembly.train, [], assembly.settings)
    for step in range(client.steps * 3):
        plain.state.step = step
        train_step(plain.state, client.train.at(step), plain.settings)
    for found, expected in zip(
        assembly.state.task.parameters(), plain.state.task.parameters(), strict=True
    ):
        torch.testing.assert_close(found, expected)


def test_a_run_that_goes_on_makes_the_same_rounds_to_the_bit(assembled, in_two_parts, same_bits):
    whole = assembled(*ROUNDS, *ALL)
    fit(whole.state, whole.train, [], whole.settings)
    same_bits(whole.state, in_two_parts(lambda: assembled(*ROUNDS, *ALL), 2))


def test_a_number_that_is_not_finite_names_round_and_client_and_moves_nothing(assembled):
    assembly = assembled(*ROUNDS, "optimizer.lr=1e30", "model.norm=batch", "trainer.batch_size=20")
    before = copy.deepcopy(assembly.state.task.state_dict())
    with pytest.raises(NonFiniteError, match=r"round 1, client 1: player 'model'"):
        fit(assembly.state, assembly.train, [], assembly.settings)
    after = assembly.state.task.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())


def test_a_run_logs_the_spread_over_clients_and_is_verified(train, tmp_path, caplog):
    caplog.set_level("INFO")
    folder = train(
        tmp_path / "run", *ROUNDS, *ALL, "trainer.save_every=1", "trainer.ema=0.5"
    ).folder
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [1, 2, 3]
    assert [row["epoch"] for row in rows] == pytest.approx([0.6, 1.2, 1.8], abs=1e-3)
    for row in rows:
        for name in ("accuracy", "loss"):
            least, mean, most = (
                row[f"validation/client_{part}/{name}"] for part in ("least", "mean", "most")
            )
            assert least < mean < most
            # 180 validation examples are 36 for each of five clients.
            assert mean == pytest.approx(row[f"validation/{name}"], rel=1e-5)
    assert rows[0]["lr"] == pytest.approx(0.1)
    said = caplog.text
    assert "5 clients of 287 to 288 examples (dirichlet, alpha 0.3), 3 in a round" in said
    assert "averaged: 618 weights, and 16 statistics" in said
    assert verify(RunFolder(folder)).difference is None


REFUSED = {
    "trainer.devices=2": "shares each batch",
    "trainer.privacy.epsilon=3": "account of its own",
    "trainer.cuda_graph=on": "one step like the other",
    "data.balance=true": "classes equally often",
    "trainer.steps=3": "trainer.steps and federated.rounds are both set",
    "trainer.epochs=2": "leave trainer.epochs out",
    "++federated.client=3": "did you mean clients",
    "federated.fraction=2": "less than or equal to 1",
    "federated.clients=900": "at most 718",
    "model=mlp_gan trainer=federated": "2 players",
    "data=diabetes task=regression federated.split=dirichlet": "split=iid",
}


@pytest.mark.parametrize("words", REFUSED)
def test_what_does_not_go_with_it_is_said(words, composed):
    model = () if "mlp_gan" in words else ("data=digits", "model=mlp")
    config = composed("trainer=federated", *model, *words.split())
    with pytest.raises(ConfigError, match=REFUSED[words]) as refused:
        assemble(Plan.of(config))
    assert len(str(refused.value).splitlines()) <= 5


def test_rounds_say_how_long_a_run_is_and_a_longer_one_goes_on(train, resume, tmp_path):
    folder = train(tmp_path / "run", *ROUNDS, "federated.rounds=2", "schedule=constant").folder
    outcome = resume(folder, "++federated.rounds=3")
    assert outcome.folder == folder
    summary = json.loads((folder / "summary.json").read_text())
    assert (summary["step"], summary["steps"]) == (3, 3)
    for words, said in (
        ("++federated.rounds=1", "federated.rounds=1: the run has already made 3 steps"),
        ("trainer.steps=4", "leave trainer.steps out"),
    ):
        with pytest.raises(ConfigError, match=said):
            resume(folder, words)


def test_what_an_experiment_says_of_its_length_gives_way_to_rounds(composed):
    config = composed("experiment=mnist_cnn", "trainer=federated", "federated.rounds=7")
    plan = Plan.of(config)
    assert (plan.settings.epochs, plan.settings.steps) == (None, 7)
    assert plan.length_key == "federated.rounds"


def test_what_clients_hold_cannot_be_changed_when_a_run_goes_on(train, resume, tmp_path):
    words = ("federated.rounds=1", "trainer.evaluate_every=0")
    folder = train(tmp_path / "run", *ROUNDS, *words).folder
    with pytest.raises(ConfigError, match="clients would hold other examples"):
        resume(folder, "++federated.clients=6")
    with pytest.raises(ConfigError, match="every count of rounds"):
        resume(folder, "++federated.epochs=2")
