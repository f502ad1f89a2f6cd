"""Steps as CUDA graphs: on a GPU where there is one, and who decides what without one."""

import random
import re
import warnings
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from trainwright.engine.checkpoint import checkpoint
from trainwright.engine.device.device import Placement
from trainwright.engine.fast.cuda_graph import WARM_UPS, OnDeviceSteps, _Graphs
from trainwright.engine.fast.static_step import StaticStep
from trainwright.engine.hook import Hook
from trainwright.engine.optim.player_optimizer import PlayerOptimizer
from trainwright.engine.settings import TrainerSettings
from trainwright.engine.step import Move
from trainwright.engine.trainer import fit
from trainwright.errors import ConfigError
from trainwright.run.assemble.cuda_graph import with_graph
from trainwright.sweep.stacking import against

GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
ON_CUDA = Placement(torch.device("cuda", 0), "fp32", torch.contiguous_format, 1)

MLP = ("model=mlp", "model.widths=[32]")
GAN = ("model=mlp_gan", "model.latent_dim=8", "task.score=none")
RUNS = {
    "classifier": (*MLP, "trainer.clip_norm=0.5", "trainer.ema=0.9", "schedule=cosine"),
    "dropout and augmentation": (*MLP, "model.dropout=0.3", "data.augment={shift: 1, rotate: 10}"),
    "convolutions, bf16": ("model=cnn", "model.norm=batch", "trainer.precision=bf16"),
    "GAN with R1 and critic steps": (*GAN, "task.critic_steps=2", "task.r1=0.5",
                                     "task.r1_every=3", "trainer.ema=0.9"),
    "convolutional GAN": ("model=gan", "model.width=4", "task.score=none"),
    "accumulated, SGD": (*MLP, "optimizer=sgd", "trainer.accumulate=4"),
    "Muon, and SGD beside it": ("model=cnn", "model.channels=[4,8]", "optimizer=muon_sgd"),
}  # fmt: skip
COMMON = (
    "data=digits",
    "data.limit=256",
    "trainer.batch_size=32",
    "trainer.epochs=null",
    "trainer.steps=30",
    "trainer.evaluate_every=10",
)
GPU_ONLY = ("trainer.device=cuda", "trainer.deterministic=true")


def on_gpu(assembled, overrides, graph):
    typed = {o.partition("=")[0] for o in overrides}
    common = [o for o in COMMON if o.partition("=")[0] not in typed]
    return assembled(*overrides, *common, *GPU_ONLY, f"trainer.cuda_graph={graph}")


@GPU
@pytest.mark.parametrize("name", RUNS)
def test_captured_steps_give_the_bits_of_the_same_steps_uncaptured(
    assembled, same_bits, name, monkeypatch
):
    captured = on_gpu(assembled, RUNS[name], "on")
    fit(captured.state, captured.train, [], captured.settings)
    assert captured.state.unread is not None
    monkeypatch.setattr("trainwright.engine.fast.cuda_graph.WARM_UPS", 10**9)  # never captured
    uncaptured = on_gpu(assembled, RUNS[name], "on")
    fit(uncaptured.state, uncaptured.train, [], uncaptured.settings)
    same_bits(uncaptured.state, captured.state)


@GPU
@pytest.mark.parametrize("name", RUNS)
def test_captured_steps_are_the_plain_ones_but_for_rounding(assembled, name):
    """A learning rate on the device has the 24 bits of a float32, on the host 53.

    By SGD but for the first: Adam makes whole steps of gradients that are 0 but for rounding.
    """
    states = []
    how = () if name == "classifier" else ("optimizer=sgd", "optimizer.lr=0.01")
    overrides = [o for o in RUNS[name] if not o.startswith("optimizer")]
    for graph in ("on", "off"):
        run = on_gpu(assembled, (*overrides, *how, "trainer.steps=10"), graph)
        fit(run.state, run.train, [], run.settings)
        states.append(checkpoint.state_tensors(run.state))
    for key, value in states[0].items():
        torch.testing.assert_close(value, states[1][key], rtol=1e-3, atol=1e-4, msg=key)


@GPU
@pytest.mark.parametrize("name", ["classifier", "GAN with R1 and critic steps"])
def test_a_captured_run_that_is_stopped_goes_on_to_the_same_bits(
    assembled, same_bits, in_two_parts, name
):
    whole = on_gpu(assembled, RUNS[name], "on")
    fit(whole.state, whole.train, [], whole.settings)
    same_bits(whole.state, in_two_parts(lambda: on_gpu(assembled, RUNS[name], "on"), 17))


@GPU
def test_a_model_that_waits_for_the_gpu_is_not_captured_and_trains_all_the_same(assembled, caplog):
    caplog.set_level("INFO")
    run = on_gpu(assembled, MLP, "auto")
    run.state.task.model.layers.append(Waits().cuda())
    fit(run.state, run.train, [], run.settings)
    assert run.state.step == 30
    assert "no CUDA graph: a step waits for the GPU in" in caplog.text
    must = on_gpu(assembled, MLP, "on")
    must.state.task.model.layers.append(Waits().cuda())
    with pytest.raises(ConfigError, match="a step waits for the GPU in"):
        fit(must.state, must.train, [], must.settings)


class Waits(nn.Module):
    def forward(self, inputs):
        return inputs * max(1.0, 0 * float(inputs.sum()))


def optimizers(kind, dtype=torch.float32, **options):
    layer = nn.Linear(2, 2, dtype=dtype)
    return {"model": PlayerOptimizer(layer, [kind(layer.parameters(), **options)], l1=0.0)}


def test_auto_captures_on_cuda_alone_and_says_so():
    adam = optimizers(torch.optim.Adam, fused=True)
    on_cpu = Placement(torch.device("cpu"), "fp32", torch.contiguous_format, 1)
    assert not with_graph(on_cpu, TrainerSettings(), adam).static
    assert with_graph(ON_CUDA, TrainerSettings(), adam).static
    assert not with_graph(ON_CUDA, TrainerSettings(cuda_graph="off"), adam).static


@pytest.mark.parametrize(
    ("placement", "settings", "made", "reason"),
    [
        (ON_CUDA, {"on_nonfinite": "skip"}, optimizers(torch.optim.Adam, fused=True),
         "on_nonfinite=skip looks at every step"),
        (replace(ON_CUDA, precision="fp16"), {}, optimizers(torch.optim.Adam, fused=True),
         "precision=fp16 scales each loss"),
        (ON_CUDA, {}, optimizers(torch.optim.RMSprop), "RMSprop has no fused kernel"),
        (ON_CUDA, {}, optimizers(torch.optim.Adam, dtype=torch.float64, fused=True),
         "parameters that are not float32"),
        (ON_CUDA, {}, optimizers(torch.optim.Adam, foreach=True), "Adam has no fused kernel"),
    ],
)  # fmt: skip
def test_what_needs_each_steps_numbers_is_not_captured(
    placement, settings, made, reason, monkeypatch
):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "a GPU")
    auto = with_graph(placement, TrainerSettings(**settings), made)
    assert not auto.static
    assert auto.describe().startswith("cuda:0 (a GPU)")
    assert f"no CUDA graph ({auto.why_not_static})" in auto.describe()
    assert reason in auto.why_not_static
    with pytest.raises(ConfigError, match=r"cuda_graph=on: no graph can hold .*"):
        with_graph(placement, TrainerSettings(cuda_graph="on", **settings), made)


def test_a_stack_is_not_captured_and_a_run_that_must_be_captured_is_not_stacked(composed):
    shared = with_graph(ON_CUDA, TrainerSettings(), {}).shared()
    assert not shared.static
    assert "other runs" in shared.why_not_static
    assert against(composed("data=digits", "trainer.cuda_graph=on")) is not None
    assert against(composed("data=digits")) is None


class FakeGraph:
    """Stands in for a graph of torch's: a launch makes the step that was recorded."""

    recorded = None

    def __init__(self):
        self.launches = 0

    def register_generator_state(self, generator):
        self.generator = generator

    def replay(self):
        self.launches += 1


@pytest.fixture
def no_gpu(monkeypatch):
    """The calls to torch.cuda that a capture needs, doing nothing."""

    class Stream:
        def wait_stream(self, other):
            pass

    @contextmanager
    def nothing(*args, **kwargs):
        yield

    for name in ("device", "stream", "graph"):
        monkeypatch.setattr(torch.cuda, name, nothing)
    for name in ("Stream", "current_stream"):
        monkeypatch.setattr(torch.cuda, name, lambda: Stream())
    for name in ("set_stream", "set_sync_debug_mode"):
        monkeypatch.setattr(torch.cuda, name, lambda value: None)
    monkeypatch.setattr(torch.cuda, "graph_pool_handle", lambda: (0, 1))
    monkeypatch.setattr(torch.cuda, "CUDAGraph", FakeGraph)


def graphs_of(assembled, overrides, wanted="auto"):
    assembly = graph_run(assembled, overrides)
    assembly.state.placement = replace(assembly.state.placement, static=True)
    settings = replace(assembly.settings, cuda_graph=wanted)
    move = Move(assembly.state, assembly.train, settings)
    steps = OnDeviceSteps()
    while steps.make(move) is None:
        fit(assembly.state, assembly.train, [Once(assembly.state.step + 1)], settings)
        assembly.state.stop_reason = None
    return _Graphs(steps._static, move)


class Once(Hook):
    def __init__(self, step):
        self.step = step

    def due(self, step, total):
        return step == self.step

    def __call__(self, state, metrics):
        state.stop_reason = "one step"


def test_each_kind_of_step_is_warmed_up_captured_once_and_launched(assembled, no_gpu):
    graphs = graphs_of(assembled, (*GAN, "task.r1=0.5", "task.r1_every=4"))
    for step in range(4, 40):
        graphs.run(step)
    launches = {k: captured.graph.launches for k, captured in graphs._captured.items()}
    players = ("discriminator", "generator")
    assert launches == {(players, True): 9 - WARM_UPS, (players, False): 27 - WARM_UPS}
    assert all(c.graph.generator is graphs._static.generator for c in graphs._captured.values())


def test_a_step_that_waits_is_found_before_it_is_captured_and_named(assembled, no_gpu, caplog):
    caplog.set_level("INFO")
    graphs = graphs_of(assembled, MLP)
    compute = graphs._static.compute

    def waits(step):
        warnings.warn_explicit("called a synchronizing CUDA operation", UserWarning, "mine.py", 12)
        return compute(step)

    graphs._static.compute = waits
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for step in range(4, 12):
            graphs.run(step)
    assert graphs._captured == {}
    assert caplog.text.count("no CUDA graph: a step waits for the GPU in mine.py:12") == 1


@pytest.mark.parametrize(
    ("first", "reason"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate"), "there is too little"),
        (RuntimeError("operation not permitted\nmore"), "operation not permitted$"),
    ],
)
def test_a_capture_that_fails_is_said_and_the_run_goes_on_without(
    assembled, no_gpu, monkeypatch, caplog, first, reason
):
    """What fails first is told, and not what the end of the capture then says of itself."""
    caplog.set_level("INFO")
    streams = []

    @contextmanager
    def graph(*_, **__):
        try:
            raise first
        except RuntimeError:
            raise RuntimeError("the capture was invalidated")  # noqa: B904 - as torch does
        yield

    monkeypatch.setattr(torch.cuda, "graph", graph)
    monkeypatch.setattr(torch.cuda, "set_stream", streams.append)
    graphs = graphs_of(assembled, MLP)
    for step in range(4, 6 + WARM_UPS):
        graphs._static.feed(step)
        assert torch.isfinite(graphs.run(step)["loss"])
    assert len(streams) == 1
    assert len(caplog.messages) == 1
    assert re.search(f"no CUDA graph: {reason}", caplog.messages[0])

    must = graphs_of(assembled, MLP, "on")
    for step in range(4, 4 + WARM_UPS):
        must.run(step)
    with pytest.raises(ConfigError, match=r"cuda_graph=on, but the step cannot be captured"):
        must.run(4 + WARM_UPS)


@pytest.mark.parametrize("wanted", ["auto", "on"])
def test_a_first_step_that_fails_is_taken_back_and_made_plainly(
    assembled, same_bits, no_gpu, monkeypatch, caplog, wanted
):
    """Whatever it was that nobody has thought of; with batch normalisation, averages and a GAN."""
    caplog.set_level("INFO")
    overrides = (*RUNS["GAN with R1 and critic steps"], "trainer.steps=12")
    plain, run = (graph_run(assembled, overrides) for _ in range(2))
    fit(plain.state, plain.train, [], plain.settings)

    def broken(self, step):
        compute(self, step)
        raise TypeError("nobody has thought of this\n(...)")

    compute = StaticStep.compute
    monkeypatch.setattr(StaticStep, "compute", broken)
    run.state.placement = replace(run.state.placement, static=True)
    monkeypatch.setattr(OnDeviceSteps, "_begin", begun_as_on_cuda)
    settings = replace(run.settings, cuda_graph=wanted)
    if wanted == "on":
        with pytest.raises(ConfigError, match=r"captured: nobody has thought of this\n"):
            fit(run.state, run.train, [], settings)
        return
    fit(run.state, run.train, [], settings)
    assert caplog.messages == ["no CUDA graph: nobody has thought of this"]
    same_bits(plain.state, run.state)


def begun_as_on_cuda(self, move, begin=OnDeviceSteps._begin):
    begin(self, move)
    if self._static is not None:
        self._graphs = _Graphs(self._static, move)


def graph_run(assembled, overrides):
    typed = {o.partition("=")[0] for o in overrides}
    return assembled(*overrides, *(o for o in COMMON if o.partition("=")[0] not in typed))


class Tape(TorchDispatchMode):
    """A graph on a CPU: notes every operation with the tensors that it reads and writes.

    Launched, it computes with the same tensors and the same numbers into the same tensors, whatever
    Python would have done between. As a capture does nothing, `kept` are put back afterwards.
    """

    def __init__(self, kept):
        super().__init__()
        self._kept = [(tensor, tensor.detach().clone()) for tensor in kept]
        self._noted = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        found = func(*args, **kwargs)
        given = {id(t) for t in tree_leaves((args, kwargs))}
        places = {t.untyped_storage().data_ptr() for t in tensors_of((args, kwargs))}
        made = [t for t in tensors_of(found) if id(t) not in given]
        if made and made[0].untyped_storage().data_ptr() in places:
            return found  # a view, which stays one
        self._noted.append((func, args, kwargs, made, given))
        return found

    @torch.no_grad()
    def put_back(self):
        for tensor, value in self._kept:
            tensor.copy_(value)

    @torch.no_grad()
    def launch(self):
        for func, args, kwargs, made, given in self._noted:
            found = [t for t in tensors_of(func(*args, **kwargs)) if id(t) not in given]
            for mine, new in zip(made, found, strict=True):
                mine.copy_(new)


def tensors_of(tree):
    return [t for t in tree_leaves(tree) if isinstance(t, torch.Tensor) and t.numel()]


QUICK = ("classifier", "dropout and augmentation", "GAN with R1 and critic steps")


@pytest.mark.parametrize(
    "name", [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in RUNS]
)
def test_launches_of_what_was_recorded_give_the_bits_of_steps_made_one_by_one(
    assembled, no_gpu, monkeypatch, name
):
    """On a CPU, with a tape for a graph: no number of one step is repeated in the next."""
    found = []
    for is_captured in (False, True):
        monkeypatch.setattr("trainwright.engine.fast.cuda_graph.WARM_UPS", 2 if is_captured else 99)
        graphs = graphs_of(assembled, (*RUNS[name], "schedule=cosine"))
        static = graphs._static
        state = static._state
        modules = [state.task] if state.averaged is None else [state.task, state.averaged.task]
        kept = [t for module in modules for t in (*module.parameters(), *module.buffers())]
        kept += [m for optimizer in state.optimizers.values() for m in optimizer.memory()]
        kept += [static._found_inf, static._num_good]

        @contextmanager
        def graph(recorded, kept=kept, **_):
            generator, seed = torch.default_generator, torch.default_generator.initial_seed()
            own = recorded.generator.initial_seed()
            tape = Tape(kept)
            with tape:
                yield
            tape.put_back()
            recorded.generator.manual_seed(own)
            generator.manual_seed(seed)
            monkeypatch.setattr(recorded, "replay", tape.launch, raising=False)

        monkeypatch.setattr(torch.cuda, "graph", graph)
        seen = []
        for step in range(state.step + 1, 24):
            static.feed(step)
            seen.append({k: v.clone() for k, v in graphs.run(step).items()})
        assert bool(graphs._captured) is is_captured
        static.settle()
        found.append((checkpoint.state_tensors(state), seen))
    (expected, numbers), (tensors, numbers_too) = found
    assert [name for name in expected if not torch.equal(expected[name], tensors[name])] == []
    for one, other in zip(numbers, numbers_too, strict=True):
        assert one.keys() == other.keys()
        assert [key for key in one if not torch.equal(one[key], other[key])] == []


@pytest.mark.parametrize(
    ("does", "reason"),
    [
        (lambda found: random.random(), "draws random numbers on the host"),
        (lambda found: np.random.rand(), "draws random numbers on the host"),
        (
            lambda found: found.update(mine=torch.ones((), device="meta")),
            "logs numbers of the host",
        ),
    ],
)
def test_what_a_graph_would_repeat_is_found(assembled, no_gpu, caplog, does, reason):
    """Numbers that the host makes up; and metrics elsewhere than the rest (here the CPU)."""
    caplog.set_level("INFO")
    graphs = graphs_of(assembled, MLP)
    compute = graphs._static.compute

    def computed(step):
        found = compute(step)
        does(found)
        return found

    graphs._static.compute = computed
    for step in range(4, 4 + WARM_UPS):
        graphs.run(step)
    assert reason in caplog.text


def test_a_task_whose_numbers_fade_is_not_captured(assembled, no_gpu):
    graphs = graphs_of(assembled, (*GAN, "task.instance_noise=0.1"), "on")
    for step in range(4, 4 + WARM_UPS - 1):
        graphs.run(step)
    with pytest.raises(ConfigError, match="the task looks at the step"):
        graphs.run(4 + WARM_UPS - 1)
