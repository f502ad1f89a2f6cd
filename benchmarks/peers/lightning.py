"""Lightning, after its "Lightning in 15 minutes" and its example of a GAN (manual optimization).

https://lightning.ai/docs/pytorch/stable/starter/introduction.html
https://github.com/Lightning-AI/pytorch-lightning/blob/master/examples/pytorch/domain_templates/generative_adversarial_net.py

Fast: `Trainer(barebones=True)`, which "disables all features that may impact raw speed".
"""

import lightning as L  # noqa: N812
import torch
from job import Generate, Job, Predict, generates, predicts, watched
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset
from works import GAN_BETAS, LATENT_DIM, LR, classifier, gan


class Classifier(L.LightningModule):
    """One network, one optimizer."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def training_step(self, batch: list[Tensor], batch_index: int) -> Tensor:
        """The loss; Lightning does the rest."""
        images, classes = batch
        loss = functional.cross_entropy(self.network(images), classes)
        self.log("train_loss", loss)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Adam."""
        return torch.optim.Adam(self.parameters(), lr=LR)


class GAN(L.LightningModule):
    """Two optimizers, stepped by hand."""

    def __init__(self, job: Job) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.gate = job.gate
        players = gan(job.work)
        self.generator, self.discriminator = players.generator, players.discriminator

    def adversarial_loss(self, logits: Tensor, target: Tensor) -> Tensor:
        """Binary cross-entropy."""
        return functional.binary_cross_entropy_with_logits(logits, target)

    def training_step(self, batch: list[Tensor]) -> None:
        """The generator's move, then the discriminator's."""
        self.gate.step()
        (real,) = batch
        optimizer_g, optimizer_d = self.optimizers()
        latents = torch.randn(len(real), LATENT_DIM).type_as(real)
        valid, fake = torch.ones(len(real)).type_as(real), torch.zeros(len(real)).type_as(real)

        self.toggle_optimizer(optimizer_g)
        g_loss = self.adversarial_loss(self.discriminator(self.generator(latents)), valid)
        self.log("g_loss", g_loss, prog_bar=True)
        self.manual_backward(g_loss)
        optimizer_g.step()
        optimizer_g.zero_grad()
        self.untoggle_optimizer(optimizer_g)

        self.toggle_optimizer(optimizer_d)
        real_loss = self.adversarial_loss(self.discriminator(real), valid)
        fakes = self.generator(latents).detach()
        fake_loss = self.adversarial_loss(self.discriminator(fakes), fake)
        d_loss = real_loss + fake_loss
        self.log("d_loss", d_loss, prog_bar=True)
        self.manual_backward(d_loss)
        optimizer_d.step()
        optimizer_d.zero_grad()
        self.untoggle_optimizer(optimizer_d)

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        """One Adam each, the generator's first."""
        return [
            torch.optim.Adam(player.parameters(), lr=LR, betas=GAN_BETAS)
            for player in (self.generator, self.discriminator)
        ]


def classify(job: Job) -> Predict:
    """Fit on a DataLoader."""
    data = TensorDataset(job.images.train, job.images.train_classes)
    model = Classifier(watched(classifier(job.work), job.gate))
    _trainer(job).fit(model, DataLoader(data, batch_size=job.work.batch_size, shuffle=True))
    return predicts(model.network)


def play(job: Job) -> Generate:
    """Fit both players."""
    model = GAN(job)
    data = TensorDataset(job.images.train)
    _trainer(job).fit(model, DataLoader(data, batch_size=job.work.batch_size, shuffle=True))
    return generates(model.generator, LATENT_DIM)


def _trainer(job: Job) -> L.Trainer:
    if job.fast:
        return L.Trainer(max_epochs=job.epochs, accelerator="cpu", barebones=True)
    return L.Trainer(max_epochs=job.epochs)
