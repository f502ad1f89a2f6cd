"""skorch, after its quickstart: a module with the interface of scikit-learn.

https://skorch.readthedocs.io/en/stable/user/quickstart.html

Fast: silent, and without the callbacks that score and print. In both settings `train_split=None`:
by default a fifth of the images would not be trained on. It has no GANs.
"""

import torch
from job import Job, Predict, predicts, watched
from skorch import NeuralNetClassifier
from torch import nn
from works import LR, classifier


def classify(job: Job) -> Predict:
    """Fit on tensors."""
    options: dict[str, object] = {}
    if job.fast:
        options = {"verbose": 0, "callbacks__print_log": None, "callbacks__train_loss": None}
    net = NeuralNetClassifier(
        watched(classifier(job.work), job.gate),
        criterion=nn.CrossEntropyLoss,
        optimizer=torch.optim.Adam,
        lr=LR,
        batch_size=job.work.batch_size,
        max_epochs=job.epochs,
        iterator_train__shuffle=True,
        train_split=None,
        **options,
    )
    net.fit(job.images.train, job.images.train_classes)
    return predicts(net.module_)
