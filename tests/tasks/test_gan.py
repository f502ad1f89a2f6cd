import pytest
import torch

from trainwright.data.dataset import DataInfo
from trainwright.nn.conv_gan import conv_gan
from trainwright.nn.mlp import MLP
from trainwright.tasks.gan.task import GANTask

pytestmark = [pytest.mark.numeric, pytest.mark.usefixtures("doubles")]
CLASSES = DataInfo("ten", (1, 8, 8), "classes", tuple("0123456789"), (0.5,), (0.3,))
NO_CLASSES = DataInfo("none", (1, 8, 8), "none", (), (0.5,), (0.3,))
MANY = DataInfo("many", (1, 8, 8), "classes", tuple(map(str, range(37))), (0.5,), (0.3,))


def gan(info=CLASSES, *, seed=0, conditional="auto", **options):
    torch.manual_seed(0)
    model = conv_gan(
        input_shape=(1, 8, 8), num_classes=info.num_classes, width=4, latent_dim=6,
        conditional=conditional,
    )  # fmt: skip
    return GANTask(model=model, info=info, seed=seed, **options)


@pytest.mark.parametrize(
    ("info", "conditional", "num_classes"),
    [
        (CLASSES, "auto", 10),
        (CLASSES, True, 10),
        (CLASSES, False, 0),
        (NO_CLASSES, "auto", 0),
        (NO_CLASSES, False, 0),
    ],
)
def test_the_players_are_told_of_classes_where_there_are_any_unless_forbidden(
    info, conditional, num_classes
):
    task = gan(info, conditional=conditional).eval()
    assert task.model.num_classes == num_classes
    assert (task.fixed_classes is not None) == bool(num_classes)
    images = task.showcase()
    assert images.shape == (len(task.fixed_latents), 1, 8, 8)


def test_showing_classes_that_the_data_has_not_is_refused():
    with pytest.raises(ValueError, match="conditional=true needs data with classes"):
        gan(NO_CLASSES, conditional=True)


def test_the_latents_on_show_are_those_of_the_seed_in_every_instance():
    first = gan(seed=4)
    torch.rand(3)
    assert torch.equal(first.fixed_latents, gan(seed=4).fixed_latents)
    assert not torch.equal(first.fixed_latents, gan(seed=5).fixed_latents)
    assert torch.equal(first.fixed_latents, first.state_dict()["fixed_latents"])
    assert len(first.fixed_latents.unique(dim=0)) == len(first.fixed_latents)


def test_a_row_of_the_showcase_is_a_class_and_ten_rows_are_the_most():
    for info, num_rows in ((CLASSES, 10), (MANY, 10)):
        task = gan(info)
        rows = task.fixed_classes.view(-1, task.showcase_columns)
        assert rows.tolist() == [[row] * 10 for row in range(num_rows)]
    assert len(gan(NO_CLASSES).fixed_latents) == 64
    assert gan(NO_CLASSES).showcase_columns == 8


def test_the_showcase_is_what_the_generator_draws_from_minus_1_to_1_moved_to_0_to_1():
    task = gan().eval()
    images = task.showcase()
    assert images.min() >= 0
    assert images.max() <= 1
    drawn = task.model.generator(task.fixed_latents, task.fixed_classes)
    torch.testing.assert_close(images, drawn / 2 + 0.5)
    assert torch.equal(images, task.showcase())


def test_conditional_showcases_differ_by_class_with_the_same_latents():
    task = gan().eval()
    latents = task.fixed_latents[:1].repeat(10, 1)
    images = task.model.generator(latents, torch.arange(10))
    assert len(images.unique(dim=0)) == 10


def test_the_generator_moves_every_so_many_steps_and_last_of_them():
    task = gan(critic_steps=3)
    turns = [task.turns(step) for step in range(6)]
    alone, both = ("discriminator",), ("discriminator", "generator")
    assert turns == [alone, alone, both, alone, alone, both]
    assert gan().turns(0) == both


@pytest.mark.parametrize(
    ("options", "message"),
    [({"critic_steps": 0}, "critic_steps"), ({"penalty_weight": -1.0}, "penalty_weight")],
)
def test_a_setting_that_makes_no_game_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        gan(**options)


def test_a_model_with_one_player_is_refused_with_those_that_have_two():
    with pytest.raises(ValueError, match="model=gan or mlp_gan"):
        GANTask(model=MLP(input_shape=(1, 8, 8), num_outputs=10), info=CLASSES, seed=0)


def test_a_loss_of_another_name_is_refused():
    task = gan(loss="nope")
    with pytest.raises(ValueError, match="non_saturating, least_squares, hinge, wasserstein_gp"):
        task.score({"real_logits": torch.zeros(2), "fake_logits": torch.zeros(2)})
