import math

import pytest
import torch
from sklearn.metrics import roc_auc_score

from trainwright.tasks.gan.health import diagnose
from trainwright.tasks.generated.signs import class_diversity, diversity
from trainwright.tasks.metrics.formulas import roc_area

pytestmark = pytest.mark.numeric
GOOD = {
    "objective": 1.0,
    "separation": 0.75,
    "diversity": 0.95,
    "diversity/three": 0.8,
    "discriminator/grad_norm": 2.0,
    "generator/grad_norm": 3.0,
}


def course(**changes):
    """Three looks, good but for the `changes`: a list a sign, its last values."""
    looks = [dict(GOOD, objective=value) for value in (4.0, 2.0, 1.0)]
    for name, values in changes.items():
        name = name.replace("__", "/")
        for look, value in zip(looks[-len(values) :], values, strict=True):
            look[name] = value
    return looks


def test_a_good_run_is_healthy_from_its_first_look_to_its_last():
    looks = course()
    assert str(diagnose([])) == "too early to tell"
    for number in range(1, len(looks) + 1):
        assert str(diagnose(looks[:number])) == "healthy"
        assert not diagnose(looks[:number]).is_ill


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"objective": [4, 4, 4], "separation": [0.999, 0.999, 0.999]}, "discriminator wins"),
        (
            {"separation": [0.999, 0.999, 0.999]},
            "too early to tell",
        ),  # the samples still get better
        ({"objective": [4, 4, 4], "separation": [0.9, 0.999, 0.8]}, "healthy"),
        (
            {"separation": [0.9, 0.999, 0.999], "generator__grad_norm": [3, 1, 1e-4]},
            "discriminator wins",
        ),
        (
            {"separation": [0.9, 0.999, 0.999], "discriminator__grad_norm": [2, 1, 1e-4]},
            "discriminator wins",
        ),
        ({"separation": [0.3]}, "generator wins"),
        ({"separation": [0.5]}, "healthy"),  # a perfect generator can be told by nobody
        ({"separation": [0.5], "discriminator__grad_norm": [1e-5]}, "generator wins"),
        ({"diversity": [0.4, 0.4]}, "collapsing"),
        ({"diversity": [0.9, 0.2]}, "collapsing"),
        ({"diversity": [0.1, 0.3, 0.45]}, "too early to tell"),  # on its way
        ({"diversity__three": [0.2, 0.2]}, "collapsing"),
        ({"class_share__three": [1, 0.05, 0.05]}, "collapsing"),
        ({"class_share__three": [1, 0.05, 0.3]}, "healthy"),
        ({"class_share__three": [0.05, 0.05, 0.05]}, "too early to tell"),  # it has yet to come
        ({"objective": [4, 0.5, 2.5]}, "diverged"),
        ({"objective": [4, 0.1, 1.9]}, "healthy"),  # worse, but not as before it learnt
        ({"objective": [math.nan]}, "diverged"),
        ({"generator__grad_norm": [math.inf]}, "diverged"),
        ({"generator__grad_norm": [3, 3, 5000]}, "diverged"),
        ({"generator__grad_norm": [3, 3, 200]}, "healthy"),
        (
            {"objective": [4, 4, 4], "separation": [1, 1, 1], "diversity": [0, 0, 0]},
            "discriminator wins, collapsing",
        ),
    ],
)
def test_each_illness_is_named_by_its_signs(changes, words):
    assert str(diagnose(course(**changes))) == words


def test_at_a_first_look_only_what_is_one_single_image_has_collapsed():
    assert str(diagnose([dict(GOOD, diversity=0.03)])) == "too early to tell"
    assert str(diagnose([dict(GOOD, diversity=0.001)])) == "collapsing"


def test_the_classes_that_are_missing_or_alike_are_named():
    health = diagnose(
        course(class_share__nine=[1, 0, 0], class_share__one=[1, 1, 1], diversity__three=[0.1, 0.1])
    )
    (ailment,) = health.ailments
    assert ailment.because == (
        "samples of one class are all alike: three; classes are missing: nine"
    )
    assert "task.r1" in ailment.remedy


def test_a_critic_is_meant_to_win():
    looks = course(objective=[4, 4, 4], separation=[1, 1, 1])
    assert str(diagnose(looks, is_critic=True)) == "healthy"


def test_separation_is_the_area_under_the_roc_curve():
    torch.manual_seed(0)
    real = (torch.randn(300) + 1).round(decimals=1)  # with ties
    fake = torch.randn(200).round(decimals=1)
    truth = [1] * 300 + [0] * 200
    expected = roc_auc_score(truth, torch.cat([real, fake]).numpy())
    assert roc_area(real, fake) == pytest.approx(expected, abs=1e-12)
    assert roc_area(torch.ones(4), torch.zeros(3)) == 1
    assert roc_area(torch.zeros(4), torch.ones(3)) == 0
    assert roc_area(torch.zeros(4), torch.zeros(3)) == 0.5


@pytest.mark.usefixtures("doubles")
def test_diversity_is_the_ratio_of_distances():
    torch.manual_seed(0)
    real = torch.randn(200, 1, 4, 4)
    assert diversity(real, real) == 1
    assert diversity(3 * real + 7, real) == pytest.approx(3)
    assert diversity(real[:1].expand(200, 1, 4, 4), real) == 0
    # Of two values each, drawn at random, half of the pairs are equal: 1/2 of the distance.
    halves = torch.randint(0, 2, (20000, 1, 1, 1)).float()
    apart = torch.arange(20000).float().remainder(2).view(-1, 1, 1, 1)
    assert diversity(halves, apart) == pytest.approx(1, abs=0.03)


def test_one_class_that_is_always_the_same_image_shows_in_its_own_diversity():
    torch.manual_seed(0)
    real, classes = torch.randn(60, 1, 2, 2), torch.arange(60) % 3
    classes[classes == 2] = torch.tensor([2] * 5 + [0] * 15)  # too few to say anything
    fakes = real.clone()
    fakes[classes == 1] = 0.5
    found = class_diversity(fakes, real, classes, ("a", "b", "c"))
    assert found == {"a": 1.0, "b": 0.0}


def test_first_samples_that_are_taken_for_one_class_miss_nothing():
    """Taken all for the first, then all for the second; then four of four come."""
    shares = [(4, 0, 0, 0), (0, 4, 0, 0), (0, 4, 0, 0), (1, 1, 1, 1)]
    looks = [
        dict(GOOD, objective=4 / (1 + n), **{f"class_share/{c}": v for c, v in enumerate(look)})
        for n, look in enumerate(shares)
    ]
    found = [str(diagnose(looks[:number])) for number in range(1, len(looks) + 1)]
    assert found == ["too early to tell"] * 3 + ["healthy"]


def test_a_discriminator_that_is_always_right_is_healthy_beside_a_generator_that_has_learnt():
    """Not for ever too early: of the fifth look on the course of the score decides."""
    looks = [dict(GOOD, objective=4 / (1 + n), separation=0.9997) for n in range(8)]
    found = [str(diagnose(looks[: number + 1])) for number in range(8)]
    assert found == ["too early to tell"] * 5 + ["healthy"] * 3


def test_samples_of_one_class_are_never_healthy():
    """As a run was said to be in its steps 30 to 120, with a separation of 0.9997 and more."""
    one = {"class_share/0": 0.0, "class_share/1": 10.0, "class_share/2": 0.0, "class_share/3": 0.0}
    for is_critic in (False, True):
        looks = [dict(GOOD, objective=4 / (1 + n), separation=0.9997, **one) for n in range(9)]
        for number in range(1, len(looks) + 1):
            health = diagnose(looks[:number], is_critic=is_critic)
            assert (str(health), health.is_ill) == ("too early to tell", False)


def test_a_class_that_never_comes_is_missed_when_the_others_have_long_been_there():
    looks = [
        dict(GOOD, objective=4 / (1 + n), **{"class_share/a": 1.4, "class_share/b": 0.0})
        for n in range(5)
    ]
    assert [str(diagnose(looks[: n + 1])) for n in range(5)] == ["healthy"] * 4 + ["collapsing"]
    assert diagnose(looks).ailments[0].because == "classes are missing: b"
