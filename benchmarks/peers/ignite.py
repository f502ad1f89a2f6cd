"""PyTorch-Ignite, after its quickstart and its DCGAN example.

https://docs.pytorch.org/ignite/quickstart.html
https://github.com/pytorch/ignite/blob/master/examples/gan/dcgan.py

It has no features that would have to be switched off: fast and as it comes are the same.
"""

import torch
from ignite.engine import Engine, create_supervised_trainer
from job import Generate, Job, Predict, generates, predicts, watched
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset
from works import GAN_BETAS, LATENT_DIM, LR, classifier, gan


def classify(job: Job) -> Predict:
    """Run a supervised trainer."""
    data = TensorDataset(job.images.train, job.images.train_classes)
    train_loader = DataLoader(data, batch_size=job.work.batch_size, shuffle=True)
    model = watched(classifier(job.work), job.gate)
    optimizer = torch.optim.Adam(model.parameters(), lr=LR)
    trainer = create_supervised_trainer(model, optimizer, nn.CrossEntropyLoss())
    trainer.run(train_loader, max_epochs=job.epochs)
    return predicts(model)


def play(job: Job) -> Generate:
    """Run an engine whose step moves both players."""
    players = gan(job.work)
    net_g, net_d = players.generator, players.discriminator
    optimizer_g, optimizer_d = (
        torch.optim.Adam(player.parameters(), lr=LR, betas=GAN_BETAS) for player in (net_g, net_d)
    )
    bce = nn.BCEWithLogitsLoss()

    def step(engine: Engine, batch: list[Tensor]) -> dict[str, float]:
        job.gate.step()
        (real,) = batch
        real_labels, fake_labels = torch.ones(len(real)), torch.zeros(len(real))

        net_d.zero_grad()
        err_d_real = bce(net_d(real), real_labels)
        err_d_real.backward()
        fake = net_g(torch.randn(len(real), LATENT_DIM))
        err_d_fake = bce(net_d(fake.detach()), fake_labels)
        err_d_fake.backward()
        optimizer_d.step()

        net_g.zero_grad()
        err_g = bce(net_d(fake), real_labels)
        err_g.backward()
        optimizer_g.step()
        return {"errD": (err_d_real + err_d_fake).item(), "errG": err_g.item()}

    loader = DataLoader(
        TensorDataset(job.images.train), batch_size=job.work.batch_size, shuffle=True
    )
    Engine(step).run(loader, max_epochs=job.epochs)
    return generates(net_g, LATENT_DIM)
