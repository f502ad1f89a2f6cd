"""A variational autoencoder beside its formulas, by hand and by Monte Carlo."""

import math

import pytest
import torch
from PIL import Image
from torch.distributions import Bernoulli, Normal, kl_divergence

from trainwright.data.dataset import DataInfo
from trainwright.nn.generators.vae import VAE, conv_vae, mlp_vae
from trainwright.tasks.task import kind_of
from trainwright.tasks.vae.likelihood import (
    bernoulli_cost,
    divergence,
    gaussian_cost,
    logistic_cost,
)
from trainwright.tasks.vae.task import VariationalAutoencoder

pytestmark = [pytest.mark.numeric, pytest.mark.usefixtures("doubles")]
INFO = DataInfo.of_one_input("ten", (1, 8, 8), "classes", tuple("0123456789"), (0.5,), (0.3,))


def vae(info=INFO, *, likelihood="bernoulli", latent_dim=3, conditional=False, **options):
    torch.manual_seed(0)
    model = mlp_vae(
        input_shape=info.input_shape, num_classes=info.num_classes, widths=(16,),
        latent_dim=latent_dim, likelihood=likelihood, conditional=conditional,
    )  # fmt: skip
    return VariationalAutoencoder(model=model, info=info, seed=0, **options).eval()


def images(num=6, shape=(1, 8, 8)):
    levels = torch.randint(0, 256, (num, *shape), generator=torch.Generator().manual_seed(1))
    levels[0, 0, 0, 0], levels[0, 0, 0, 1] = 0, 255
    return levels / 127.5 - 1


def measured(task, batch):
    with torch.no_grad():
        metric = task.metrics()
        metric.update(batch, task.evaluate(batch))
        return metric, metric.compute()


@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian", "logistic"])
def test_the_loss_is_what_pixels_and_codes_cost_by_the_formulas(likelihood):
    """Of the code that was drawn; the levels that a density is taken at are drawn before it."""
    task = vae(likelihood=likelihood, beta=0.5)
    batch = {"inputs": images()}
    torch.manual_seed(5)
    loss, parts = task("model", batch, {})
    torch.manual_seed(5)
    x = (batch["inputs"] + 1) / 2
    if likelihood == "gaussian":
        filled = ((x * 255).round() + torch.rand_like(x)) / 256
    mean, log_variance = task.model.encode(batch["inputs"])
    std = (log_variance / 2).exp()
    codes = mean + std * torch.randn_like(mean)
    said = task.model.decode(codes)
    if likelihood == "bernoulli":
        p = said.sigmoid()
        cost = -(x * p.log() + (1 - x) * (1 - p).log())
    elif likelihood == "gaussian":
        cost = -Normal((said + 1) / 2, task.model.log_scale.exp()).log_prob(filled)
    else:
        scale = task.model.log_scale.exp()
        upper = torch.sigmoid((x + 0.5 / 255 - (said + 1) / 2) / scale)
        lower = torch.sigmoid((x - 0.5 / 255 - (said + 1) / 2) / scale)
        upper, lower = upper.masked_fill(x == 1, 1.0), lower.masked_fill(x == 0, 0.0)
        cost = -(upper - lower).log()
    kl = kl_divergence(Normal(mean, std), Normal(0.0, 1.0)).sum(dim=1)
    torch.testing.assert_close(parts["reconstruction"], cost.flatten(1).sum(dim=1).detach())
    torch.testing.assert_close(parts["kl"], kl.detach())
    torch.testing.assert_close(loss, (cost.flatten(1).sum(dim=1) + 0.5 * kl).mean())


def test_a_discretised_logistic_shares_out_all_of_its_probability():
    levels = torch.arange(256.0) / 255
    for mean, scale in ((0.3, 0.05), (-0.4, 0.01), (1.2, 0.3)):
        cost = logistic_cost(torch.tensor(mean), torch.tensor(math.log(scale)), levels)
        assert float((-cost).exp().sum()) == pytest.approx(1, abs=1e-12)
        assert cost.isfinite().all()


def test_costs_are_those_of_the_distributions_of_torch():
    logits, white = torch.randn(9), torch.randint(0, 2, (9,)).double()
    expected = -Bernoulli(logits=logits).log_prob(white)
    torch.testing.assert_close(bernoulli_cost(logits, white), expected)
    mean, log_scale, at = torch.randn(9), torch.randn(9), torch.randn(9)
    expected = -Normal(mean, log_scale.exp()).log_prob(at)
    torch.testing.assert_close(gaussian_cost(mean, log_scale, at), expected)


def test_the_divergence_is_the_mean_of_what_it_is_a_mean_of():
    mean, log_variance = torch.tensor(0.7), torch.tensor(-0.8)
    posterior, prior = Normal(mean, (log_variance / 2).exp()), Normal(0.0, 1.0)
    torch.manual_seed(0)
    codes = posterior.sample((200_000,))
    gaps = posterior.log_prob(codes) - prior.log_prob(codes)
    error = float(gaps.std()) / len(codes) ** 0.5
    assert float(divergence(mean, log_variance)) == pytest.approx(float(gaps.mean()), abs=4 * error)


def test_the_bound_is_below_the_likelihood_of_many_draws_and_meets_it_for_an_idle_code():
    """The likelihood by importance sampling, 4,000 codes an image (Burda et al. 2016)."""
    task, batch = vae(), {"inputs": images(3)}
    x = (batch["inputs"] + 1) / 2
    with torch.no_grad():
        mean, log_variance = task.model.encode(batch["inputs"])
        posterior = Normal(mean, (log_variance / 2).exp())
        codes = posterior.sample((4000,))  # (K, B, Z)
        said = task.model.decode(codes.flatten(0, 1)).view(4000, 3, -1)
        weights = -bernoulli_cost(said, x.flatten(1).expand(4000, -1, -1)).sum(dim=2) + (
            Normal(0.0, 1.0).log_prob(codes) - posterior.log_prob(codes)
        ).sum(dim=2)
        likelihood = float((weights.logsumexp(dim=0) - math.log(4000)).mean())
        bounds = [measured(task, batch)[1]["elbo"] for _ in range(200)]
    bound = sum(bounds) / len(bounds)
    assert bound < likelihood < bound + 5
    with torch.no_grad():
        task.model.to_code.weight.zero_()
        task.model.to_code.bias.zero_()
        task.model.from_code.weight.zero_()
        scores = measured(task, batch)[1]
        said = task.model.decode(torch.zeros(3, 3))
    assert scores["kl"] == scores["active_units"] == 0
    expected = -float(bernoulli_cost(said, x).sum()) / 3
    assert scores["elbo"] == pytest.approx(expected)


def test_every_unit_may_cost_what_is_free_on_average():
    code = torch.tensor([[0.05, 2.0], [0.15, 1.0]])
    task = vae(free_bits=0.3, latent_dim=2)
    metric = task.metrics()
    answers = {"reconstruction": torch.zeros(2), "kl": code, "mean": torch.zeros(2, 2)}
    metric.update({"inputs": images(2)}, answers)
    assert metric.compute()["loss"] == pytest.approx(0.3 + 1.5)
    assert metric.compute()["kl"] == pytest.approx(0.1 + 1.5)


def test_bits_are_told_where_pixels_have_a_probability():
    batch = {"inputs": images()}
    assert "bits_per_dim" not in measured(vae(), batch)[1]
    for likelihood, binarise, more in (
        ("bernoulli", True, 0), ("logistic", False, 0), ("gaussian", False, 8),
    ):  # fmt: skip
        scores = measured(vae(likelihood=likelihood, binarise=binarise), batch)[1]
        bits = -scores["elbo"] / math.log(2) / 64
        assert scores["bits_per_dim"] == pytest.approx(bits + more)


def test_binarised_pixels_are_white_as_often_as_they_are_bright(monkeypatch):
    seen = []
    monkeypatch.setattr(
        "trainwright.tasks.vae.task.bernoulli_cost",
        lambda said, pixels: seen.append(pixels) or bernoulli_cost(said, pixels),
    )
    task = vae(binarise=True)
    task.parts(torch.full((500, 1, 8, 8), -0.5), None)
    assert set(seen[0].unique().tolist()) == {0.0, 1.0}
    assert float(seen[0].mean()) == pytest.approx(0.25, abs=0.01)  # 32,000 draws: 4 deviations


def test_a_code_is_of_the_binarised_image_that_it_pays_for(monkeypatch):
    """Else it cannot tell the draw from others: on MNIST that costs 2 to 4 nats."""
    told, paid = [], []
    task = vae(binarise=True)
    encode = task.model.encode
    monkeypatch.setattr(
        task.model, "encode", lambda x, classes: told.append(x) or encode(x, classes)
    )
    monkeypatch.setattr(
        "trainwright.tasks.vae.task.bernoulli_cost",
        lambda said, pixels: paid.append(pixels) or bernoulli_cost(said, pixels),
    )
    batch = {"inputs": images()}
    task("model", batch, {})
    task.log_likelihood(batch)
    for seen, of in ((told[0], paid[0]), (told[1], paid[1])):
        torch.testing.assert_close(seen, 2 * of - 1)


def test_images_of_any_size_come_back_at_their_size_and_by_class():
    for shape in ((1, 8, 8), (3, 17, 30), (2, 5, 3), (3, 32, 32)):
        info = DataInfo.of_one_input("any", shape, "classes", ("a", "b"), (0.5,), (0.3,))
        torch.manual_seed(0)
        model = conv_vae(input_shape=shape, num_classes=2, width=8, latent_dim=4, conditional=True)
        task = VariationalAutoencoder(model=model, info=info, seed=0).eval()
        with torch.no_grad():
            made = task.generate(4, seed=0)
            other = task.generate(4, seed=0, classes=[1])
        assert made.images.shape == (4, *shape)
        assert made.classes.tolist() == [0, 1, 0, 1]
        assert torch.equal(made.images[1], other.images[1])
        assert not torch.equal(made.images[0], other.images[0])


def test_between_two_images_lie_the_decodings_of_the_way_between_their_codes(tmp_path):
    task, pixels = vae(), images(2)
    paths = [tmp_path / f"{name}.png" for name in "ab"]
    for path, image in zip(paths, pixels, strict=True):
        Image.fromarray(((image[0] + 1) * 127.5).round().byte().numpy()).save(path)
    with torch.no_grad():
        way = task.generate(3, seed=0, between=",".join(map(str, paths)))
        (first, last), _ = task.model.encode(pixels)
        codes = torch.stack([first, (first + last) / 2, last])
        torch.testing.assert_close(way.images, task.images_of(codes, None))
    assert way.columns == 3
    for between, message in (("a.png", "it takes two images"), ("no.png,no.png", "between=no.png")):
        with pytest.raises(ValueError, match=message):
            task.generate(3, seed=0, between=between)


def test_it_shows_originals_above_reconstructions_above_samples_and_the_plane_of_two():
    task = vae(latent_dim=2)
    with torch.no_grad():
        assert len(task.showcase().images) == 40
        task.evaluate({"inputs": images(12)})
        shown = task.showcase()
        codes, _ = task.model.encode(images(12)[:10])
        torch.testing.assert_close(shown.images[:10], (images(12)[:10] + 1) / 2)
        torch.testing.assert_close(shown.images[10:20], task.images_of(codes, None))
        assert len(shown.images) == 60
        plane = task.plane().view(16, 16, 64)
        corner = torch.special.ndtri(torch.tensor([0.5 / 16, 1 - 0.5 / 16]))
        # The last row is low, its first image on the left.
        torch.testing.assert_close(
            plane[-1, 0], task.images_of(corner[:1].repeat(2)[None], None).flatten()
        )
        torch.testing.assert_close(
            plane[-1, -1], task.images_of(corner.flip(0)[None], None).flatten()
        )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"beta": -1.0}, "beta=-1.0 is not a number from 0 up"),
        ({"free_bits": math.inf}, "free_bits=inf"),
        ({"likelihood": "poisson"}, "likelihood='poisson' is not one of bernoulli"),
        ({"likelihood": "logistic", "binarise": True}, "use bernoulli"),
        ({"latent_dim": 0}, "latent_dim=0 is below 1"),
    ],
)
def test_settings_that_cannot_be_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        vae(**options)


def test_a_code_that_could_hold_more_than_the_image_is_told():
    assert "more latent dimensions than the 64 pixels" in vae(latent_dim=65).describe()
    assert "more" not in vae(latent_dim=64).describe()


def test_codes_that_say_nothing_are_told_as_posterior_collapse():
    good = {"objective": 5.0, "units": 20.0, "active_units": 9.0, "kl": 12.0}
    idle = {**good, "active_units": 0.0, "kl": 0.01}
    task = vae()
    assert str(task.diagnose([good, good])) == "healthy"
    assert str(task.diagnose([good, idle])) == "healthy"
    ill = task.diagnose([idle, idle])
    assert str(ill) == "posterior collapse"
    assert "0 of 20 units of the code say anything" in ill.ailments[0].because


def test_messages_call_it_by_the_name_that_is_typed():
    assert kind_of(vae()) == "vae"


class Two(VAE):
    """Two pixels, each white by the logit of its weight times a code that nothing is known of."""

    def __init__(self):
        super().__init__(
            encoder=torch.nn.Identity(), decoder=torch.nn.Identity(), num_features=(2, 2),
            latent_dim=1, num_classes=0, image_shape=(1, 1, 2), likelihood="bernoulli",
        )  # fmt: skip

    def encode(self, images, classes=None):
        return torch.full((len(images), 1), 0.5), torch.full((len(images), 1), -0.5)

    def decode(self, codes, classes=None):
        return (codes * torch.tensor([2.0, -1.0])).view(-1, 1, 1, 2)


def test_a_likelihood_is_right_on_average_and_above_the_bound():
    """exp of what is found has the probability for its mean: the integral over all codes."""
    task = VariationalAutoencoder(
        model=Two(), seed=0, binarise=True,
        info=DataInfo.of_one_input("two", (1, 1, 2), "none", (), (0.5,), (0.3,)),
    )  # fmt: skip
    codes = torch.linspace(-9, 9, 20001)
    black_white = torch.sigmoid(-2 * codes) * torch.sigmoid(-codes)
    exact = float(torch.trapezoid(Normal(0.0, 1.0).log_prob(codes).exp() * black_white, codes))
    torch.manual_seed(0)
    batch = {"inputs": torch.tensor([-1.0, 1.0]).view(1, 1, 1, 2).repeat(4000, 1, 1, 1)}
    found = task.log_likelihood(batch)
    spread = float(found.exp().std()) / 4000**0.5
    assert float(found.exp().mean()) == pytest.approx(exact, abs=4 * spread)
    cost, code, _ = task.parts(batch["inputs"], None)
    assert float(found.mean()) > -float((cost + code.sum(dim=1)).mean())


def test_a_likelihood_of_grey_pixels_or_of_a_class_is_refused():
    with pytest.raises(ValueError, match="binarise=true"):
        vae().log_likelihood({"inputs": images()})
    with pytest.raises(ValueError, match="told of classes"):
        vae(conditional=True).anomaly_score({"inputs": images()})


@pytest.mark.parametrize("likelihood", ["gaussian", "logistic"])
def test_a_level_costs_what_the_evaluation_says(likelihood):
    """With one code for all images the bound is the likelihood, and bits are bits."""
    task = vae(likelihood=likelihood)
    with torch.no_grad():
        task.model.to_code.weight.zero_(), task.model.to_code.bias.zero_()
        task.model.from_code.weight.zero_()
        batch = {"inputs": images()}
        torch.manual_seed(1)
        _, numbers = measured(task, batch)
        torch.manual_seed(1)
        nats = task.log_likelihood(batch)
    bits = -float(nats.mean()) / (64 * math.log(2))
    # Of levels filled with noise, which is drawn after a code in one case, before it in the other.
    near = 1e-9 if likelihood == "logistic" else 0.02
    assert bits == pytest.approx(numbers["bits_per_dim"], abs=near)


def test_an_image_is_as_strange_as_it_costs_at_the_mean_of_its_code():
    task = vae()
    x = images()
    mean, log_variance = task.model.encode(x)
    p = task.model.decode(mean).sigmoid()
    brightness = (x + 1) / 2
    cost = -(brightness * p.log() + (1 - brightness) * (1 - p).log()).flatten(1).sum(dim=1)
    code = kl_divergence(Normal(mean, (log_variance / 2).exp()), Normal(0.0, 1.0)).sum(dim=1)
    torch.testing.assert_close(task.anomaly_score({"inputs": x}), cost + code)
