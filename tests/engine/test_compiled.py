"""Networks by torch.compile: the same numbers but for rounding, and no surprise beside that."""

import os
import shutil
from dataclasses import replace

import pytest
import torch
from torch import nn

from trainwright.engine.checkpoint import checkpoint
from trainwright.engine.device.device import Placement
from trainwright.engine.device.environment import differences, environment
from trainwright.engine.evaluate import evaluate
from trainwright.engine.trainer import fit
from trainwright.errors import ConfigError
from trainwright.run.translate import in_our_words
from trainwright.sweep.stacking import against

# Torch's compiler uses what torch itself no longer recommends.
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
COMPILER = os.environ.get("CXX", "g++")
compiles = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which(COMPILER) is None, reason=f"needs a C++ compiler ({COMPILER})"),
]
COMMON = (
    "data=digits",
    "data.limit=64",
    "trainer.batch_size=16",
    "trainer.epochs=null",
    "trainer.steps=10",
    "trainer.evaluate_every=5",
)
RUNS = {
    "dropout": ("model=mlp", "model.widths=[12]", "model.dropout=0.3"),
    "convolutions, batch normalisation": ("model=cnn", "model.norm=batch", "trainer.ema=0.9"),
    "GAN with R1, averaged": (
        "model=mlp_gan", "model.generator_widths=[12]", "model.discriminator_widths=[12]",
        "model.latent_dim=4", "task.score=none", "task.r1=0.5", "task.r1_every=2"),
    "GAN with a gradient penalty": (
        "model=mlp_gan", "model.generator_widths=[12]", "model.discriminator_widths=[12]",
        "model.latent_dim=4", "task.score=none", "task.loss=wasserstein_gp"),
}  # fmt: skip


def compiled(*overrides):
    return [pytest.param(name, marks=compiles) for name in overrides]


@pytest.mark.parametrize("name", compiled(*RUNS))
def test_compiled_networks_train_as_written_ones_but_for_rounding(
    assembled, same_bits, name, caplog
):
    """With the same dropout and latents. By SGD: Adam makes whole steps of gradients that are 0.

    And as on a CUDA device, where steps are made on tensors that stay where they are.
    """
    states, before = [], compile_count()
    for compile, static in (("false", False), ("true", False), ("true", True)):
        sgd = ("optimizer=sgd", "optimizer.lr=0.01")
        run = assembled(*RUNS[name], *COMMON, *sgd, f"trainer.compile={compile}")
        run.state.placement = replace(run.state.placement, static=static)
        fit(run.state, run.train, [], run.settings)
        assert (run.state.unread is not None) is static
        states.append(run.state)
    assert compile_count() > before
    written, compiled = map(checkpoint.state_tensors, states[:2])
    for key, value in written.items():
        torch.testing.assert_close(compiled[key], value, rtol=1e-4, atol=1e-5, msg=key)
    same_bits(*states[1:])
    assert "is not compiled" not in caplog.text


@pytest.mark.parametrize("name", compiled("dropout"))
def test_a_network_that_is_not_called_as_a_module_is_said_not_to_be_compiled(
    assembled, name, caplog, tmp_path, monkeypatch
):
    (tmp_path / "sideways.py").write_text(SIDEWAYS)
    monkeypatch.syspath_prepend(tmp_path)
    typed = (*RUNS[name], *COMMON, "trainer.compile=true", "task._target_=sideways.Sideways")
    run = assembled(*typed)
    before = compile_count()
    fit(run.state, run.train, [], run.settings)
    assert compile_count() == before
    assert caplog.messages == [
        "model is not compiled: Sideways does not call it as a module, as self.model(...) does"
    ]


SIDEWAYS = """
from torch.nn import functional
from trainwright.tasks.classifier import Classifier


class Sideways(Classifier):
    def forward(self, player, batch, handed):
        loss = functional.cross_entropy(self.model.forward(batch.inputs), batch.targets)
        return loss, {"loss": loss.detach()}
"""


@pytest.mark.parametrize("name", compiled("dropout"))
def test_evaluating_compiles_nothing(assembled, name):
    run = assembled(*RUNS[name], *COMMON, "trainer.compile=true")
    fit(run.state, run.train, [], run.settings)
    before = compile_count()
    batches = run.make_batches(run.dataset.validation)
    values = evaluate(run.state.task, batches, batch_size=50, placement=run.state.placement, seed=0)
    assert len(values["loss"]) == len(run.dataset.validation)
    assert compile_count() == before


def compile_count():
    from torch._dynamo.utils import counters

    return counters["stats"]["unique_graphs"]


@pytest.mark.parametrize("name", compiled("dropout"))
def test_a_compiled_run_goes_on_to_the_same_bits(train, resume, tmp_path, name):
    typed = (*RUNS[name], *COMMON, "trainer.compile=true", "trainer.save_every=5")
    train(tmp_path / "whole", *typed, "trainer.steps=20")
    train(tmp_path / "parts", *typed, "trainer.steps=10", "trainer.schedule_until=20")
    resume(tmp_path / "parts", "trainer.steps=20")
    whole, _ = checkpoint.load(tmp_path / "whole" / "checkpoints" / "last.safetensors")
    parts, _ = checkpoint.load(tmp_path / "parts" / "checkpoints" / "last.safetensors")
    assert [name for name in whole if not torch.equal(whole[name], parts[name])] == []


@pytest.mark.slow
def test_without_a_compiler_it_says_what_to_install(assembled, tmp_path):
    from torch._inductor import config as inductor

    expected = pytest.raises(ConfigError, match=r"compiler, and torch finds none\n  install g\+\+")
    with inductor.patch({"cpp.cxx": (None, str(tmp_path / "none"))}), expected:
        assembled(*RUNS["dropout"], *COMMON, "trainer.compile=true")


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
@pytest.mark.parametrize("name", compiled("dropout"))
def test_what_cannot_be_compiled_ends_the_run_as_a_mistake_in_the_config(
    train, tmp_path, name, monkeypatch
):
    """An own task that wants the gradient of a gradient."""
    (tmp_path / "twice.py").write_text(TWICE)
    monkeypatch.syspath_prepend(tmp_path)
    typed = (*RUNS[name], *COMMON, "trainer.compile=true", "task._target_=twice.Twice")
    with pytest.raises(ConfigError, match="the model cannot be compiled") as error:
        train(tmp_path / "run", *typed)
    assert len(str(error.value).splitlines()) == 3
    assert "double backward" in str(error.value)


TWICE = """
import torch
from trainwright.tasks.classifier import Classifier


class Twice(Classifier):
    def forward(self, player, batch, handed):
        inputs = batch.inputs.clone().requires_grad_() * 1
        logits = self.model(inputs)
        (slope,) = torch.autograd.grad(logits.sum(), inputs, create_graph=True)
        loss = slope.square().sum()
        return loss, {"loss": loss.detach()}
"""


def test_a_run_says_that_it_is_compiled_and_a_resume_that_it_was_not(assembled):
    run = assembled(*RUNS["dropout"], *COMMON)
    plain = run.state.placement
    compiled = replace(plain, compiled=True)
    assert compiled.describe() == f"{plain.describe()}, compiled"
    then, now = (environment(placement, run.dataset) for placement in (plain, compiled))
    assert differences(then, now) == ["steps alone -> alone, compiled"]
    static = Placement(torch.device("cpu"), "fp32", torch.contiguous_format, 1, static=True)
    both = environment(replace(static, compiled=True), run.dataset)
    assert both["steps"] == "on the device, compiled"


def test_a_job_that_compiles_is_not_stacked(composed):
    assert "trainer.compile" in against(composed("data=digits", "trainer.compile=true"))


def test_the_parts_of_a_gan_are_called_as_modules(assembled):
    """What is compiled is what `__call__` of a module computes: its other methods are not."""
    run = assembled(*RUNS["GAN with R1, averaged"], *COMMON)
    called = dict.fromkeys(run.state.task.compilable, 0)
    for name, module in run.state.task.compilable.items():

        def count(*_, name=name):
            called[name] += 1

        module.register_forward_hook(count)
    run.state.step = 1  # no R1 in this one
    fit(run.state, run.train, [Stop()], run.settings)
    # Fakes once; both halves, then the generator's, and the real ones that they are paired with.
    assert called == {"generator": 1, "discriminator": 3}


class Stop:
    def due(self, step, total):
        return True

    def __call__(self, state, metrics):
        state.stop_reason = "one step"


def test_other_errors_are_not_taken_for_the_compilers(assembled):
    run = assembled(*RUNS["dropout"], *COMMON)
    run = replace(run, settings=replace(run.settings, compile=True))
    error = ValueError("Expected more than 1 value per channel")
    assert "batch normalisation" in str(in_our_words(error, run, None, ""))
    assert in_our_words(ValueError("mine"), run, None, "") is None
    twice = RuntimeError(
        "torch.compile with aot_autograd does not currently support double backward"
    )
    assert "the model cannot be compiled" in str(in_our_words(twice, run, None, ""))
    off = replace(run, settings=replace(run.settings, compile=False))
    assert in_our_words(twice, off, None, "") is None


def test_a_copy_of_a_compiled_network_is_not_compiled():
    """Averaged weights are such a copy, and are only evaluated."""
    import copy

    layer = nn.Linear(2, 2)
    layer._compiled_call_impl = lambda inputs: None
    assert copy.deepcopy(layer)(torch.ones(1, 2)) is not None
