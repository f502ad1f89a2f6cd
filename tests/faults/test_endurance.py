"""Ten thousand steps with every hook at every step: nothing is kept that should be let go."""

import gc
import mmap
import os
import sys
from pathlib import Path
from statistics import fmean

import pytest
from torch import nn

from trainwright.engine import trainer
from trainwright.tasks.task import Task

NUM_STEPS = 10_000
RUN = (
    "model=mlp_gan", "model.generator_widths=[8]", "model.discriminator_widths=[8]",
    "model.latent_dim=4", "trainer.batch_size=8", "trainer.ema=0.9", "trainer.clip_norm=1",
    "trainer.early_stopping.patience=1000000", "trainer.on_nonfinite=skip", "data.limit=64",
    "data.validation=0.02", "schedule=plateau", "schedule.patience=1000000",
    *(f"trainer.{what}_every=1" for what in ("log", "evaluate", "sample", "save")),
)  # fmt: skip


class Meter:
    """Resident memory (in pages) and open files, so many times in a run, at equal distances."""

    def __init__(self, num_steps, num_times):
        self.every, self.step, self.memory, self.files = num_steps // num_times, 0, [], []

    def __enter__(self):
        self.take_step = trainer.train_step

        def counted(*arguments):
            self.step += 1
            if self.step % self.every == 0:
                self.read()
            return self.take_step(*arguments)

        trainer.train_step = counted
        return self

    def __exit__(self, *error):
        trainer.train_step = self.take_step

    def read(self):
        gc.collect()
        self.memory.append(int(Path("/proc/self/statm").read_text().split()[1]))
        self.files.append(len(list(Path("/proc/self/fd").iterdir())))
        print(f"step {self.step}: {self.memory[-1]} pages, {self.files[-1]} files", flush=True)


def growth(memory):
    """By what share the last fifth of the readings is above the second fifth, in their means."""
    fifth = len(memory) // 5
    return fmean(memory[-fifth:]) / fmean(memory[fifth : 2 * fifth]) - 1


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
@pytest.mark.timeout(7200)
@pytest.mark.slow
def test_memory_and_open_files_do_not_grow_with_the_steps(train, tmp_path):
    with Meter(NUM_STEPS, 20) as meter:
        train(tmp_path / "run", *RUN, f"trainer.steps={NUM_STEPS}")
    assert len(meter.memory) == 20
    assert len(set(meter.files)) == 1
    print(f"resident memory grew by {growth(meter.memory):.2%}")
    assert growth(meter.memory) < 0.01


@pytest.mark.slow
def test_the_meter_sees_what_is_kept(train, tmp_path):
    """The negative control: a hook that keeps a megabyte and a file of each step is noticed."""
    kept = []

    def hoard(module, inputs):
        if isinstance(module, Task):
            block = mmap.mmap(-1, 2**20)  # from the system, whatever lies free in the heap
            block.write(bytes(2**20))
            kept.append((block, os.open(os.devnull, os.O_RDONLY)))

    handle = nn.modules.module.register_module_forward_pre_hook(hoard)
    try:
        with Meter(60, 20) as meter:
            train(tmp_path / "run", *RUN, "trainer.steps=60")
    finally:
        handle.remove()
        [os.close(file) for _, file in kept]
    assert meter.files[-1] > meter.files[0] + 40
    assert growth(meter.memory) > 0.01
