"""The Trainer of Transformers, on a model of one's own that returns a loss.

https://huggingface.co/docs/transformers/main_classes/trainer (any nn.Module will do that "returns
tuples or subclasses of ModelOutput, and computes the loss if a labels argument is provided").

Fast: no saving, no reports, no clipping, no bar. As it comes: only the length, the batch size and
Adam's learning rate are given. It has no GANs.
"""

import torch
from job import Job, Predict, predicts, watched
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import Dataset
from transformers import Trainer, TrainingArguments
from works import LR, classifier


class WithLoss(nn.Module):
    """A network whose output holds the loss, as the Trainer wants it."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixel_values: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Images (B, C, H, W) and classes (B,) to loss and logits."""
        logits = self.network(pixel_values)
        return {"loss": functional.cross_entropy(logits, labels), "logits": logits}


class Pictures(Dataset[dict[str, Tensor]]):
    """Examples as dictionaries, for the default collator."""

    def __init__(self, job: Job) -> None:
        self.images, self.classes = job.images.train, job.images.train_classes

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {"pixel_values": self.images[index], "labels": self.classes[index]}


def classify(job: Job) -> Predict:
    """Let the Trainer train."""
    model = WithLoss(watched(classifier(job.work), job.gate))
    wanted: dict[str, object] = {
        "num_train_epochs": job.epochs,
        "per_device_train_batch_size": job.work.batch_size,
        "learning_rate": LR,
    }
    if job.fast:
        wanted |= {
            "use_cpu": True,
            "save_strategy": "no",
            "logging_strategy": "no",
            "report_to": "none",
            "disable_tqdm": True,
            "max_grad_norm": 0.0,
            "lr_scheduler_type": "constant",
        }
    torch.manual_seed(0)
    Trainer(
        model=model,
        args=TrainingArguments(output_dir="transformers", **wanted),
        train_dataset=Pictures(job),
    ).train()
    return predicts(model.network)
