"""`train tune`: what it prints is ready to paste, and nothing of it is left behind."""

import pytest

KILLED = """
import os, signal
from torch import nn


class Net(nn.Module):
    def __init__(self, *, input_shape, num_outputs):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(64, num_outputs))

    def forward(self, inputs):
        if self.training and len(inputs) >= 256:  # as the kernel does where memory runs out
            os.kill(os.getpid(), signal.SIGKILL)
        print("hello")
        return self.layers(inputs)
"""


@pytest.mark.slow
def test_memory_that_runs_out_ends_the_process_that_tried_alone(run_main, empty):
    (empty / "mine.py").write_text(KILLED)
    (empty / "configs" / "model").mkdir(parents=True)
    (empty / "configs" / "model" / "mine.yaml").write_text("_target_: mine.Net\n")
    result = run_main("tune", "batch", "model=mine", "trainer.batch_size=256")
    assert result.code == 0, result.err
    assert "the largest is 128: at 256 the process was killed (SIGKILL)" in result.out
    assert result.out.endswith("proposed:\n  train model=mine trainer.batch_size=128\n")
    assert not (empty / "outputs").exists()


def test_a_rate_is_printed_as_a_command_beside_its_plot(run_main, empty):
    result = run_main("tune", "lr", "model.widths=[8]", "optimizer.lr=0.1", "data.limit=400")
    assert result.code == 0, result.err
    heading, curve, _, plot, proposed, line = result.out.splitlines()
    assert heading.startswith("learning rate: ")
    assert curve.startswith("  loss  ")
    assert plot == "  plot  tune-mlp-digits.png"
    assert proposed == "proposed:"
    assert line.startswith("  train 'model.widths=[8]' data.limit=400 optimizer.lr=0.")
    assert [path.name for path in empty.iterdir()] == ["tune-mlp-digits.png"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["rate"], "train tune rate: it takes lr or batch, and overrides"),
        (["-m", "seed=0,1"], "leave -m out"),
        (["trainer.resume=outputs/none"], "train tune is for a new run"),
        (["trainer.devices=2"], "trainer.devices=2: train tune tries with one process"),
        (["trainer.events=json"], "trainer.events=json tells of a run"),
        (["optimizer.lr=abc"], "optimizer.lr='abc': it must be a number"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_tuned_is_refused(run_main, words, said):
    result = run_main("tune", *words)
    assert result.code == 2
    assert said in result.err
