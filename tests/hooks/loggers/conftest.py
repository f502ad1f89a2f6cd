"""A run that is logged: stopped by a signal on the way and resumed, or to its end at once."""

import json
import signal

import pytest
from torch import nn

from trainwright.tasks.task import Task

GAN = (
    "model=gan", "model.width=4", "model.latent_dim=8", "trainer.ema=0.9", "trainer.steps=8",
    "trainer.batch_size=16", "trainer.evaluate_every=4", "trainer.save_every=3",
    "trainer.sample_every=4", "trainer.log_every=1", "task.score=none",
)  # fmt: skip


@pytest.fixture(scope="session")
def rows_of():
    """The numbers in the lines of a run's metrics.jsonl; what is said in words is not sent."""

    def read(folder):
        lines = (folder / "metrics.jsonl").read_text().splitlines()
        rows = [json.loads(line) for line in lines]
        return [{k: v for k, v in row.items() if isinstance(v, int | float)} for row in rows]

    return read


@pytest.fixture(scope="session")
def interrupt(train, resume):
    """Train with a logger, be stopped in step 5 by a signal, and go on to the end at step 8."""

    def call(folder, *overrides):
        seen = []

        def stop_once(module, inputs):
            if isinstance(module, Task) and inputs[0] == "discriminator":
                seen.append(inputs[0])
                if len(seen) == 5:
                    signal.raise_signal(signal.SIGTERM)

        handle = nn.modules.module.register_module_forward_pre_hook(stop_once)
        try:
            outcome = train(folder, *GAN, *overrides)
        finally:
            handle.remove()
        assert outcome.signal == signal.SIGTERM
        # Where a logger sends to is typed again, as the command that was printed has it.
        again = [f"++{o}" for o in overrides if o.startswith("logger.mlflow.tracking_uri=")]
        assert resume(outcome.folder, *again).signal is None
        return outcome.folder

    return call
