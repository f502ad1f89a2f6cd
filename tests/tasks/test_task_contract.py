"""What the engine relies on, for every shipped model on data that suits it."""

import math

import pytest
import torch

from trainwright.engine.evaluate import evaluate
from trainwright.engine.step import gradients

SMALL = ("data.limit=200", "trainer.batch_size=16", "trainer.precision=fp32")
GAMES = [
    ("model=mlp", "data=digits"),
    ("model=mlp", "data=tabular"),
    ("model=mlp", "data=tabular", "data.name=iris"),
    ("model=mlp", "data=diabetes"),
    ("model=mlp", "data=digits", "model.norm=batch", "model.dropout=0.3"),
    ("model=mlp", "data=tabular", "model.numbers=piecewise"),
    ("model=resnet_mlp", "data=tabular", "model.numbers=periodic"),
    ("model=mlp", "data=tabular", "task.class_weights=balanced", "task.focal=2"),
    ("model=mlp", "data=digits", "data.augment.cutmix=1", "data.augment.trivial=true"),
    ("model=ft_transformer", "data=diabetes", "model.blocks=2", "model.width=16"),
    ("model=cnn", "data=digits"),
    ("model=resnet", "data=digits", "model.blocks_per_stage=1"),
    ("model=airbench", "data=digits", "model.widths=[8,8]", "task.tta=mirror_shift"),
    ("model=gan", "data=digits"),
    ("model=gan", "data=digits", "model.conditional=false", "model.spectral_norm=true"),
    ("model=gan", "data=digits", "task.loss=wasserstein_gp", "model.upsampling=nearest"),
    ("model=gan", "data=digits", "task.loss=hinge"),
    ("model=mlp_gan", "data=digits"),
    ("model=mlp_gan", "data=digits", "task.loss=least_squares"),
    ("model=gan", "data=digits", "task.relativistic=true", "task.r1=1", "task.top_k=0.5"),
    ("model=gan", "data=digits", "task.diff_augment=[color]", "task.instance_noise=0.1"),
    ("model=gan", "data=digits", "model.conditional=auxiliary", "model.conditional_norm=all"),
    (
        "model=text_encoder",
        "task=masked_language",
        "data=text",
        "data.path=README.md",
        "data.context=16",
        "model.depth=1",
        "model.dropout=0",
    ),
    ("model=gpt", "data=text", "data.path=README.md", "data.context=16", "model.depth=1"),
    ("model=flow", "data=digits", "model.width=8"),
    ("model=diffusion", "data=digits", "model.width=8", "model.conditional=false"),
    ("model=mlp_flow", "data=tabular", "model.widths=[16]", "task.coupling=optimal"),
    ("model=mlp_flow", "data=digits", "model.widths=[16]", "task=shortcut"),
    ("model=vae", "data=digits", "model.width=8", "model.likelihood=logistic"),
    ("model=mlp_vae", "data=digits", "task.free_bits=0.1", "model.conditional=auto"),
]
IDS = [" ".join(game) for game in GAMES]


def small(game):
    # A score needs a feature network, and no part of the contract looks at it.
    generates = any(name in game[0] for name in ("gan", "flow", "diffusion", "vae"))
    unscored = ("task.score=none",) if generates else ()
    return *game, *SMALL, *unscored


@pytest.fixture(params=GAMES, ids=IDS)
def game_overrides(request):
    return small(request.param)


@pytest.fixture
def game(assembled, game_overrides):
    return assembled(*game_overrides)


def test_players_are_submodules_and_share_out_what_learns(game):
    task = game.state.task
    modules = {id(module) for module in task.modules()}
    assert all(id(player) in modules for player in task.players.values())
    shared_out = [
        id(p) for player in task.players.values() for p in player.parameters() if p.requires_grad
    ]
    assert sorted(shared_out) == sorted(id(p) for p in task.parameters() if p.requires_grad)
    assert set(task.averaged_players) <= set(task.players)
    assert set(task.turns(0)) <= set(task.players)
    assert set(game.state.optimizers) == set(task.players)


def test_a_turn_gives_a_loss_to_learn_from_and_numbers_to_log(game):
    task, carry = game.state.task, {}
    for player in task.turns(0):
        loss, metrics = task(player, game.train.at(0), carry)
        assert loss.shape == ()
        assert loss.requires_grad
        assert torch.isfinite(loss)
        assert torch.equal(metrics["loss"], loss.detach())
        for value in metrics.values():
            assert value.shape in {(), (game.train.batch_size,)}
            assert not value.requires_grad
            assert value.isfinite().all()


def test_each_player_has_a_gradient_everywhere_and_leaves_nothing_behind(game):
    task, parts = game.state.task, [(game.train.at(0), {})]
    before = {name: value.clone() for name, value in task.named_parameters()}
    for name in task.turns(0):
        grads, _ = gradients(game.state, name, parts)
        named = dict(zip(grads_names(task.players[name]), grads, strict=True))
        assert all(torch.isfinite(grad).all() for grad in named.values())
        still = {n for n, grad in named.items() if not grad.abs().sum() > 0}
        # A critic's scores are only ever subtracted from each other: a constant has no effect
        # (nor has it for the hinge loss while all scores are within the margin).
        assert still <= ({"head.bias"} if name == "discriminator" and is_critic(task) else set())
        assert all(parameter.grad is None for parameter in task.parameters())
    assert all(torch.equal(value, before[name]) for name, value in task.named_parameters())


def is_critic(task):
    return task.game.loss in ("wasserstein_gp", "hinge") or task.game.relativistic


def grads_names(player):
    return [name for name, parameter in player.named_parameters() if parameter.requires_grad]


def test_an_evaluation_has_a_row_an_example_and_scores_the_objective(game):
    task = game.state.task.eval()
    batch = next(iter(game.make_batches(game.dataset.validation).in_order(10)))
    with torch.no_grad():
        answers = task.evaluate(batch)
        metric = task.metrics()
    assert all(len(value) == 10 for value in answers.values())
    metric.update(batch, answers)
    assert metric.num_examples == 10
    scores = metric.compute()
    assert all(type(value) is float and math.isfinite(value) for value in scores.values())
    assert task.objective.metric in scores
    assert task.objective.is_better(scores[task.objective.metric], None)


def test_a_validation_score_does_not_depend_on_when_it_is_asked_for_or_change_anything(game):
    state = game.state
    before = {name: value.clone() for name, value in state.task.state_dict().items()}
    split = game.make_batches(game.dataset.validation)

    def scores():
        torch.rand(7)
        measured = evaluate(state.task, split, batch_size=50, placement=state.placement, seed=0)
        return measured.compute()

    assert scores() == scores()
    assert state.task.training
    after = state.task.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())


def test_a_fresh_task_with_the_weights_of_another_is_that_other(assembled, game_overrides):
    first = assembled(*game_overrides)
    second = assembled(*game_overrides, "seed=1")
    task, other = first.state.task.eval(), second.state.task.eval()
    batch = next(iter(first.make_batches(first.dataset.validation).in_order(10)))

    def values(of):
        torch.manual_seed(0)
        with torch.no_grad():
            return of.evaluate(batch)

    mine, before = values(task), values(other)
    assert any(not torch.equal(mine[name], before[name]) for name in mine)
    other.load_state_dict(task.state_dict())
    after = values(other)
    assert all(torch.equal(mine[name], after[name]) for name in mine)


def test_the_seed_alone_decides_the_first_weights(assembled):
    for game in (GAMES[0], GAMES[7]):
        torch.rand(5)
        first = assembled(*small(game)).state.task.state_dict()
        again = assembled(*small(game), "optimizer.lr=0.1").state.task.state_dict()
        assert all(torch.equal(first[name], again[name]) for name in first)
