"""Whole runs, in process: resuming is exact, best is best, the test split is left for last."""

import json
import signal

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, f1_score, log_loss
from torch import nn

from trainwright.engine.checkpoint import checkpoint
from trainwright.errors import ConfigError, NonFiniteError
from trainwright.tasks.task import Task

RUNS = {
    "mlp with dropout and augmentation": (
        "model=mlp", "model.widths=[32]", "model.dropout=0.3", "data.augment.shift=1",
        "data.augment.rotate=10", "trainer.steps=60", "trainer.evaluate_every=15",
        "trainer.save_every=20", "trainer.log_every=7", "schedule=cosine", "schedule.warmup=10%",
        "optimizer=adamw",
    ),
    "gan with averaged weights": (
        "model=gan", "model.width=4", "model.latent_dim=8", "trainer.ema=0.9", "trainer.steps=24",
        "trainer.batch_size=16", "trainer.evaluate_every=8", "trainer.save_every=6",
        "trainer.sample_every=5", "trainer.log_every=3", "trainer.clip_norm=1.0",
    ),
    "flow": (
        "model=flow", "model.width=8", "trainer.ema=0.9", "trainer.steps=24", "task.steps=2",
        "trainer.batch_size=16", "trainer.evaluate_every=8", "trainer.save_every=6",
        "trainer.sample_every=5", "trainer.log_every=3", "task.score=none",
    ),
    "vae": (
        "model=vae", "model.width=8", "model.latent_dim=4", "trainer.ema=0.9", "trainer.steps=24",
        "trainer.batch_size=16", "trainer.evaluate_every=8", "trainer.save_every=6",
        "trainer.sample_every=8", "trainer.log_every=3", "task.score=none",
    ),
    "cnn with plateau and early stopping": (
        "model=cnn", "model.channels=[4,8]", "model.norm=batch", "model.dense=[16]",
        "schedule=plateau", "schedule.patience=0", "schedule.gamma=0.5", "optimizer=muon",
        "optimizer.others.lr=0.1",
        "trainer.steps=60", "trainer.batch_size=16", "trainer.evaluate_every=4",
        "trainer.save_every=10", "trainer.log_every=5", "trainer.early_stopping.patience=3",
        "trainer.early_stopping.min_delta=0.1", "trainer.memory_format=channels_last",
        "trainer.precision=bf16",
    ),
}  # fmt: skip


class InterruptedInStep:
    """Sends SIGTERM to this process in the middle of its n-th training step, as `kill` may."""

    def __init__(self, number):
        self.turns_left = number

    def __enter__(self):
        self.handle = nn.modules.module.register_module_forward_pre_hook(self.before_forward)

    def before_forward(self, module, inputs):
        if signal.getsignal(signal.SIGTERM) == signal.SIG_DFL:
            return  # the feature network of a GAN's score, which may be trained before the run
        if isinstance(module, Task) and inputs[0] == next(iter(module.players)):
            self.turns_left -= 1
            if self.turns_left == 0:
                signal.raise_signal(signal.SIGTERM)

    def __exit__(self, *error):
        self.handle.remove()


def files(folder, name):
    return {path.name: path.read_bytes() for path in sorted((folder / name).iterdir())}


def progress_of(folder, name):
    tensors, metadata = checkpoint.load(folder / "checkpoints" / f"{name}.safetensors")
    return tensors, metadata["progress"], metadata["hooks"]


def summary_of(folder):
    return json.loads((folder / "summary.json").read_text())


def rows_of(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def assert_same_run(folder, reference):
    assert (folder / "metrics.jsonl").read_text() == (reference / "metrics.jsonl").read_text()
    for name in ("last", "best"):
        tensors, progress, hooks = progress_of(folder, name)
        expected, expected_progress, expected_hooks = progress_of(reference, name)
        assert (progress, hooks) == (expected_progress, expected_hooks)
        assert tensors.keys() == expected.keys()
        assert [n for n in tensors if not torch.equal(tensors[n], expected[n])] == []
    for name in ("samples", "plots"):
        assert files(folder, name) == files(reference, name)
    mine, theirs = summary_of(folder), summary_of(reference)
    for key in ("status", "step", "best", "last", "test", "stopped_because"):
        assert mine[key] == theirs[key]


@pytest.fixture(scope="module")
def whole(train, tmp_path_factory):
    """The folder of an uninterrupted run of each kind, made when it is first asked for."""
    folders = {}

    def of(kind):
        if kind not in folders:
            folders[kind] = train(tmp_path_factory.mktemp("whole") / "run", *RUNS[kind]).folder
        return folders[kind]

    return of


@pytest.mark.parametrize("stop", [11, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "kind",
    [k if "mlp" in k else pytest.param(k, marks=pytest.mark.slow) for k in RUNS],
)
def test_a_run_that_was_stopped_and_went_on_is_the_uninterrupted_one_to_the_bit(
    train, resume, whole, tmp_path, kind, stop
):
    with InterruptedInStep(stop):
        outcome = train(tmp_path / "run", *RUNS[kind])
    folder = outcome.folder
    assert outcome.signal == signal.SIGTERM
    assert summary_of(folder)["status"] == "stopped"
    assert progress_of(folder, "last")[1]["step"] == stop
    assert resume(folder).signal is None
    assert_same_run(folder, whole(kind))


@pytest.mark.slow
def test_what_a_run_counts_before_a_stop_counts_after_it(train, resume, whole, tmp_path):
    """Stopped just before the evaluation that ends it: patience is all but used up."""
    kind = "cnn with plateau and early stopping"
    end = summary_of(whole(kind))["step"]
    with InterruptedInStep(end - 2):
        folder = train(tmp_path / "run", *RUNS[kind]).folder
    _, progress, hooks = progress_of(folder, "last")
    assert hooks["EarlyStop"]["num_bad"] == 2
    assert progress["schedule"]["factor"] < 1
    resume(folder)
    assert_same_run(folder, whole(kind))


@pytest.mark.slow
def test_a_run_that_is_stopped_twice_is_still_the_uninterrupted_one(train, resume, whole, tmp_path):
    kind = "gan with averaged weights"
    with InterruptedInStep(5):
        folder = train(tmp_path / "run", *RUNS[kind]).folder
    with InterruptedInStep(9):
        assert resume(folder).signal == signal.SIGTERM
    assert progress_of(folder, "last")[1]["step"] == 14
    resume(folder)
    assert_same_run(folder, whole(kind))


def test_rows_and_a_torn_line_beyond_the_last_checkpoint_are_made_anew(
    train, resume, whole, tmp_path
):
    """After a kill -9 the log is ahead of the checkpoint, and may end in the middle of a line."""
    kind = "mlp with dropout and augmentation"
    with InterruptedInStep(31):
        folder = train(tmp_path / "run", *RUNS[kind]).folder
    log = folder / "metrics.jsonl"
    log.write_text(log.read_text() + '{"step": 35, "train/loss": 9.0}\n{"step": 42, "train/lo')
    resume(folder)
    assert_same_run(folder, whole(kind))
    steps = [row["step"] for row in rows_of(folder)]
    assert steps == sorted({*range(7, 61, 7), *range(15, 61, 15)})


@pytest.mark.slow
def test_a_finished_run_made_longer_is_the_longer_run(train, resume, tmp_path):
    overrides = (
        "model=mlp", "model.widths=[16]", "model.dropout=0.2", "trainer.evaluate_every=10",
        "trainer.save_every=10", "trainer.log_every=5", "optimizer=sgd", "schedule=constant",
        "trainer.plots=true",
    )  # fmt: skip
    whole = train(tmp_path / "run", *overrides, "trainer.steps=40").folder
    whole = whole.rename(tmp_path / "whole")
    folder = train(tmp_path / "run", *overrides, "trainer.steps=20").folder
    resume(folder, "trainer.steps=40")
    assert_same_run(folder, whole)


@pytest.mark.parametrize("kind", RUNS)
def test_the_best_checkpoint_is_that_of_the_best_evaluation(whole, kind):
    folder = whole(kind)
    metric, better = ("accuracy", max)
    if "gan" in kind or kind in ("flow", "vae"):
        metric, better = ("frechet" if "gan" in kind else "loss", min)
    key = f"validation/{metric}"
    evaluated = [row for row in rows_of(folder) if key in row]
    assert len({row[key] for row in evaluated}) >= 3
    best = better(evaluated, key=lambda row: row[key])  # the first of equals
    _, progress, _ = progress_of(folder, "best")
    assert progress["step"] == progress["best"]["step"] == best["step"]
    assert summary_of(folder)["best"]["step"] == best["step"]


class Seen:
    """Notes how many examples each network is given, and whether it is training."""

    def __init__(self):
        self.calls = []

    def __enter__(self):
        self.handle = nn.modules.module.register_module_forward_pre_hook(self.before_forward)
        return self.calls

    def before_forward(self, module, inputs):
        if type(module).__name__ == "MLP":
            self.calls.append((len(inputs[0]), module.training))

    def __exit__(self, *error):
        self.handle.remove()


def test_the_test_split_is_seen_once_at_the_end_with_the_best_weights(train, assembled, tmp_path):
    overrides = (
        "model=mlp", "model.widths=[24]", "optimizer.lr=0.03", "trainer.steps=60",
        "trainer.evaluate_every=6", "trainer.ema=0.8", "data.test=123", "data.validation=77",
        "trainer.precision=fp32",
    )  # fmt: skip
    with Seen() as calls:
        folder = train(tmp_path / "run", *overrides).folder
    assert [size for size, _ in calls if size == 123] == [123]
    assert calls[-1] == (123, False)
    assert {size for size, training in calls if training} == {64}

    tensors, progress, _ = progress_of(folder, "best")
    assert progress["step"] < 60  # else the last weights would be the best
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 24), nn.ReLU(), nn.Linear(24, 10))
    prefix = "averaged.model.layers."
    net.load_state_dict(
        {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
    )
    dataset = assembled(*overrides).dataset
    pixels = dataset.train.columns["inputs"].double() / 255
    inputs = (dataset.test.columns["inputs"].double() / 255 - pixels.mean()) / pixels.std(
        correction=0
    )
    with torch.no_grad():
        probabilities = net(inputs.float()).softmax(1).double().numpy()
    targets, predicted = dataset.test.columns["targets"].numpy(), probabilities.argmax(1)
    test = summary_of(folder)["test"]
    assert test["accuracy"] == pytest.approx(accuracy_score(targets, predicted))
    assert test["f1"] == pytest.approx(f1_score(targets, predicted, average="macro"))
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    assert test["loss"] == pytest.approx(log_loss(targets, probabilities), rel=1e-5)


def test_early_stopping_ends_the_run_after_so_many_evaluations_without_improvement(whole):
    folder = whole("cnn with plateau and early stopping")
    summary = summary_of(folder)
    values = [r["validation/accuracy"] for r in rows_of(folder) if "validation/accuracy" in r]
    best, bad, ended = values[0], 0, None
    for number, value in enumerate(values[1:], 2):
        best, bad = (value, 0) if value > best + 0.1 else (best, bad + 1)
        if bad == 3:
            ended = number
            break
    assert ended is not None
    assert len(values) == ended
    assert summary["step"] == 4 * ended < 60
    assert (summary["status"], progress_of(folder, "last")[1]["step"]) == ("finished", 4 * ended)
    assert "accuracy" in summary["stopped_because"]
    assert rows_of(folder)[-1]["lr"] < rows_of(folder)[0]["lr"]  # the plateau schedule dropped


def test_a_metric_to_stop_by_that_the_task_has_not_is_named_with_those_it_has(train, tmp_path):
    stopping = ("patience=1", "metric=acuracy", "mode=max")
    overrides = [f"trainer.early_stopping.{setting}" for setting in stopping]
    with pytest.raises(ConfigError, match=r"early_stopping\.metric=acuracy.*\n.*accuracy"):
        train(tmp_path / "run", "trainer=smoke", *overrides)


def test_numbers_that_are_not_finite_fail_the_run_and_leave_a_good_checkpoint(train, tmp_path):
    with pytest.raises(NonFiniteError, match=r"last good checkpoint: .*last\.safetensors"):
        train(tmp_path / "run", "optimizer=sgd", "optimizer.lr=1e12", "trainer.steps=100",
              "data=diabetes", "trainer.save_every=1", "trainer.evaluate_every=0")  # fmt: skip
    summary = summary_of(tmp_path / "run")
    assert summary["status"] == "failed"
    assert "got NaN or infinity" in summary["error"]
    tensors, progress, _ = progress_of(tmp_path / "run", "last")
    assert progress["step"] >= 1
    assert all(torch.isfinite(t).all() for t in tensors.values() if t.is_floating_point())


@pytest.mark.parametrize(
    "cadences",
    [
        ("trainer.save_every=0", "trainer.evaluate_every=0"),
        pytest.param(("trainer.save_every=0",), marks=pytest.mark.slow),
        pytest.param(("trainer.evaluate_every=0",), marks=pytest.mark.slow),
        ("trainer.sample_every=0", "trainer.log_every=0"),
    ],
)
def test_a_run_that_is_never_saved_or_looked_at_along_the_way_ends_all_the_same(
    train, tmp_path, cadences
):
    folder = train(tmp_path / "run", "trainer=smoke", *cadences).folder
    assert summary_of(folder)["status"] == "finished"
    assert progress_of(folder, "best")[1]["step"] >= 1
    assert "accuracy" in summary_of(folder)["test"]


def test_a_run_says_again_what_it_was_made_of(train, tmp_path, composed):
    folder = train(tmp_path / "run", "trainer=smoke", "model=cnn", "model.channels=[4]").folder
    text = (folder / "overrides.txt").read_text()
    assert text.splitlines() == ["trainer=smoke", "model=cnn", "model.channels=[4]"]
    _, metadata = checkpoint.load(folder / "checkpoints" / "last.safetensors")
    assert metadata["config"]["model"]["channels"] == [4]
    columns = metadata["data"]["columns"]
    assert columns["targets"]["names"] == [str(digit) for digit in range(10)]
    assert columns["inputs"]["size"] == [1, 8, 8]


def test_without_plots_a_run_draws_none_and_finds_the_same(train, tmp_path):
    short = ("model.widths=[8]", "trainer.steps=4", "trainer.batch_size=16", "data.limit=64")
    plain = train(tmp_path / "plain", *short, "trainer.plots=false").folder
    drawn = train(tmp_path / "drawn", *short, "trainer.plots=true").folder
    assert set(files(drawn, "plots")) == {
        "confusion.png", "curves.png", "lr.png", "predictions.png"
    }  # fmt: skip
    assert files(plain, "plots") == {}
    assert summary_of(plain)["test"] == summary_of(drawn)["test"]


def test_images_of_one_colour_are_warned_of(train, tmp_path, caplog):
    for name, shade in (("black", 0), ("striped", np.arange(8, dtype=np.uint8))):
        images = np.zeros((60, 1, 8, 8), np.uint8) + shade
        np.savez(tmp_path / f"{name}.npz", x=images.astype(np.uint8))
        caplog.clear()
        words = (
            "data=arrays",
            f"data.path={tmp_path}/{name}.npz",
            "data.kind=image",
            "data.targets=none",
        )
        train(tmp_path / name, *words, "model=mlp_vae", "task.score=none", "trainer=smoke")
        told = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
        assert any("all training images are of one colour" in t for t in told) == (name == "black")
