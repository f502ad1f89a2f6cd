"""Accelerate, after its quicktour: the loop of torch, with what is prepared by an Accelerator.

https://huggingface.co/docs/accelerate/quicktour

It has no features that would have to be switched off: fast and as it comes are the same. The GAN
is torch's DCGAN tutorial with `accelerator.backward`.
"""

import torch
from accelerate import Accelerator
from job import Generate, Job, Predict, generates, predicts, watched
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from works import GAN_BETAS, LATENT_DIM, LR, classifier, gan


def classify(job: Job) -> Predict:
    """Train a prepared model on a prepared DataLoader."""
    accelerator = Accelerator(cpu=job.fast)
    data = TensorDataset(job.images.train, job.images.train_classes)
    loader = DataLoader(data, batch_size=job.work.batch_size, shuffle=True)
    model = watched(classifier(job.work), job.gate)
    optimizer = torch.optim.Adam(model.parameters(), lr=LR)
    model, optimizer, loader = accelerator.prepare(model, optimizer, loader)
    loss_function = nn.CrossEntropyLoss()
    for _ in range(job.epochs):
        for inputs, targets in loader:
            optimizer.zero_grad()
            loss = loss_function(model(inputs), targets)
            accelerator.backward(loss)
            optimizer.step()
    return predicts(accelerator.unwrap_model(model))


def play(job: Job) -> Generate:
    """Train both players, prepared together."""
    accelerator = Accelerator(cpu=job.fast)
    loader = DataLoader(
        TensorDataset(job.images.train), batch_size=job.work.batch_size, shuffle=True
    )
    players = gan(job.work)
    optimizer_g, optimizer_d = (
        torch.optim.Adam(player.parameters(), lr=LR, betas=GAN_BETAS)
        for player in (players.generator, players.discriminator)
    )
    net_g, net_d, optimizer_g, optimizer_d, loader = accelerator.prepare(
        players.generator, players.discriminator, optimizer_g, optimizer_d, loader
    )
    bce = nn.BCEWithLogitsLoss()
    for _ in range(job.epochs):
        for (real,) in loader:
            job.gate.step()
            real_labels, fake_labels = torch.ones(len(real)), torch.zeros(len(real))

            optimizer_d.zero_grad()
            accelerator.backward(bce(net_d(real), real_labels))
            fake = net_g(torch.randn(len(real), LATENT_DIM))
            accelerator.backward(bce(net_d(fake.detach()), fake_labels))
            optimizer_d.step()

            optimizer_g.zero_grad()
            accelerator.backward(bce(net_d(fake), real_labels))
            optimizer_g.step()
    return generates(accelerator.unwrap_model(net_g), LATENT_DIM)
