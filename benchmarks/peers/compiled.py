"""The loop written by hand around torch.compile, as its tutorial has it: a compiled training step.

https://docs.pytorch.org/tutorials/intermediate/torch_compile_tutorial.html

What compiling takes is part of a whole process, and comes before the first turn.
"""

import torch
from job import Job, Predict, predicts
from torch import Tensor
from torch.nn import functional
from works import LR, classifier


def classify(job: Job) -> Predict:
    """Forward, backward and a fused Adam; as it comes and fast are the same."""
    images, classes, size = job.images.train, job.images.train_classes, job.work.batch_size
    model = classifier(job.work)
    optimizer = torch.optim.Adam(model.parameters(), lr=LR, fused=True)

    @torch.compile
    def loss_of(inputs: Tensor, targets: Tensor) -> Tensor:
        return functional.cross_entropy(model(inputs), targets)

    for _ in range(job.epochs):
        order = torch.randperm(len(images))
        for start in range(0, len(images), size):
            job.gate.step()
            index = order[start : start + size]
            loss = loss_of(images[index], classes[index])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return predicts(model)
