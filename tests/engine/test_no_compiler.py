"""A run imports no compiler, and torch's optimizers do bit for bit what they do without us."""

import subprocess
import sys

import pytest
import torch
from torch.optim import SGD, Adagrad, Adam, AdamW, RMSprop

from trainwright.engine.optim.no_compiler import leave_compiler_unloaded, step_by_torch


@pytest.mark.slow
def test_a_run_from_the_shell_imports_no_compiler(tmp_path):
    """With an optimizer whose every step is torch's, in a run that also saves and evaluates."""
    program = """
import sys
from trainwright.cli.train import main
try:
    main(["model=mlp", "optimizer=rmsprop", "trainer=smoke", f"run.dir={sys.argv[1]}"])
except SystemExit as end:
    assert not end.code
loaded = {name.split(".")[1] for name in sys.modules if name.startswith("torch._")}
assert not loaded & {"_dynamo", "_inductor"}, "imported a compiler"
"""
    ended = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "run")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr


@pytest.mark.parametrize("kind", [SGD, Adam, AdamW, RMSprop, Adagrad])
def test_steps_are_those_of_torch(kind):
    leave_compiler_unloaded()
    weights = [torch.randn(5, 3, generator=torch.Generator().manual_seed(1)) for _ in range(2)]
    parameters = [torch.nn.Parameter(weight) for weight in weights]
    by_torch, by_us = (kind([parameter], lr=0.1, weight_decay=0.01) for parameter in parameters)
    for seed in range(3):
        gradient = torch.randn(5, 3, generator=torch.Generator().manual_seed(seed))
        for parameter in parameters:
            parameter.grad = gradient.clone()
        by_torch.step()
        step_by_torch(by_us)
        assert torch.equal(parameters[0], parameters[1])


def test_an_optimizer_of_ones_own_is_stepped_as_it_is():
    class Halving(torch.optim.Optimizer):
        def __init__(self, params):
            super().__init__(params, {})

        @torch.no_grad()
        def step(self, closure=None):
            for group in self.param_groups:
                for parameter in group["params"]:
                    parameter.mul_(0.5)

    parameter = torch.nn.Parameter(torch.ones(2))
    step_by_torch(Halving([parameter]))
    assert parameter.tolist() == [0.5, 0.5]
