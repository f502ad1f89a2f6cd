"""A loop written by hand, over tensors in memory: what most people write who need no library."""

import torch
from job import Generate, Job, Predict, generates, predicts, watched
from torch.nn import functional
from works import GAN_BETAS, LATENT_DIM, LR, classifier, gan


def classify(job: Job, *, fused: bool | None = None) -> Predict:
    """Train with Adam on shuffled minibatches; as it comes and fast are the same."""
    images, classes, size = job.images.train, job.images.train_classes, job.work.batch_size
    model = watched(classifier(job.work), job.gate)
    optimizer = torch.optim.Adam(model.parameters(), lr=LR, fused=fused)
    for _ in range(job.epochs):
        order = torch.randperm(len(images))
        for start in range(0, len(images), size):
            index = order[start : start + size]
            loss = functional.cross_entropy(model(images[index]), classes[index])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return predicts(model)


def play(job: Job, *, fused: bool | None = None) -> Generate:
    """Both players' moves; the generator's images are made once and serve both."""
    images, size = job.images.train, job.work.batch_size
    players = gan(job.work)
    generator, discriminator = players.generator, players.discriminator
    optimizer_d, optimizer_g = (
        torch.optim.Adam(player.parameters(), lr=LR, betas=GAN_BETAS, fused=fused)
        for player in (discriminator, generator)
    )
    softplus = functional.softplus  # -log sigmoid(x) = softplus(-x)
    for _ in range(job.epochs):
        order = torch.randperm(len(images))
        for start in range(0, len(images), size):
            job.gate.step()
            real = images[order[start : start + size]]
            fakes = generator(torch.randn(len(real), LATENT_DIM))

            logits_real, logits_fake = discriminator(torch.cat([real, fakes.detach()])).chunk(2)
            loss = softplus(-logits_real).mean() + softplus(logits_fake).mean()
            optimizer_d.zero_grad()
            loss.backward()
            optimizer_d.step()

            loss = softplus(-discriminator(fakes)).mean()
            optimizer_g.zero_grad()
            loss.backward(inputs=list(generator.parameters()))
            optimizer_g.step()
    return generates(generator, LATENT_DIM)
