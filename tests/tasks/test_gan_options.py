"""Every option of the game, alone, in pairs and in all combinations, for one step."""

import itertools

import pytest
import torch

from trainwright.data.dataset import DataInfo
from trainwright.engine.clock import Clock
from trainwright.engine.device.device import Placement
from trainwright.engine.optim.player_optimizer import PlayerOptimizer
from trainwright.engine.schedule import Constant
from trainwright.engine.settings import TrainerSettings
from trainwright.engine.state import TrainState
from trainwright.engine.step import train_step
from trainwright.nn.conv_gan import conv_gan
from trainwright.nn.mlp_gan import mlp_gan
from trainwright.tasks.gan.game import Game
from trainwright.tasks.gan.task import GANTask

pytestmark = [pytest.mark.numeric, pytest.mark.usefixtures("doubles")]
INFO = DataInfo.of_one_input("three", (1, 8, 8), "classes", tuple("abc"), (0.5,), (0.3,))
CLOCK = Clock(num_examples=100, batch_size=8, total_steps=20)
CPU = Placement(torch.device("cpu"), "fp32", torch.contiguous_format, 1)

# What each option can be besides its default, as (where it belongs, value).
OTHERS = {
    "loss": ("task", ["least_squares", "hinge", "wasserstein_gp"]),
    "relativistic": ("task", [True]),
    "critic_steps": ("task", [2]),
    "r1": ("task", [0.5]),
    "top_k": ("task", [0.5]),
    "diff_augment": ("task", [("color", "translation", "cutout")]),
    "instance_noise": ("task", [0.2]),
    "conditional": ("model", ["auxiliary", False]),
    "conditional_norm": ("model", ["all"]),
    "spectral_norm": ("model", [True]),
}


def game(options, make=conv_gan):
    torch.manual_seed(0)
    split = {"task": {}, "model": {}}
    for name, value in options.items():
        split[OTHERS[name][0] if name in OTHERS else "task"][name] = value
    small = {"width": 4} if make is conv_gan else {"generator_widths": (8,)}
    model = make(input_shape=(1, 8, 8), num_classes=3, latent_dim=5, **small, **split["model"])
    return GANTask(model=model, info=INFO, seed=0, **split["task"])


def play(task, num_steps):
    optimizers = {
        name: PlayerOptimizer(player, [torch.optim.Adam(player.parameters())], l1=0.0)
        for name, player in task.players.items()
    }
    state = TrainState(task, optimizers, Constant(clock=CLOCK), CLOCK, CPU, seed=0)
    classes = torch.arange(8) % 3
    for _ in range(num_steps):
        batch = {"inputs": torch.rand(8, 1, 8, 8) * 2 - 1, "targets": classes}
        seen = train_step(state, batch, TrainerSettings(steps=20))
        state.step += 1
    return seen


def is_refused(options):
    compares = options.get("loss") == "wasserstein_gp"
    return (
        (compares and options.get("relativistic", False))
        or (compares and "r1" in options)
        or (options.get("conditional") is False and "conditional_norm" in options)
    )


def combinations(sizes):
    """Every choice of that many options that are not at their default."""
    for size in sizes:
        for names in itertools.combinations(OTHERS, size):
            for values in itertools.product(*(OTHERS[name][1] for name in names)):
                yield dict(zip(names, values, strict=True))


def expect_a_step(options, make):
    if is_refused(options):
        with pytest.raises(ValueError, match=r"choose one|already|class-conditional GAN"):
            game(options, make)
        return
    task = game(options, make)
    before = {name: p.detach().clone() for name, p in task.named_parameters()}
    seen = play(task, num_steps=options.get("critic_steps", 1))
    assert all(value.isfinite().all() for value in seen.values()), options
    for player in task.players:
        moved = [
            not torch.equal(p, before[n]) for n, p in task.named_parameters() if f".{player}." in n
        ]
        assert sum(moved) > len(moved) / 2, (options, player)
    assert all(p.isfinite().all() for p in task.parameters()), options


def test_every_option_alone_and_every_pair_makes_a_step_or_is_refused():
    for options in combinations((0, 1, 2)):
        expect_a_step(options, conv_gan)


@pytest.mark.slow
@pytest.mark.parametrize("make", [conv_gan, mlp_gan])
def test_every_combination_of_options_makes_a_step_or_is_refused(make):
    for options in combinations(range(3, len(OTHERS) + 1)):
        expect_a_step(options, make)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"loss": "wasserstein_gp", "relativistic": True}, "compares real with fake already"),
        ({"loss": "wasserstein_gp", "r1": 1.0}, "r1=1.0 .* choose one"),
        ({"r1": -1.0}, "r1=-1.0 is below 0"),
        ({"r1_every": 0}, "r1_every=0"),
        ({"r1_every": 16}, "r1_every=16: .* has no effect without r1"),
        ({"top_k": 0.0}, "top_k=0.0 is not a share"),
        ({"top_k": 1.5}, "top_k=1.5 is not a share"),
        ({"auxiliary_weight": -1.0}, "auxiliary_weight=-1.0 is below 0"),
        ({"conditional": "yes"}, "conditional='yes' is not one of true, false, auto, projection"),
        ({"conditional_norm": "none"}, "conditional_norm='none' is not one of stem, all"),
        (
            {"conditional": False, "conditional_norm": "all"},
            "conditional_norm=all needs a class-conditional GAN",
        ),
    ],
)
def test_an_option_that_makes_no_sense_is_refused_with_the_reason(options, message):
    with pytest.raises(ValueError, match=message):
        game(options)


def test_auto_plays_in_pairs_with_r1_and_leaves_both_out_of_wasserstein():
    auto = {"relativistic": "auto", "r1": "auto", "r1_every": "auto"}
    assert game(auto).game == Game("non_saturating", relativistic=True, r1=0.2, r1_every=4)
    assert game(auto | {"loss": "hinge", "r1": 0.0}).game == Game("hinge", True, 0.0, 1)
    wasserstein = game(auto | {"loss": "wasserstein_gp"})
    assert wasserstein.game == Game("wasserstein_gp", relativistic=False, r1=0.0, r1_every=1)
    assert wasserstein.describe() == "wasserstein_gp loss"
    assert game(auto).describe() == (
        "non_saturating loss, in pairs (relativistic), R1 penalty 0.2 in every 4 steps"
    )


def turns(task, carry, seed=0):
    """The losses of both players from the same batch, latents and changes."""
    torch.manual_seed(seed)
    batch = {"inputs": torch.rand(8, 1, 8, 8) * 2 - 1, "targets": torch.arange(8) % 3}
    return {player: task(player, batch, carry) for player in ("discriminator", "generator")}


def test_lazy_r1_is_as_much_in_total_and_only_in_every_so_many_th_step():
    plain = turns(game({}), {"step": 0})["discriminator"][0]
    each = turns(game({"r1": 3.0}), {"step": 0})["discriminator"]
    penalty = each[1]["r1"]
    assert penalty > 0
    torch.testing.assert_close(each[0], plain + 3.0 / 2 * penalty)
    for step in range(5):
        loss, seen = turns(game({"r1": 3.0, "r1_every": 4}), {"step": step})["discriminator"]
        assert ("r1" in seen) == (step % 4 == 0)
        torch.testing.assert_close(loss, plain + 4 * 3.0 / 2 * seen.get("r1", 0))


def test_relativistic_players_compare_each_fake_with_the_real_image_of_its_place():
    task, carry = game({"relativistic": True, "loss": "hinge"}), {}
    losses = turns(task, carry)
    classes = torch.arange(8) % 3
    lead = task.model.discriminator(carry["real"], classes) - task.model.discriminator(
        carry["fakes"], classes
    )
    torch.testing.assert_close(losses["discriminator"][0], (1 - lead).clamp(min=0).mean())
    torch.testing.assert_close(losses["generator"][0], (1 + lead).clamp(min=0).mean())


@pytest.mark.parametrize(
    ("progress", "kept"), [(0.0, 8), (0.25, 6), (0.5, 4), (0.9, 4)], ids=["0", "25", "50", "90"]
)
def test_top_k_learns_from_the_fakes_held_most_real_ever_fewer_in_the_first_half(progress, kept):
    task, carry = game({"top_k": 0.5}), {"progress": progress}
    loss = turns(task, carry)["generator"][0]
    logits = task.model.discriminator(carry["fakes"], torch.arange(8) % 3)
    best = logits.sort(descending=True).values[:kept]
    torch.testing.assert_close(loss, -torch.nn.functional.logsigmoid(best).mean())


def test_what_the_discriminator_is_shown_is_changed_for_both_sides_and_both_players():
    task = game({"diff_augment": ("cutout",)})
    shown = []
    judge = task.model.discriminator.judge
    task.model.discriminator.judge = lambda images, classes: (
        shown.append(images.detach()) or judge(images, classes)
    )
    turns(task, {})
    both, fakes = shown
    assert [len(both), len(fakes)] == [16, 8]
    for images in (*both.split(8), fakes):
        assert ((images == 0).flatten(1).sum(dim=1) >= 4).all()  # a hole in every one


def test_an_auxiliary_classifier_names_the_class_of_real_images_and_fakes():
    plain, named = game({"conditional": "auxiliary", "auxiliary_weight": 0.0}), {}
    task = game({"conditional": "auxiliary", "auxiliary_weight": 2.0})
    losses, without = turns(task, named), turns(plain, {})
    classes = torch.arange(8) % 3
    cross_entropy = [
        torch.nn.functional.cross_entropy(
            task.model.discriminator.judge(images).class_logits, classes
        )
        for images in (named["real"], named["fakes"])
    ]
    expected = without["discriminator"][0] + 2.0 * sum(cross_entropy)
    torch.testing.assert_close(losses["discriminator"][0], expected)
    expected = without["generator"][0] + 2.0 * cross_entropy[1]
    torch.testing.assert_close(losses["generator"][0], expected)
    assert task.model.discriminator.projection is None


def test_all_normalisations_of_the_generator_can_know_the_class():
    for make, num_norms in ((conv_gan, 2), (mlp_gan, 1)):
        stem, every = game({}, make), game({"conditional_norm": "all"}, make)
        known = [
            [name for name, _ in task.model.generator.named_parameters() if "by_class" in name]
            for task in (stem, every)
        ]
        assert [len(names) for names in known] == [1, num_norms]
