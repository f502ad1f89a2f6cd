"""NaN and infinity, injected into real runs: found in their step, never saved, skipped, undone."""

import json
import math
import re
import signal
import sys
import types
from dataclasses import dataclass

import pytest
import torch
from torch import nn

from trainwright.engine import trainer
from trainwright.engine.checkpoint import checkpoint
from trainwright.engine.step import _Eager
from trainwright.errors import ConfigError, NonFiniteError
from trainwright.tasks.task import Task

COMMON = (
    "trainer.steps=12", "trainer.batch_size=16", "trainer.save_every=5", "trainer.evaluate_every=5",
    "trainer.sample_every=0", "trainer.log_every=1", "trainer.precision=fp32", "data.limit=100",
)  # fmt: skip
RUNS = {
    "mlp": ("model=mlp", "model.widths=[16]", *COMMON),
    "cnn": ("model=cnn", "model.channels=[4]", "model.norm=batch", "model.dense=[8]", *COMMON),
    "gan": (
        *("model=gan", "model.width=4", "model.latent_dim=4", "trainer.ema=0.9", *COMMON),
        "task.score=none",  # no part of this looks at it
    ),
}


@dataclass
class Fault:
    """From its `turn` on (the first is 1), for so many `times`, a player's turn goes wrong."""

    place: str  # batch, loss, gradient, weight or statistics
    turn: int
    value: float = math.nan
    player: str | None = None  # None: whoever comes first
    times: int = 1

    def __enter__(self):
        self._seen = 0
        before = nn.modules.module.register_module_forward_pre_hook(self._before)
        after = nn.modules.module.register_module_forward_hook(self._after)
        self._handles = (before, after)
        return self

    def __exit__(self, *error):
        for handle in self._handles:
            handle.remove()

    def _is_mine(self, module, inputs):
        if not (isinstance(module, Task) and module.training):
            return False
        return inputs[0] == (self.player or next(iter(module.players)))

    @property
    def _is_now(self):
        return self.turn <= self._seen < self.turn + self.times

    def _before(self, module, inputs):
        if not self._is_mine(module, inputs):
            return
        self._seen += 1
        player, batch, _ = inputs
        if self._is_now and self.place == "weight":
            with torch.no_grad():
                next(module.players[player].parameters()).view(-1)[0] = self.value
        if self._is_now and self.place == "statistics":
            buffers = module.players[player].named_buffers()
            next(buffer for name, buffer in buffers if name.endswith("mean"))[0] = self.value
        if self._is_now and self.place == "batch":
            batch["inputs"][3].view(-1)[0] = self.value  # a batch is made anew for each step

    def _after(self, module, inputs, output):
        if not (self._is_mine(module, inputs) and self._is_now):
            return None
        loss, metrics = output
        network = module.players[inputs[0]]
        if self.place == "loss":
            loss = loss * self.value
            return loss, {**metrics, "loss": loss.detach()}
        if self.place == "gradient":  # the slope of a root at 0 is infinite
            return loss + (next(network.parameters()) * 0).sqrt().sum(), metrics
        return None


def stopped_after(train, folder, run, step):
    """The checkpoint of a run that a signal stopped after so many steps: what should be there."""

    def interrupt(module, inputs):
        nonlocal step
        if isinstance(module, Task) and inputs[0] == next(iter(module.players)):
            step -= 1
            if step == 0:
                signal.raise_signal(signal.SIGTERM)

    handle = nn.modules.module.register_module_forward_pre_hook(interrupt)
    try:
        train(folder, *RUNS[run])
    finally:
        handle.remove()
    return checkpoint.load(folder / "checkpoints" / "last.safetensors")[0]


@pytest.fixture(scope="module")
def fifth_step(train, tmp_path_factory):
    """For each kind of run, what an undisturbed one holds after five steps."""
    known = {}

    def of(run):
        if run not in known:
            known[run] = stopped_after(train, tmp_path_factory.mktemp("five") / "run", run, 5)
        return known[run]

    return of


def same(first, second):
    assert first.keys() == second.keys()
    return [name for name in first if not torch.equal(first[name], second[name])] == []


def assert_all_finite(folder):
    for path in (folder / "checkpoints").iterdir():
        tensors, _ = checkpoint.load(path)
        assert all(torch.isfinite(t).all() for t in tensors.values() if t.is_floating_point())


NAMED = {"batch": "the batch's inputs", "loss": "the loss is", "gradient": "the gradient of",
         "weight": "(1 of "}  # fmt: skip

CASES = [
    (run, Fault(place, turn, value, player))
    for run, players in (("mlp", ["model"]), ("cnn", ["model"]), ("gan", None))
    for place, value in (
        ("batch", math.nan), ("batch", math.inf), ("loss", math.nan), ("loss", -math.inf),
        ("gradient", math.nan), ("weight", math.nan), ("weight", math.inf),
    )
    for turn in (1, 8)
    for player in (players or ["discriminator", "generator"])
    # A GAN's generator never sees the batch itself, and its fakes are made in the other's turn.
    if not (place in ("batch", "weight") and player == "generator")
]  # fmt: skip
SAMPLE = CASES[::7]


def ids(value):
    return str(value) if isinstance(value, str) else f"{value.player}-{value.place}-{value.turn}"


@pytest.mark.parametrize(
    ("run", "fault"),
    [pytest.param(*c, marks=() if c in SAMPLE else pytest.mark.slow) for c in CASES],
    ids=ids,
)
def test_a_run_stops_in_the_step_whose_numbers_went_wrong_and_saves_none_of_them(
    train, fifth_step, tmp_path, run, fault
):
    folder = tmp_path / "run"
    with fault, pytest.raises(NonFiniteError) as caught:
        train(folder, *RUNS[run])
    text = str(caught.value)
    assert caught.value.exit_code == 5
    if fault.place == "weight" and "to be saved" in text:
        pass  # a weight of -inf behind a relu is a zero: nothing but a look at it can tell
    else:
        assert f"player {fault.player!r} got NaN or infinity in step {fault.turn}\n" in text
    assert NAMED[fault.place] in text
    assert len(text.splitlines()) <= 5
    assert_all_finite(folder)
    if fault.turn > 5:
        assert f"{folder / 'checkpoints' / 'last.safetensors'} (step 5)" in text
        tensors, _ = checkpoint.load(folder / "checkpoints" / "last.safetensors")
        assert same(tensors, fifth_step(run))
    else:
        assert "last good checkpoint: none yet" in text
    assert json.loads((folder / "summary.json").read_text())["status"] == "failed"


OPTIMIZERS = ("sgd", "adam", "adamw", "rmsprop", "adagrad", "muon")


@pytest.mark.parametrize("lr", ["1e30", "3e38"])
@pytest.mark.parametrize(
    "optimizer",
    [pytest.param(o, marks=() if o == "adam" else pytest.mark.slow) for o in OPTIMIZERS],
)
def test_a_learning_rate_beyond_reason_ends_without_a_number_that_is_not_finite_on_disk(
    train, tmp_path, optimizer, lr
):
    """With 3e38, all but the largest number of 32 bits, weights overflow without a gradient."""
    folder = tmp_path / "run"
    with pytest.raises(NonFiniteError) as caught:
        train(
            folder, *RUNS["mlp"], f"optimizer={optimizer}", f"optimizer.lr={lr}",
            "trainer.save_every=1", "trainer.evaluate_every=0", "schedule=constant",
        )  # fmt: skip
    assert "try a lower optimizer.lr" in str(caught.value)
    assert_all_finite(folder)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_statistics_that_go_wrong_without_a_gradient_are_found_before_they_are_saved(
    train, fifth_step, tmp_path, value
):
    """Training never reads running statistics: only an evaluation or a save can notice."""
    folder = tmp_path / "run"
    with Fault("statistics", 7, value), pytest.raises(NonFiniteError, match="running_mean") as e:
        train(folder, *RUNS["cnn"])
    assert "step 10" in str(e.value) or "what was to be saved" in str(e.value)
    tensors, _ = checkpoint.load(folder / "checkpoints" / "last.safetensors")
    assert same(tensors, fifth_step("cnn"))


class Masked(nn.Module):
    """A network with a constant that no checkpoint could hold."""

    def __init__(self, *, num_outputs: int, **unused):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(64, num_outputs))
        self.register_buffer("mask", torch.full((4,), -math.inf))


def test_a_network_that_no_checkpoint_could_hold_is_refused_before_a_folder_is_made(
    train, tmp_path, monkeypatch
):
    module = types.ModuleType("masked")
    module.Masked = Masked
    monkeypatch.setitem(sys.modules, "masked", module)
    folder = tmp_path / "run"
    with pytest.raises(ConfigError, match=r"(?s)mask \(4 of 4 .* -inf\).*persistent=False"):
        train(folder, *COMMON, "model._target_=masked.Masked")
    assert not folder.exists()


class Unkept(nn.Module):
    """A network with something beside its weights."""

    def __init__(self, *, num_outputs: int, **unused):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(64, num_outputs))
        for name, value in self.others():
            self.register_buffer(name, value)


OTHERS = {
    "phase is of type torch.complex64": [("phase", torch.zeros(4, dtype=torch.complex64))],
    "eighth is of type torch.float8_e4m3fn": [("eighth", torch.zeros(4).to(torch.float8_e4m3fn))],
    "sparse is not a dense tensor": [("sparse", torch.zeros(4).to_sparse())],
    "is a name of 206 letters": [("n" * 200, torch.zeros(4))],
    "there are 26,002 tensors": [(f"many{n}", torch.zeros(1)) for n in range(26_000)],
}


@pytest.mark.parametrize("problem", OTHERS)
def test_a_network_that_could_be_saved_but_not_read_is_refused_too(
    train, tmp_path, monkeypatch, problem
):
    module = types.ModuleType("unkept")
    module.Unkept = type("Unkept", (Unkept,), {"others": lambda self: OTHERS[problem]})
    monkeypatch.setitem(sys.modules, "unkept", module)
    with pytest.raises(ConfigError, match="no checkpoint could hold it") as caught:
        train(tmp_path / "run", *COMMON, "model._target_=unkept.Unkept")
    assert problem in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_the_check_fails_where_the_step_is_not_guarded(train, tmp_path, monkeypatch):
    """The negative control: without the guard the run goes on, and only the save stops it."""
    norm = (1.0, torch.ones(()))
    monkeypatch.setattr(_Eager, "decide", lambda *numbers: norm)
    with Fault("loss", 8), pytest.raises(NonFiniteError, match="in what was to be saved"):
        train(tmp_path / "run", *RUNS["mlp"], "trainer.evaluate_every=0")
    monkeypatch.setattr(checkpoint, "refuse_nonfinite", lambda *tensors: None)
    with Fault("loss", 8):
        train(tmp_path / "other", *RUNS["mlp"], "trainer.evaluate_every=0")
    with pytest.raises(AssertionError):
        assert_all_finite(tmp_path / "other")


@pytest.mark.parametrize("place", ["batch", "loss", "gradient"])
@pytest.mark.parametrize("player", ["discriminator", "generator"])
def test_a_batch_that_is_skipped_changes_nothing_but_the_step(
    assembled, player, place, monkeypatch
):
    if (place, player) == ("batch", "generator"):
        pytest.skip("a generator never sees the batch")
    assembly = assembled(*RUNS["gan"], "trainer.on_nonfinite=skip")
    state, seen = assembly.state, []

    class Record:
        def due(self, step, total):
            return True

        def __call__(self, state, metrics):
            tensors = checkpoint.state_tensors(state)
            seen.append({name: tensor.clone() for name, tensor in tensors.items()})

    with Fault(place, 6, player=player, times=2):
        trainer.fit(state, assembly.train, [Record()], assembly.settings)
    assert (state.step, state.recovery.num_skipped, state.recovery.skipped_in_a_row) == (12, 2, 0)
    assert same(seen[4], seen[5])
    assert same(seen[4], seen[6])
    assert not same(seen[6], seen[7])

    # The run that never had those two batches: steps 6 and 7 are not made at all.
    reference = assembled(*RUNS["gan"]).state
    for step in (*range(5), *range(7, 12)):
        reference.step = step
        trainer.train_step(reference, assembly.train.at(step), assembly.settings)
    assert same(checkpoint.state_tensors(reference), seen[-1])


def test_a_run_that_skips_says_so_counts_and_gives_up_after_so_many_in_a_row(
    train, tmp_path, caplog
):
    skips = ("trainer.on_nonfinite=skip", "trainer.max_skips=3")
    with Fault("batch", 4, times=3):
        folder = train(tmp_path / "run", *RUNS["mlp"], *skips).folder
    log = (folder / "train.log").read_text()
    assert [f"step {n} skipped, {n - 3} so far: the batch's inputs" in log for n in (4, 5, 6)]
    assert json.loads((folder / "summary.json").read_text())["skipped_steps"] == 3
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == list(range(1, 13))
    assert ["train/loss" in row for row in rows[2:7]] == [True, False, False, False, True]
    with Fault("batch", 4, times=4), pytest.raises(NonFiniteError, match="3 batches in a row"):
        train(tmp_path / "other", *RUNS["mlp"], *skips)


def test_skips_in_a_row_are_counted_across_a_resume(train, resume, tmp_path):
    skips = ("trainer.on_nonfinite=skip", "trainer.max_skips=3")

    def interrupt(module, inputs):
        if isinstance(module, Task) and fault._seen == 5:
            signal.raise_signal(signal.SIGTERM)

    with Fault("batch", 4, times=99) as fault:
        handle = nn.modules.module.register_module_forward_pre_hook(interrupt)
        folder = train(tmp_path / "run", *RUNS["mlp"], *skips).folder
        handle.remove()
    with Fault("batch", 1, times=99), pytest.raises(NonFiniteError, match=r"in step 7\n"):
        resume(folder)


# The rate rises a thousandfold each step (an epoch has 5), and nothing can be learned from the
# third on: numbers are finite for some steps more, and some of them are saved.
DIVERGING = (
    *RUNS["mlp"], "optimizer=sgd", "optimizer.lr=1e-5", "schedule=exponential",
    "schedule.gamma=1e15", "trainer.on_nonfinite=rollback", "trainer.rollback.factor=1e-40",
    "trainer.save_every=2", "trainer.evaluate_every=1", "trainer.early_stopping.patience=50",
)  # fmt: skip


def rows_of(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_a_run_that_diverges_goes_back_and_ends_with_a_lower_rate(train, tmp_path):
    folder = train(tmp_path / "run", *DIVERGING).folder
    summary = json.loads((folder / "summary.json").read_text())
    assert (summary["status"], summary["rollbacks"]) == ("finished", 2)
    log = (folder / "train.log").read_text()
    # The first checkpoint that it goes back to is finite, but lost: the second one is older.
    found = re.findall(r"rollback (\d) of 3: from step (\d+) back to step (\d+)", log)
    (_, failed, first), (_, again, second) = found
    assert int(failed) > int(first) > int(second)
    assert int(again) > int(first)
    rows = rows_of(folder)
    assert [row["step"] for row in rows] == list(range(1, 13))
    assert rows[-1]["lr"] == pytest.approx(1e-5 * 1e3**11 * 1e-80, rel=1e-6)
    assert all(row["train/loss"] is not None for row in rows)
    assert_all_finite(folder)


def test_what_follows_a_rollback_is_what_the_checkpoint_gives_at_that_rate(train, tmp_path):
    """By hand: the same start, with the lower rate from the beginning. Step 0 was the way back."""
    once = [o for o in DIVERGING if "early_stopping" not in o]
    once += ["trainer.save_every=0", "trainer.evaluate_every=0"]
    folder = train(tmp_path / "run", *once).folder
    assert json.loads((folder / "summary.json").read_text())["rollbacks"] == 1
    lower = [o for o in once if not o.startswith("optimizer.lr")]
    slow = train(tmp_path / "slow", *lower, f"optimizer.lr={1e-5 * 1e-40!r}").folder
    for name in ("last", "best"):
        mine, theirs = (
            checkpoint.load(f / "checkpoints" / f"{name}.safetensors")[0] for f in (folder, slow)
        )
        for tensor in mine:
            torch.testing.assert_close(mine[tensor], theirs[tensor])


@pytest.mark.slow
@pytest.mark.parametrize("stop", [1, 3, 5])
def test_a_run_that_is_stopped_after_a_rollback_goes_on_to_the_same_bits(
    train, resume, tmp_path, stop
):
    whole = train(tmp_path / "whole", *DIVERGING).folder
    turns = 0

    def interrupt(module, inputs):
        nonlocal turns
        if isinstance(module, Task) and module.training and (folder / "train.log").exists():
            turns += "rollback 1" in (folder / "train.log").read_text()
            if turns == stop:
                signal.raise_signal(signal.SIGTERM)

    folder = tmp_path / "run"
    handle = nn.modules.module.register_module_forward_pre_hook(interrupt)
    outcome = train(folder, *DIVERGING)
    handle.remove()
    assert outcome.signal == signal.SIGTERM
    resume(folder)
    assert rows_of(folder) == rows_of(whole)
    for name in ("last", "best"):
        (mine, my), (theirs, their) = (
            checkpoint.load(f / "checkpoints" / f"{name}.safetensors") for f in (folder, whole)
        )
        assert same(mine, theirs)
        assert my["progress"] == their["progress"]


def test_a_fault_that_stays_ends_the_run_after_so_many_rollbacks(train, tmp_path):
    settings = ("trainer.on_nonfinite=rollback", "trainer.rollback.limit=2")
    with Fault("batch", 8, times=99), pytest.raises(NonFiniteError, match="after 2 rollbacks") as e:
        train(tmp_path / "run", *RUNS["mlp"], *settings)
    assert "(step 0)" in str(e.value)  # the second way back was to the checkpoint before
    assert_all_finite(tmp_path / "run")


def test_an_evaluation_that_is_no_number_ranks_no_checkpoint_and_is_null_on_disk(
    train, tmp_path, monkeypatch
):
    """Finite weights, and a validation split whose own numbers are not."""
    from trainwright.data.sources import tabular

    original = tabular.split_arrays

    def with_a_nan(*args, **kwargs):
        dataset = original(*args, **kwargs)
        dataset.validation.columns["targets"][0] = math.nan
        return dataset

    monkeypatch.setattr(tabular, "split_arrays", with_a_nan)
    folder = train(
        tmp_path / "run", "data=diabetes", "model.widths=[8]", "trainer.steps=6",
        "trainer.evaluate_every=2", "trainer.save_every=2", "trainer.batch_size=16",
    ).folder  # fmt: skip
    assert "it ranks no checkpoint" in (folder / "train.log").read_text()
    summary = json.loads((folder / "summary.json").read_text(), parse_constant=pytest.fail)
    assert summary["best"] is None
    assert set(summary["last"]["metrics"].values()) == {None}
    assert_all_finite(folder)
