"""A GPT-2 of that size trained by the Trainer of Transformers, without trainwright.

The shape and the recipe of `nanogpt.py`, as somebody would write it who knows Transformers: windows
of 64 letters that follow each other, shuffled; GPT2LMHeadModel, whose loss comes with `labels`;
AdamW with a cosine. Without reports, saving and bar, which only cost time.

    cd benchmarks && python -m peers.gpt2_trainer ~/data/tinyshakespeare/input.txt --steps 300

(A folder in which there is a transformers.py is no place to start it from.)
"""

import tempfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset
from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainingArguments

from peers.nanogpt import (
    BATCH,
    CLIP,
    CONTEXT,
    DECAY,
    HEADS,
    LAYERS,
    LEAST_LR,
    LR,
    WARM_UP,
    WIDTH,
    main,
    read,
    timed,
)


class Windows(Dataset[dict[str, Tensor]]):
    """Windows of a stream of letters, one after the other."""

    def __init__(self, stream: np.ndarray) -> None:
        num = len(stream) // CONTEXT
        rows = stream[: num * CONTEXT].astype(np.int64).reshape(num, CONTEXT)
        self.windows = torch.from_numpy(rows)

    def __len__(self) -> int:
        return len(self.windows)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {"input_ids": self.windows[index], "labels": self.windows[index]}


def train(path: Path, *, steps: int, evaluate: bool) -> None:
    """Train, and say how fast, and how good."""
    train_part, held_out, vocabulary = read(path)
    torch.manual_seed(1337)
    model = GPT2LMHeadModel(
        GPT2Config(
            vocab_size=vocabulary,
            n_positions=CONTEXT,
            n_embd=WIDTH,
            n_layer=LAYERS,
            n_head=HEADS,
            resid_pdrop=0.0,
            embd_pdrop=0.0,
            attn_pdrop=0.0,
            bos_token_id=0,
            eos_token_id=0,
        )
    )
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(
            model=model,
            args=TrainingArguments(
                output_dir=folder,
                max_steps=steps,
                per_device_train_batch_size=BATCH,
                per_device_eval_batch_size=256,
                learning_rate=LR,
                lr_scheduler_type="cosine_with_min_lr",
                lr_scheduler_kwargs={"min_lr": LEAST_LR},
                warmup_steps=min(WARM_UP, steps // 10),
                weight_decay=DECAY,
                adam_beta2=0.99,
                max_grad_norm=CLIP,
                use_cpu=True,
                save_strategy="no",
                logging_strategy="no",
                report_to="none",
                disable_tqdm=True,
            ),
            train_dataset=Windows(train_part),
            eval_dataset=Windows(held_out),
        )
        with timed(steps):
            trainer.train()
        if evaluate:
            print(f"validation loss {trainer.evaluate()['eval_loss']:.4f}")


if __name__ == "__main__":
    main(str(__doc__), train)
