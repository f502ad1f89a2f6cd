"""Ten thousand steps with every hook at every step: nothing is kept that should be let go."""

import gc
import mmap
import os
import sys
from pathlib import Path

import pytest
from torch import nn

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
    """Resident memory and open files at some of the steps of a run."""

    def __init__(self, steps):
        self.steps, self.step, self.memory, self.files = set(steps), 0, [], []

    def __enter__(self):
        self.handle = nn.modules.module.register_module_forward_pre_hook(self.before)
        return self

    def __exit__(self, *error):
        self.handle.remove()

    def before(self, module, inputs):
        if not (isinstance(module, Task) and inputs[0] == "discriminator"):
            return
        self.step += 1
        if self.step in self.steps:
            gc.collect()
            self.memory.append(int(Path("/proc/self/statm").read_text().split()[1]))
            self.files.append(len(list(Path("/proc/self/fd").iterdir())))


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("steps", [60, pytest.param(NUM_STEPS, marks=pytest.mark.slow)])
def test_memory_and_open_files_do_not_grow_with_the_steps(train, tmp_path, steps):
    with Meter((steps // 5, steps // 2, steps)) as meter:
        train(tmp_path / "run", *RUN, f"trainer.steps={steps}")
    early, middle, late = meter.memory
    print(f"resident pages {early}, {middle}, {late}; open files {meter.files}")
    assert len(set(meter.files)) == 1
    if steps == NUM_STEPS:
        assert late < early * 1.01


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
        with Meter((10, 60)) as meter:
            train(tmp_path / "run", *RUN, "trainer.steps=60")
    finally:
        handle.remove()
        [os.close(file) for _, file in kept]
    assert meter.files[1] > meter.files[0] + 40
    assert meter.memory[1] > meter.memory[0] * 1.001
