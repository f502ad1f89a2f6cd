import math

import numpy as np
import pytest
import torch

from trainwright.nn.conv_gan import conv_gan
from trainwright.tasks.gan.losses import (
    discriminator_loss,
    generator_loss,
    gradient_penalty,
    r1_penalty,
    relativistic_loss,
)

pytestmark = [pytest.mark.numeric, pytest.mark.usefixtures("doubles")]
KINDS = ["non_saturating", "least_squares", "hinge", "wasserstein_gp"]
REAL = [2.5, -0.5, 0.25, 7.0]
FAKE = [-3.0, 0.75, -0.125, 1.5]


def sigmoid(logit: float) -> float:
    return 1 / (1 + math.exp(-logit))


def discriminator_by_the_paper(kind: str) -> float:
    match kind:
        case "non_saturating":  # Goodfellow et al. 2014, the value function of equation 1, negated
            real = np.mean([-math.log(sigmoid(x)) for x in REAL])
            return real + np.mean([-math.log(1 - sigmoid(x)) for x in FAKE])
        case "least_squares":  # Mao et al. 2016, equation 2 with a = 0 and b = 1
            return np.mean([(x - 1) ** 2 for x in REAL]) / 2 + np.mean([x**2 for x in FAKE]) / 2
        case "hinge":  # Miyato et al. 2018, equation 16, negated
            real = np.mean([min(0, -1 + x) for x in REAL])
            return -real - np.mean([min(0, -1 - x) for x in FAKE])
        case _:  # Gulrajani et al. 2017, equation 3 without the penalty
            return np.mean(FAKE) - np.mean(REAL)


def generator_by_the_paper(kind: str) -> float:
    match kind:
        case "non_saturating":
            return np.mean([-math.log(sigmoid(x)) for x in FAKE])
        case "least_squares":
            return np.mean([(x - 1) ** 2 for x in FAKE]) / 2
        case _:
            return -np.mean(FAKE)


@pytest.mark.parametrize("kind", KINDS)
def test_losses_are_those_of_the_papers(kind):
    real, fake = torch.tensor(REAL), torch.tensor(FAKE)
    d_loss, g_loss = discriminator_loss(kind, real, fake), generator_loss(kind, fake)
    assert d_loss.item() == pytest.approx(discriminator_by_the_paper(kind))
    assert g_loss.item() == pytest.approx(generator_by_the_paper(kind))


@pytest.mark.parametrize("kind", KINDS)
def test_huge_logits_give_finite_losses_and_gradients(kind):
    logits = torch.tensor([1e4, -1e4], requires_grad=True)
    loss = discriminator_loss(kind, logits, -logits) + generator_loss(kind, logits)
    (gradient,) = torch.autograd.grad(loss, logits)
    assert loss.isfinite()
    assert gradient.isfinite().all()


def test_an_unknown_loss_is_refused_with_the_known_ones():
    logits = torch.zeros(2)
    with pytest.raises(ValueError, match=", ".join(KINDS)):
        generator_loss("wgan", logits)
    with pytest.raises(ValueError, match=", ".join(KINDS)):
        discriminator_loss("wgan", logits, logits)


def test_penalty_of_a_linear_discriminator_is_its_excess_slope():
    """Its gradient is w everywhere, so the penalty is (|w| - 1)^2; and its gradient follows."""
    weight = torch.tensor([3.0, 4.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0], requires_grad=True)
    penalty = gradient_penalty(
        lambda images, _: images.flatten(1) @ weight,
        torch.randn(5, 2, 2, 2),
        torch.randn(5, 2, 2, 2),
        None,
    )
    assert penalty.item() == pytest.approx((5 - 1) ** 2)
    (gradient,) = torch.autograd.grad(penalty, weight)
    torch.testing.assert_close(gradient, 2 * (5 - 1) * weight.detach() / 5)


def test_penalty_is_taken_per_example():
    """A slope of 0 in one half and 2 in the other costs 1; a norm over the batch would differ."""
    slopes = torch.tensor([0.0, 2.0, 0.0, 2.0])

    def discriminator(images, _):
        return images.flatten(1)[:, 0] * slopes

    real, fake = torch.randn(4, 1, 3, 3), torch.randn(4, 1, 3, 3)
    assert gradient_penalty(discriminator, real, fake, None).item() == 1


def test_penalty_looks_between_real_and_fake_by_the_given_generator():
    seen = []

    def discriminator(images, classes):
        seen.append((images.detach(), classes))
        return images.flatten(1).sum(1)

    real, fake, classes = torch.ones(64, 1, 2, 2), torch.zeros(64, 1, 2, 2), torch.arange(64)
    for _ in range(2):
        gradient_penalty(discriminator, real, fake, classes, torch.Generator().manual_seed(7))
    points, given = seen[0]
    weights = points.flatten(1)
    assert ((weights >= 0) & (weights <= 1)).all()
    assert (weights == weights[:, :1]).all()  # one point a pair
    assert weights[:, 0].unique().numel() == 64
    assert torch.equal(given, classes)
    assert torch.equal(points, seen[1][0])


def test_penalty_reaches_the_discriminator_and_leaves_the_generator_alone():
    gan = conv_gan(input_shape=(1, 8, 8), num_classes=3, width=4)
    classes = torch.tensor([0, 1, 2, 0])
    fake = gan.generator(torch.randn(4, gan.latent_dim), classes)
    gradient_penalty(gan.discriminator, torch.randn(4, 1, 8, 8), fake, classes).backward()
    assert any(p.grad.abs().sum() > 0 for p in gan.discriminator.parameters() if p.grad is not None)
    assert all(parameter.grad is None for parameter in gan.generator.parameters())


def relativistic_by_the_paper(kind: str, winning: list[float], losing: list[float]) -> float:
    """f1(C(x_r) - C(x_f)) of Jolicoeur-Martineau 2018, equation 10, for the f1 of each loss."""
    leads = [w - x for w, x in zip(winning, losing, strict=True)]
    match kind:
        case "non_saturating":
            return np.mean([-math.log(sigmoid(lead)) for lead in leads])
        case "least_squares":
            return np.mean([(lead - 1) ** 2 for lead in leads]) / 2
        case _:
            return np.mean([max(0, 1 - lead) for lead in leads])


@pytest.mark.parametrize("kind", KINDS[:3])
def test_relativistic_losses_are_those_of_the_paper(kind):
    real, fake = torch.tensor(REAL), torch.tensor(FAKE)
    for winning, losing in ((real, fake), (fake, real)):
        loss = relativistic_loss(kind, winning, losing)
        by_hand = relativistic_by_the_paper(kind, winning.tolist(), losing.tolist())
        assert loss.item() == pytest.approx(by_hand)
        shifted = relativistic_loss(kind, winning + 3, losing + 3)  # only differences count
        assert shifted.item() == pytest.approx(by_hand)


def test_a_critic_that_compares_already_is_not_made_relativistic():
    with pytest.raises(ValueError, match="compares real with fake already"):
        relativistic_loss("wasserstein_gp", torch.zeros(2), torch.zeros(2))


def test_r1_of_a_quadratic_discriminator_is_the_squared_length_of_its_slope():
    """D(x) = a |x|^2 has the slope 2 a x: the penalty is 4 a^2 |x|^2, its slope in a 8 a |x|^2."""
    scale = torch.tensor(0.5, requires_grad=True)
    real = torch.tensor([[3.0, 4.0], [0.0, 2.0]]).view(2, 1, 1, 2)
    penalty = r1_penalty(lambda x, _: scale * x.square().sum(dim=(1, 2, 3)), real, None)
    mean_square = (25 + 4) / 2
    assert penalty.item() == pytest.approx(4 * 0.5**2 * mean_square)
    (gradient,) = torch.autograd.grad(penalty, scale)
    assert gradient.item() == pytest.approx(8 * 0.5 * mean_square)


def test_r1_is_taken_per_example_and_with_its_class():
    slopes = torch.tensor([0.0, 3.0])
    penalty = r1_penalty(
        lambda x, classes: x.flatten(1)[:, 0] * slopes[classes],
        torch.randn(4, 1, 2, 2),
        torch.tensor([0, 1, 1, 0]),
    )
    assert penalty.item() == pytest.approx(9 / 2)
