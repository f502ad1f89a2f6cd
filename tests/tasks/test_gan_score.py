import copy
import math

import pytest
import torch

from trainwright.engine.evaluate import evaluate
from trainwright.score.figure import Figure
from trainwright.tasks.generated.score import draw_images

pytestmark = pytest.mark.numeric
SMALL = ("model=gan", "model.width=4", "model.latent_dim=8", "trainer.ema=0.9",
         "trainer.score_samples=200")  # fmt: skip


@pytest.fixture(scope="module")
def game(assembled):
    return assembled(*SMALL)


def measured(game, task):
    return evaluate(
        task,
        game.make_batches(game.dataset.validation),
        batch_size=100,
        placement=game.state.placement,
        seed=game.state.seed,
    )


def test_images_are_those_of_the_generator_in_the_datas_format(game):
    task = game.state.task.eval()
    counts = torch.tensor([3, 1, 0, 0, 0, 0, 0, 0, 0, 0])
    with torch.no_grad():
        images, classes = draw_images(task, 8, class_counts=counts, seed=1, purpose="a")
    assert images.dtype == torch.uint8
    assert images.shape == (8, 1, 8, 8)
    assert torch.bincount(classes).tolist() == [6, 2]


def test_the_latents_depend_on_seed_and_purpose_alone(game):
    task = game.state.task.eval()
    counts = torch.ones(10)

    def drawn(seed, purpose):
        torch.rand(3)
        with torch.no_grad():
            return draw_images(task, 700, class_counts=counts, seed=seed, purpose=purpose)[0]

    assert torch.equal(drawn(1, "a"), drawn(1, "a"))
    assert not torch.equal(drawn(1, "a"), drawn(2, "a"))
    assert not torch.equal(drawn(1, "a"), drawn(1, "b"))


def test_an_evaluation_has_the_judges_figures_of_the_averaged_generator_with_errors(game):
    task = game.state.evaluated_task
    assert task is not game.state.task
    assert task.judge is game.judge is game.state.task.judge
    found = measured(game, task)
    metrics, values = found.compute(), found.main.judged
    expected = game.judge.figures(game.judge.look(values["samples"]), values["sample_classes"])
    for name, figure in expected.items():
        assert Figure(metrics[name], metrics[f"{name}_error"]) == pytest.approx(figure), name
        assert math.isfinite(figure.value)
    assert len(values["samples"]) == 200
    assert task.objective.metric == "frechet"
    assert not task.objective.higher_is_better
    with torch.no_grad():
        for parameter in task.model.generator.parameters():
            parameter.zero_()
    assert measured(game, task).main.judged["samples"].unique().numel() == 1
    assert measured(game, game.state.task).main.judged["samples"].unique().numel() > 1


def test_without_a_score_pixels_rank_the_checkpoints(assembled):
    for off in ("task.score=none", "trainer.score_samples=0"):
        game = assembled(*SMALL, off)
        task = game.state.evaluated_task
        assert game.judge is None
        assert task.objective.metric == "sliced_wasserstein"
        found = measured(game, task)
        assert found.main.judged == {}
        assert "frechet" not in found.compute()


def test_an_unconditional_gan_asks_for_no_classes(assembled):
    game = assembled(*SMALL, "model.conditional=false")
    metrics = measured(game, game.state.task).compute()
    assert "as_asked" not in metrics
    assert "class_entropy" in metrics


def test_a_judge_is_shared_by_copies_and_never_saved(game):
    assert copy.deepcopy(game.state.task).judge is game.judge
    assert not [name for name in game.state.task.state_dict() if "judge" in name]


@pytest.mark.parametrize("conditional", ["auto", "false"])
def test_an_interpolation_runs_between_two_latents_at_their_length(assembled, conditional):
    """What the generator is given: halfway lies in the middle of the angle, on the circle."""
    game = assembled(*SMALL, "task.score=none", f"model.conditional={conditional}")
    task = game.state.task.eval()
    seen = []
    task.model.generator.register_forward_hook(lambda _, inputs, __: seen.append(inputs))
    num_rows = 10 if conditional == "auto" else 8
    with torch.no_grad():
        images = task.interpolate(num_rows, frames=5, seed=0).images
    assert images.shape == (num_rows * 5, 1, 8, 8)
    assert images.min() >= 0
    assert images.max() <= 1
    latents, classes = seen[0]
    latents = latents.view(num_rows, 5, -1)
    if conditional == "auto":
        assert classes.view(10, 5).tolist() == [[row] * 5 for row in range(10)]
    first, middle, last = latents[:, 0], latents[:, 2], latents[:, 4]
    angle = torch.acos(torch.nn.functional.cosine_similarity(first, last, dim=1))[:, None]
    torch.testing.assert_close(middle, (first + last) / (2 * (angle / 2).cos()))
    assert first.norm(dim=1).mean() > 2  # draws of N(0, 1) in eight dimensions, not of length 1
