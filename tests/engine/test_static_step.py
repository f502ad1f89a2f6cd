"""The static step against the plain one, bit for bit, and what a CUDA graph asks of it.

No test here needs a GPU: on torch's meta device there are no numbers that a step could read, and
every tensor that is not there is seen. What runs as a graph is in `test_cuda_graph.py`.
"""

from dataclasses import replace

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from trainwright.data.examples import Arrays
from trainwright.data.images.augment import Augment
from trainwright.data.images.mixing import Mixing
from trainwright.engine.checkpoint import checkpoint
from trainwright.engine.fast.cuda_graph import OnDeviceSteps
from trainwright.engine.fast.static_step import StaticStep
from trainwright.engine.hook import Hook
from trainwright.engine.step import Move, train_step
from trainwright.engine.trainer import fit
from trainwright.errors import ConfigError, NonFiniteError
from trainwright.hooks.log import metrics_row

pytestmark = pytest.mark.numeric
COMMON = (
    "data=digits",
    "data.limit=64",
    "trainer.batch_size=16",
    "trainer.epochs=null",
    "trainer.steps=12",
    "trainer.ema=null",
    "trainer.evaluate_every=0",
)
MLP = ("model=mlp", "model.widths=[12]")
GAN = ("model=mlp_gan", "model.generator_widths=[12]", "model.discriminator_widths=[12]",
       "model.latent_dim=4", "task.score=none")  # fmt: skip
RUNS = {
    "classifier": MLP,
    "regression": ("model=mlp", "model.widths=[12]", "data=diabetes"),
    "convolutions, batch normalisation, bf16": (
        "model=cnn", "model.norm=batch", "trainer.precision=bf16"),
    "dropout, smoothing, schedule with warm-up": (
        *MLP, "model.dropout=0.3", "task.label_smoothing=0.1", "schedule=cosine",
        "schedule.warmup=3"),
    "plateau": (*MLP, "schedule=plateau", "trainer.evaluate_every=2", "schedule.patience=0"),
    "clipped": (*MLP, "trainer.clip_norm=0.5"),
    "averaged": (*MLP, "model.norm=batch", "trainer.ema=0.9"),
    "accumulated": (*MLP, "trainer.accumulate=4"),
    "decay and L1": (*MLP, "optimizer=adamw", "optimizer.weight_decay=0.1", "optimizer.l1=1e-3"),
    "momentum": (*MLP, "optimizer=sgd"),
    "plain SGD": (*MLP, "optimizer=sgd", "optimizer.momentum=0", "optimizer.nesterov=false"),
    "augmented": (*MLP, "data.augment={shift: 1, rotate: 10, scale: 0.1, cutout: 2}"),
    "mixed and coloured": (
        *MLP, "data.augment={trivial: true, colour: 0.4, erase: 0.5, mixup: 0.2, cutmix: 1}"),
    "mirror images that alternate": (*MLP, "data.augment={flip: alternating, shift: 1}"),
    "whitened": ("model=airbench", "model.widths=[4]", "optimizer=sgd", "optimizer.lr=1e-4"),
    "Muon, and SGD beside it": (
        "model=cnn", "model.channels=[4,8]", "optimizer=muon_sgd", "optimizer.others.lr=0.01"),
    "Muon, decaying": (*MLP, "model.widths=[12,6]", "optimizer=muon"),
    "GAN with lazy R1": (*GAN, "task.r1=0.5", "task.r1_every=3", "trainer.ema=0.9"),
    "GAN with critic steps": (
        *GAN, "task.loss=wasserstein_gp", "task.relativistic=false", "task.r1=0",
        "task.r1_every=1", "task.critic_steps=3"),
    "GAN without classes, clipped, its view augmented": (
        *GAN, "model.conditional=false", "trainer.clip_norm=0.5",
        "task.diff_augment=[color,translation,cutout]"),
    "convolutional GAN": ("model=gan", "model.width=4", "task.score=none",
                          "model.spectral_norm=true", "trainer.ema=null"),
    "GAN whose noise fades": (*GAN, "task.instance_noise=0.1", "task.top_k=0.5"),
}  # fmt: skip


class Note(Hook):
    """A hook that keeps what a log would hold, of every other step."""

    def __init__(self):
        self.rows = []

    def due(self, step, total):
        return step % 2 == 0

    def __call__(self, state, metrics):
        self.rows.append(metrics_row(state))


def made(assembled, overrides, *, static, hooks=()):
    assembly = assembled(*overrides, *(o for o in COMMON if keyed(o) not in map(keyed, overrides)))
    state = assembly.state
    state.placement = replace(state.placement, static=static)
    return assembly, [Note(), *hooks]


def keyed(override):
    return override.partition("=")[0]


def few(*names):
    """All runs, of which these are quick, or show what the others do not."""
    return [name if name in names else pytest.param(name, marks=pytest.mark.slow) for name in RUNS]


SLOWER = (
    "convolutions, batch normalisation, bf16",
    "convolutional GAN",
    "plain SGD",
    "GAN whose noise fades",
)


@pytest.mark.parametrize("name", few(*(name for name in RUNS if name not in SLOWER)))
def test_static_steps_give_the_bits_of_plain_ones(assembled, name):
    """Weights, optimizer state, averages, metrics and learning rates, of twelve steps."""
    found = []
    for static in (False, True):
        assembly, (note, *_) = made(assembled, RUNS[name], static=static)
        fit(assembly.state, assembly.train, [note], assembly.settings)
        assert (assembly.state.unread is not None) is static
        progress = checkpoint.progress_metadata(assembly.state)
        found.append((checkpoint.state_tensors(assembly.state), progress, note.rows))
    (plain, progress, rows), (static, progress_too, rows_too) = found
    assert plain.keys() == static.keys()
    assert [name for name in plain if not torch.equal(plain[name], static[name])] == []
    assert progress == progress_too
    assert rows == rows_too


@pytest.mark.parametrize("kind", ["classifier", "GAN with lazy R1"])
def test_a_static_run_that_is_stopped_goes_on_to_the_same_bits(
    assembled, same_bits, in_two_parts, kind
):
    whole, _ = made(assembled, RUNS[kind], static=True)
    fit(whole.state, whole.train, [], whole.settings)
    same_bits(whole.state, in_two_parts(lambda: made(assembled, RUNS[kind], static=True)[0], 5))


@pytest.mark.parametrize("kind", ["classifier", "averaged", "GAN without classes, clipped, its"
                                  " view augmented"])  # fmt: skip
def test_a_step_that_goes_wrong_leaves_all_as_it_was_and_raises_what_a_plain_one_does(
    assembled, kind
):
    """At the next look, two steps later; what batch normalisation has seen is not taken back."""
    found = []
    for static in (False, True):
        assembly, hooks = made(assembled, RUNS[kind], static=static)
        batches = assembly.train
        stored = batches._split.columns["inputs"].float()
        spoilt = batches.indices(7)[3]
        batches._split = Arrays({**batches._split.columns, "inputs": stored})

        class Spoil(Note):
            def due(self, step, total, stored=stored, spoilt=spoilt):
                if step == 7:
                    stored[spoilt] = float("nan")
                return step == 10

        with pytest.raises(NonFiniteError) as error:
            fit(assembly.state, batches, [*hooks, Spoil()], assembly.settings)
        assert assembly.state.step == 7
        state = assembly.state
        moved = [p for player in state.task.players.values() for p in player.parameters()]
        moved += [m for optimizer in state.optimizers.values() for m in optimizer.memory()]
        if state.averaged is not None:
            moved += state.averaged._means
        found.append(([m.detach().clone() for m in moved], str(error.value)))
    (plain, message), (static, message_too) = found
    assert message == message_too
    assert "step 8" in message
    assert "the batch's inputs" in message
    assert all(torch.isfinite(m).all() for m in static)
    assert all(torch.equal(p, s) for p, s in zip(plain, static, strict=True))


def test_a_run_that_went_wrong_can_begin_again_from_a_checkpoint(assembled, same_bits):
    """From one of before the first step too, when optimizers have no state yet."""
    whole, _ = made(assembled, MLP, static=True)
    fit(whole.state, whole.train, [], whole.settings)
    run, _ = made(assembled, MLP, static=True)
    tensors = {k: v.clone() for k, v in checkpoint.state_tensors(run.state).items()}
    progress = checkpoint.progress_metadata(run.state)
    good = run.train._prepare["inputs"]

    class Spoil(Note):
        def due(self, step, total):
            if step == 7:
                run.train._prepare["inputs"] = lambda stored: good(stored) * float("nan")
            return step == 10

    with pytest.raises(NonFiniteError, match="step 8"):
        fit(run.state, run.train, [Spoil()], run.settings)
    run.train._prepare["inputs"] = good
    checkpoint.restore(run.state, tensors, progress)

    class Always(Note):
        def due(self, step, total):
            return True

    fit(run.state, run.train, [Always()], run.settings)
    same_bits(whole.state, run.state)


def test_a_run_that_ends_or_is_stopped_is_looked_at_even_if_no_hook_is_due(assembled):
    assembly, _ = made(assembled, MLP, static=True)
    good = assembly.train._prepare["inputs"]
    assembly.train._prepare["inputs"] = lambda stored: good(stored) * float("nan")
    with pytest.raises(NonFiniteError, match="step 1"):
        fit(assembly.state, assembly.train, [], assembly.settings)


@pytest.mark.parametrize("growth", ["1", "1e8"])  # of the learning rate, an epoch
def test_a_whole_run_leaves_the_same_folder(train, monkeypatch, tmp_path, growth):
    """Also one whose numbers overflow between two looks: no later step is logged or saved."""
    left = []
    for static in (False, True):
        folder = tmp_path / f"{static}"
        monkeypatch.setattr(
            "trainwright.run.assemble.assemble.with_graph",
            lambda placement, *_, static=static: replace(placement, static=static),
        )
        typed = [*MLP, *COMMON, "schedule=exponential", f"schedule.gamma={growth}"]
        typed += ["trainer.steps=40", "trainer.log_every=4", "trainer.save_every=4"]
        try:
            train(folder, *typed)
            message = ""
        except NonFiniteError as error:
            message = str(error).replace(str(folder), "")
        tensors, metadata = checkpoint.load(folder / "checkpoints" / "last.safetensors")
        left.append(
            (message, (folder / "metrics.jsonl").read_text(), metadata["progress"], tensors)
        )
    (*plain, expected), (*static, found) = left
    assert plain == static
    assert ("got NaN or infinity in step" in plain[0]) is (growth == "1e8")
    assert [name for name in expected if not torch.equal(expected[name], found[name])] == []


def test_a_hook_that_looks_only_where_another_does_waits_for_nothing(assembled):
    """As the one that prunes runs of a sweep: it is due after every step."""
    run, _ = made(assembled, MLP, static=True)

    class Follower(Note):
        always_looks = False

        def due(self, step, total):
            return True

        def __call__(self, state, metrics):
            pass

    looked = []

    class Leader(Note):
        def due(self, step, total):
            if run.state.unread is not None and step == 3:
                settle = run.state.unread.settle
                run.state.unread.settle = lambda: looked.append(run.state.step) or settle()
            return step == 7

    fit(run.state, run.train, [Leader(), Follower()], run.settings)
    assert looked == [7, 12]  # and at the end


class OnMeta(TorchDispatchMode):
    """Fails for every tensor that is not on the meta device, and for every number that is read.

    The fused optimizers have no kernels there: nothing is moved.
    """

    def __init__(self):
        super().__init__()
        self.num_moves = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.name()
        where = [t.device.type for t in tree_leaves((args, kwargs)) if isinstance(t, torch.Tensor)]
        assert set(where) <= {"meta"}, f"{name} takes a tensor of the host"
        for read in ("_local_scalar_dense", "nonzero", "is_nonzero", "_unique", "masked_select"):
            assert read not in name, f"{name} reads numbers"
        if name.startswith("aten::_fused_"):
            self.num_moves += 1
            return None
        found = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(found):
            if isinstance(tensor, torch.Tensor):
                assert tensor.device.type == "meta", f"{name} makes a tensor on the host"
        return found


def on_meta(assembled, monkeypatch, overrides):
    """A run that has begun, all of whose tensors are then moved to the meta device."""
    meta = torch.device("meta")
    assembly, _ = made(assembled, overrides, static=True)
    state, batches = assembly.state, assembly.train
    for _ in range(max(1, getattr(state.task, "critic_steps", 1))):
        train_step(state, batches.at(state.step), assembly.settings)
        state.step += 1
    modules = [state.task] if state.averaged is None else [state.task, state.averaged.task]
    tensors = [t for module in modules for t in (*module.parameters(), *module.buffers())]
    tensors += [m for optimizer in state.optimizers.values() for m in optimizer.memory()]
    for tensor in {id(tensor): tensor for tensor in tensors}.values():
        moved = tensor.detach().to(meta).requires_grad_(tensor.requires_grad)
        torch.utils.swap_tensors(tensor, moved)
    batches._split = batches._split.on(meta)
    columns = state.task.columns.items()
    batches._prepare = {name: column.preparation(meta) for name, column in columns}
    batches._orders.clear()
    if batches._augment is not None:
        batches._augment.fill = batches._augment.fill.to(meta)
        batches._augment.white = batches._augment.white.to(meta)
    if batches._mixing is not None:
        ways = batches._mixing._ways
        batches._mixing._ways = [(alpha, shares.to(meta)) for alpha, shares in ways]
    batches._device = meta
    # There are no generators on the meta device; draws from one are made there all the same.
    monkeypatch.setattr(batches, "reseeded", lambda generator, step: torch.Generator())
    monkeypatch.setattr(Augment, "__call__", on_device_of_images(Augment.__call__))
    monkeypatch.setattr(Mixing, "__call__", on_device_of_images(Mixing.__call__))
    state.placement = replace(state.placement, device=meta, precision="fp32")  # no autocast there
    return state, StaticStep(Move(state, batches, assembly.settings))


def on_device_of_images(call):
    class Draws:
        device = "meta"

    def wrapped(self, images, generator, **named):
        rand = torch.rand
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(
                torch, "rand", lambda *size, generator, device: rand(*size, device=device)
            )
            return call(self, images, Draws(), **named)

    return wrapped


@pytest.mark.parametrize(
    "name", few("clipped", "augmented", "mixed and coloured", "GAN with lazy R1")
)
def test_a_static_step_reads_no_number_and_touches_nothing_of_the_host(
    assembled, monkeypatch, name
):
    """Neither goes into a graph: a copy from the host waits, what is read becomes a constant."""
    state, static = on_meta(assembled, monkeypatch, RUNS[name])
    num_moves = 0
    for step in range(state.step, state.step + 4):
        with OnMeta() as mode:
            static.compute(step)
        num_moves += mode.num_moves
    assert num_moves >= 4


def test_the_meta_device_shows_what_would_not_go_into_a_graph():
    weight = torch.ones(3, device="meta")
    for wrong in (
        lambda: float(weight.sum()),
        lambda: weight + torch.ones(3),
        lambda: weight * torch.tensor(2.0),
        lambda: torch.ones(3).to("meta"),
        lambda: weight[weight > 0],
        lambda: weight[torch.tensor([0, 1])],
    ):
        with pytest.raises((AssertionError, NotImplementedError)), OnMeta():
            wrong()


@pytest.mark.parametrize("name", few("averaged", "augmented", "convolutional GAN"))
def test_what_a_static_step_reads_and_writes_stays_where_it_is(assembled, name):
    """A graph holds addresses: of weights, statistics, optimizers, averages and what is fed."""
    assembly, _ = made(assembled, RUNS[name], static=True)
    state = assembly.state
    steps = OnDeviceSteps()
    move = Move(state, assembly.train, assembly.settings)
    places = []
    for step in range(10):
        state.step = step
        if steps.make(move) is None:
            train_step(state, assembly.train.at(step), assembly.settings)
            continue
        static = steps._static
        held = [*static._material.values(), static._found_inf, static._num_good, static._average]
        held += [rate for mover in static._movers.values() for rate in mover._rates]
        modules = [state.task] if state.averaged is None else [state.task, state.averaged.task]
        held += [t for module in modules for t in (*module.parameters(), *module.buffers())]
        held += [m for optimizer in state.optimizers.values() for m in optimizer.memory()]
        places.append([tensor.data_ptr() for tensor in held])
    assert len(places) > 5
    assert all(place == places[0] for place in places)


def test_a_task_that_looks_at_the_step_is_noticed(assembled):
    for name, looks in (("classifier", False), ("GAN whose noise fades", True)):
        assembly, _ = made(assembled, RUNS[name], static=True)
        fit(assembly.state, assembly.train, [], assembly.settings)
        static = assembly.state.unread
        assert static.task_looks is looks
        assert assembly.state.task.pattern(3) is None


def test_steps_of_a_gan_with_lazy_r1_are_of_two_patterns(assembled):
    assembly, _ = made(assembled, RUNS["GAN with lazy R1"], static=True)
    assert [assembly.state.task.pattern(s) for s in range(4)] == [True, False, False, True]


def test_a_graph_that_must_be_needs_a_cuda_device(assembled):
    with pytest.raises(ConfigError, match="needs a CUDA device, and this run computes on cpu"):
        assembled(*MLP, *COMMON, "trainer.cuda_graph=on")
