"""Variational autoencoders: images are told by codes, and codes are nearly normal."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any

import torch
from torch import Tensor, nn

from trainwright.data.columns import Column, Image
from trainwright.data.dataset import DataInfo
from trainwright.data.examples import Batch, first_of
from trainwright.files import typed_path
from trainwright.nn.generators.vae import VAE
from trainwright.report.plots.grid import image_grid, save_image
from trainwright.seeds import generator_for
from trainwright.tasks.generated.draw import images_of
from trainwright.tasks.generated.health import PATIENCE, course, diagnose
from trainwright.tasks.generated.task import Generative, Score
from trainwright.tasks.health import Ailment, Health, Signs
from trainwright.tasks.metrics.metric import Answers
from trainwright.tasks.show import Images, MadeUp, Samples
from trainwright.tasks.task import Carry, Ending, Objective
from trainwright.tasks.vae.likelihood import (
    LEVELS,
    bernoulli_cost,
    divergence,
    gaussian_cost,
    logistic_cost,
)
from trainwright.tasks.vae.metrics import VAEMetrics, paid

COLUMNS = 10  # of what is shown
SAMPLE_ROWS = 4
PLANE = 16  # images a side of the plane of two-dimensional codes
DRAWS = 64  # of a code, that a likelihood is found by
COLLAPSED = 0.1  # share of active units below which the codes say next to nothing


class VariationalAutoencoder(Generative):
    """The evidence lower bound of Kingma and Welling 2014 (arXiv:1312.6114), by one draw of a code.

    `beta`: weight of what a code costs (Higgins et al. 2017); 1 is the bound.
    `free_bits`: nats that every unit of the code may cost for nothing, on average over a batch
    (Kingma et al. 2016, arXiv:1606.04934).
    `binarise`: pixels are white with their brightness for a probability, drawn anew each time
    (Salakhutdinov and Murray 2008): what nats of binarised MNIST are about.
    """

    objective = Objective("loss", higher_is_better=False)
    shown: Tensor | None = None  # originals and reconstructions of the last evaluation

    def __init__(
        self,
        *,
        model: nn.Module,
        info: DataInfo,
        seed: int,
        beta: float = 1.0,
        free_bits: float = 0.0,
        binarise: bool = False,
        score: Score = "own",
    ) -> None:
        if not isinstance(model, VAE):
            raise ValueError("task=vae needs an encoder and a decoder: model=vae or mlp_vae")
        for name, value in {"beta": beta, "free_bits": free_bits}.items():
            if not (math.isfinite(value) and value >= 0):
                raise ValueError(f"{name}={value} is not a number from 0 up")
        if binarise and model.likelihood != "bernoulli":
            raise ValueError(
                f"binarise=true makes pixels black or white: model.likelihood={model.likelihood} "
                "is for grey ones; use bernoulli"
            )
        if not info.is_image:
            raise ValueError(f"task=vae makes images, and {info.name} holds {info.sizes}")
        super().__init__(info, num_conditions=model.num_classes, seed=seed, score=score)
        assert isinstance(info.input, Image)
        column: Column = replace(info.input, scaling="symmetric")
        told = {self.classes: info.columns[self.classes]} if model.num_classes else {}
        self.columns = {self.image: column, **told}
        self.model, self.beta, self.free_bits, self.binarise = model, beta, free_bits, binarise
        self.noise_shape = (model.latent_dim,)

    @property
    def players(self) -> Mapping[str, nn.Module]:
        """The one network."""
        return {"model": self.model}

    @property
    def compilable(self) -> Mapping[str, nn.Module]:
        """Its two halves."""
        return {"encoder": self.model.encoder, "decoder": self.model.decoder}

    def pattern(self, step: int) -> str:
        """All steps are alike."""
        return "vae"

    @property
    def headline(self) -> Sequence[str]:
        """The objective, and the bound in parts."""
        return (*super().headline, "elbo", "kl", "active_units")

    def describe(self) -> str:
        """What a pixel is to the decoder, and a code that could hold more than an image."""
        model, num = self.model, math.prod(self.model.image_shape)
        binary = " of binarised pixels" if self.binarise else ""
        much = f"; more latent dimensions than the {num} pixels" if model.latent_dim > num else ""
        return f"{model.likelihood} likelihood{binary}, codes of {model.latent_dim}{much}"

    def parts(self, images: Tensor, classes: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """What each image (B, C, H, W) in [-1, 1] costs in nats: its pixels (B,), its code (B, Z).

        And the mean of its code (B, Z). The code is drawn.
        """
        brightness = self._drawn(images)
        mean, log_variance = self.model.encode(self._seen(images, brightness), classes)
        codes = mean + torch.randn_like(mean) * (0.5 * log_variance).exp()
        cost = self._pixels_cost(codes, classes, brightness)
        return cost, divergence(mean, log_variance), mean

    def _drawn(self, images: Tensor) -> Tensor:
        """The brightness of images in [-1, 1], as the likelihood has it: made black or white."""
        brightness = (images.float() + 1) / 2
        if self.binarise:
            return brightness.bernoulli()
        if self.model.likelihood != "gaussian":
            return brightness
        levels = (brightness * (LEVELS - 1)).round()
        return (levels + torch.rand_like(levels)) / LEVELS  # a density is of what fills its levels

    def _seen(self, images: Tensor, brightness: Tensor) -> Tensor:
        """What the encoder is shown (B, C, H, W): of binarised images what their code pays for."""
        return 2 * brightness - 1 if self.binarise else images

    def _pixels_cost(self, codes: Tensor, classes: Tensor | None, brightness: Tensor) -> Tensor:
        """Nats (B,) of the brightness (B, C, H, W) in [0, 1], by what is said of codes (B, Z)."""
        said, scale = self.model.decode(codes, classes), self.model.log_scale
        if scale is None:
            cost = bernoulli_cost(said, brightness)
        elif self.model.likelihood == "logistic":
            cost = logistic_cost((said + 1) / 2, scale, brightness)
        else:
            cost = gaussian_cost((said + 1) / 2, scale, brightness)
        return cost.flatten(1).sum(dim=1)

    @property
    def nats_of_a_level(self) -> float | None:
        """What the cost of a pixel lacks to be that of its level; None where it is not one's."""
        likelihood = self.model.likelihood
        known = {"gaussian": math.log(LEVELS), "logistic": 0.0}
        return 0.0 if self.binarise else known.get(likelihood)

    def log_likelihood(self, batch: Batch) -> Tensor:
        """Nats of each image (B,), at least: by 64 draws of its code.

        Burda et al. 2016, arXiv:1509.00519. Raises ValueError where pixels have no probability.
        """
        if self.nats_of_a_level is None:
            raise ValueError(
                "model.likelihood=bernoulli gives grey pixels no probability\n"
                "  train with task.binarise=true, or model.likelihood=logistic"
            )
        images, classes = batch[self.image], self.classes_of(batch)
        brightness, found = self._drawn(images), []
        mean, log_variance = self.model.encode(self._seen(images, brightness), classes)
        for _ in range(DRAWS):
            noise = torch.randn_like(mean)
            codes = mean + noise * (0.5 * log_variance).exp()
            prior = 0.5 * (noise.square() + log_variance - codes.square()).sum(dim=1)
            found.append(prior - self._pixels_cost(codes, classes, brightness))
        whole = torch.stack(found).logsumexp(dim=0) - math.log(DRAWS)
        return whole - self.nats_of_a_level * math.prod(self.model.image_shape)

    def anomaly_score(self, batch: Batch) -> Tensor:
        """What images (B,) cost, reconstructed from the means of their codes, and these codes."""
        if self.num_conditions:
            raise ValueError("a VAE that is told of classes cannot say how strange others are")
        images = batch[self.image]
        mean, log_variance = self.model.encode(images, None)
        cost = self._pixels_cost(mean, None, (images.float() + 1) / 2)
        return cost + divergence(mean, log_variance).sum(dim=1)

    def forward(self, player: str, batch: Batch, carry: Carry) -> tuple[Tensor, dict[str, Tensor]]:
        """What pixels and codes cost together, weighted, as a mean over images."""
        cost, code, _ = self.parts(batch[self.image], self.classes_of(batch))
        loss = cost.mean() + self.beta * paid(code, self.free_bits)
        told = {"reconstruction": cost.detach(), "kl": code.detach().sum(dim=1)}
        return loss, {"loss": loss.detach(), **told}

    def evaluate(self, batch: Batch) -> Answers:
        """The parts of each image's bound, and the mean of its code."""
        images, classes = batch[self.image], self.classes_of(batch)
        cost, code, mean = self.parts(images, classes)
        first = slice(COLUMNS)
        told = None if classes is None else classes[first]
        again = self.model.pixels(self.model.decode(mean[first], told))
        self.shown = torch.cat([(images[first].float() + 1) / 2, again])
        return {"reconstruction": cost, "kl": code, "mean": mean}

    def metrics(self) -> VAEMetrics:
        """The bound in parts, how much of the code is used, and the judge's figures."""
        return VAEMetrics(
            self.judged(),
            num_pixels=math.prod(self.model.image_shape),
            level=self.nats_of_a_level,
            beta=self.beta,
            free_bits=self.free_bits,
        )

    def diagnose(self, history: Sequence[Signs]) -> Health:
        """What may ail a generator, or that its codes say nothing."""
        found = _collapsed(history)
        return diagnose(history, also=[] if found is None else [found])

    def images_of(self, noise: Tensor, classes: Tensor | None) -> Tensor:
        """The mean pixels in [0, 1] of codes (B, Z)."""
        return self.model.pixels(self.model.decode(noise, classes))

    def generate(
        self,
        num: int,
        *,
        seed: int,
        classes: Sequence[int] = (),
        between: Annotated[str | None, "of a VAE: a.png,b.png, two images and the way"] = None,
    ) -> MadeUp:
        """`num` images; of these classes in turn, or of all, where it knows classes.

        With `between` they lie on the straight way between the codes of two images.
        """
        if between is None:
            return super().generate(num, seed=seed, classes=classes)
        paths = between.split(",")
        if len(paths) != 2:
            raise ValueError(f"between={between}: it takes two images, between=a.png,b.png")
        if self.num_conditions and len(classes) != 1:
            raise ValueError("between=...: this VAE is told of classes; say of which, class=3")
        stored = [self.stored_image(typed_path(path), "between") for path in paths]
        prepare = self.columns[self.image].preparation(self.device)
        ends = prepare(torch.stack(stored).to(self.device))
        kinds = torch.tensor(list(classes) * num) if self.num_conditions else None
        of_ends = None if kinds is None else kinds[:1].repeat(2).to(self.device)
        first, last = self.model.encode(ends, of_ends)[0]
        shares = torch.linspace(0, 1, num, device=self.device)[:, None]
        images = images_of(self, self.images_of, torch.lerp(first, last, shares), kinds)
        return Samples(images, kinds, num)

    def showcase(self) -> Images:
        """Originals above their reconstructions, as last evaluated; then always the same codes."""
        noise = self.noise(SAMPLE_ROWS * COLUMNS, generator_for(self._seed, "showcase"))
        classes = None
        if self.num_conditions:
            classes = (torch.arange(len(noise)) % self.num_conditions).to(self.device)
        samples = self.images_of(noise.to(self.device), classes)
        rows = [] if self.shown is None or len(self.shown) < 2 * COLUMNS else [self.shown]
        return Images(torch.cat([*rows, samples]), COLUMNS)

    def finish(self, ending: Ending) -> dict[str, Any]:
        """What every generator has, reconstructions, and the plane of two-dimensional codes."""
        if ending.drawing is not None:
            self._draw_reconstructions(ending)
            if self.model.latent_dim == 2 and not self.num_conditions:
                picture = image_grid(self.plane().cpu(), columns=PLANE)
                save_image(picture, ending.plots / "latent_plane.png")
        return super().finish(ending)

    def _draw_reconstructions(self, ending: Ending) -> None:
        """Rows of test images, each above what comes back of them."""
        stored = first_of(ending.dataset.test, 2 * COLUMNS)
        prepare = self.columns[self.image].preparation(self.device)
        images = prepare(stored[self.image].to(self.device))
        classes = stored[self.classes].to(self.device) if self.num_conditions else None
        again = self.images_of(self.model.encode(images, classes)[0], classes)
        first, second = slice(COLUMNS), slice(COLUMNS, None)
        images = (images + 1) / 2
        rows = [images[first], again[first], images[second], again[second]]
        pictures = torch.cat(rows).cpu()
        picture = image_grid(pictures, columns=min(COLUMNS, len(images)))
        save_image(picture, ending.plots / "reconstructions.png")

    def plane(self) -> Tensor:
        """Images of two-dimensional codes at equal shares of the normal distribution: 16 x 16."""
        shares = (torch.arange(PLANE, device=self.device) + 0.5) / PLANE
        places = torch.special.ndtri(shares)
        codes = torch.cartesian_prod(-places, places).flip(1)  # x to the right, y upwards
        return self.images_of(codes, None)


def _collapsed(history: Sequence[Signs]) -> Ailment | None:
    active = course(history[-PATIENCE:], "active_units")
    if len(active) < PATIENCE or max(active) >= max(1.0, COLLAPSED * history[-1]["units"]):
        return None
    units, kl = history[-1]["units"], history[-1]["kl"]
    return Ailment(
        "posterior collapse",
        f"{active[-1]:.0f} of {units:.0f} units of the code say anything of the image "
        f"(KL {kl:.2g} nats): the decoder does without them",
        "task.free_bits=0.1, task.beta=0.5, a smaller model.latent_dim, a longer run",
    )
