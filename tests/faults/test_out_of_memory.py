"""Memory that runs out: really, by a limit on this process, in the middle of a run."""

import faulthandler
import os
import resource
import signal
import sys
import traceback
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from trainwright.engine.checkpoint import checkpoint
from trainwright.engine.checkpoint.tensor_file import write_tensors
from trainwright.engine.device.memory import is_out_of_memory
from trainwright.errors import OutOfMemoryError
from trainwright.files import leftovers
from trainwright.tasks.task import Task

RUN = (
    "model=mlp", "model.widths=[256]", "trainer.steps=8", "trainer.batch_size=1000",
    "trainer.save_every=2", "trainer.evaluate_every=2", "trainer.sample_every=0",
)  # fmt: skip
BLOCK = 2**20  # bytes


class Shortage:
    """From a moment on, every block of memory that the system would give is taken."""

    def __init__(self):
        self.taken = []

    def begin(self):
        in_use = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (in_use + 32 * BLOCK, resource.RLIM_INFINITY))
        for size in (BLOCK, BLOCK // 8, BLOCK // 64):  # what was freed lies about in pieces
            self.take_all(size)

    def take_all(self, size):
        try:
            while True:
                self.taken.append(torch.empty(size, dtype=torch.uint8))
        except RuntimeError:
            return


class ShortageInStep(Shortage):
    """It begins before a given training step."""

    def __init__(self, step):
        super().__init__()
        self.steps_left = step

    def __enter__(self):
        self.handle = nn.modules.module.register_module_forward_pre_hook(self.before)

    def __exit__(self, *error):
        self.taken.clear()
        self.handle.remove()

    def before(self, module, inputs):
        if not (isinstance(module, Task) and module.training):
            return
        self.steps_left -= 1
        if self.steps_left == 0:
            self.begin()


def in_a_child(work):
    """What `work` returns, a line of text, from a process whose memory is its own affair."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        # Whoever is aborted says so at length, as faulthandler has it: here that is no news.
        faulthandler.disable()
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        try:
            text = work()
        except BaseException:
            text = traceback.format_exc()
        os.write(writing, text.encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        text = pipe.read()
    _, status = os.waitpid(child, 0)
    number = -os.waitstatus_to_exitcode(status)
    return f"it was ended by {signal.Signals(number).name}" if number > 0 else text


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc and RLIMIT_AS")
@pytest.mark.parametrize("step", [6, pytest.param(1, marks=pytest.mark.slow)])
def test_a_run_that_runs_out_of_memory_says_what_to_lower_and_keeps_its_last_checkpoint(
    train, tmp_path, step
):
    folder = tmp_path / "run"

    def work():
        try:
            with ShortageInStep(step):
                train(folder, *RUN)
        except OutOfMemoryError as error:
            return f"{error.exit_code}\n{error}"
        return "the run went on"

    text = in_a_child(work)
    code, *lines = text.splitlines()
    assert code == "7", text
    assert "trainer.batch_size=1000" in lines[0]
    assert "trainer.accumulate=2" in lines[1]
    assert len(lines) <= 4
    last = folder / "checkpoints" / "last.safetensors"
    if step > 2:
        assert f"last checkpoint: {last}" in lines[2]
        assert checkpoint.load(last)[1]["progress"]["step"] == 4
    else:
        assert "last checkpoint: none yet" in lines[2]


def train_with_a_shortage_in_a_save(train, folder, write):
    """What a person reads where memory runs out in the third save; `write` writes its tensors."""
    calls, shortage = [], Shortage()

    def starving_write(path, tensors, labels):
        calls.append(path)
        if len([path for path in calls if path.name.startswith(".last")]) == 3:
            shortage.begin()
        write(path, tensors, labels)

    def work():
        checkpoint.write_tensors = starving_write
        try:
            train(folder, *RUN)
        except OutOfMemoryError as error:
            return f"{error.exit_code}\n{error}"
        return "the run went on"

    return in_a_child(work)


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc and RLIMIT_AS")
def test_memory_that_runs_out_in_a_save_leaves_a_checkpoint_and_says_what_to_lower(train, tmp_path):
    text = train_with_a_shortage_in_a_save(train, tmp_path / "run", write_tensors)
    code, *lines = text.splitlines()
    assert code == "7", text
    assert "trainer.batch_size=1000" in lines[0]
    last = tmp_path / "run" / "checkpoints" / "last.safetensors"
    assert f"last checkpoint: {last}" in lines[2]
    # The save itself needs no memory worth speaking of, so that it may have succeeded.
    assert checkpoint.load(last)[1]["progress"]["step"] in (4, 6)
    assert leftovers(tmp_path / "run") == []


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc and RLIMIT_AS")
def test_control_the_librarys_own_save_is_seen_to_abort_the_process(train, tmp_path):
    def library_write(path, tensors, labels):
        save_file(tensors, path, metadata=dict(labels))

    text = train_with_a_shortage_in_a_save(train, tmp_path / "run", library_write)
    assert text == "it was ended by SIGABRT"


def test_a_run_with_enough_memory_goes_on(train, tmp_path):
    """The negative control: it is the shortage that ends the run."""

    def work():
        train(tmp_path / "run", *RUN)
        return "the run went on"

    assert in_a_child(work) == "the run went on"


@pytest.mark.parametrize("allocate", [lambda: torch.empty(2**60), lambda: torch.zeros(2**45)])
def test_what_torch_raises_is_known_for_what_it_is(allocate):
    with pytest.raises(RuntimeError) as caught:
        allocate()
    assert is_out_of_memory(caught.value) or "overflow" in str(caught.value)


def test_an_error_of_another_kind_is_not_taken_for_it():
    assert not is_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    assert not is_out_of_memory(ValueError("can't allocate memory"))
