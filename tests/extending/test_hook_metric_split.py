"""A hook, a metric and a second validation split of a user's own, by config, on our classifier."""

import json
import re
import sys

import pytest
from safetensors.torch import load_file

CONFIGS = {
    "data/sensors.yaml": "_target_: hook_metric_split.sensors\nnum_examples: 240\ndrift: 1.0\n",
    "experiment/watched.yaml": (
        "# @package _global_\n"
        "task: {metrics: {kappa: {_target_: hook_metric_split.Kappa}}}\n"
        "hooks: {travel: {_target_: hook_metric_split.Travel, every: 2}}\n"
    ),
}
TRAIN = (
    *("data=sensors", "experiment=watched", "model=mlp", "model.widths=[8]"),
    *("optimizer.lr=1e-2", "trainer.steps=8", "trainer.batch_size=16", "trainer.threads=1"),
    *("trainer.evaluate_every=4", "trainer.log_every=1", "trainer.precision=fp32"),
)


def rows_of(user, run):
    lines = (user.folder / run / "metrics.jsonl").read_text().splitlines()
    return {row["step"]: row for row in map(json.loads, lines)}


def said_and_true(user, run, name):
    """The classes that the last weights say of a split by its name, in float64, and the true."""
    data = sys.modules["hook_metric_split"].sensors()
    columns, train = data.splits[name].columns, data.train.columns["reading"].double()
    tensors = load_file(user.folder / run / "checkpoints" / "last.safetensors")
    weight1, bias1, weight2, bias2 = (
        tensors[f"task.model.layers.{n}.{kind}"].double()
        for n in (1, 3)
        for kind in ("weight", "bias")
    )
    seen = (columns["reading"].double() - train.mean(dim=0)) / train.std(dim=0, correction=0)
    logits = (seen @ weight1.T + bias1).clamp(min=0) @ weight2.T + bias2
    return logits.argmax(dim=1).tolist(), columns["state"].tolist()


def kappa(said, truth):
    """Cohen's kappa from pairs, without a table."""
    num = len(truth)
    agreed = sum(one == other for one, other in zip(said, truth, strict=True)) / num
    chance = sum(said.count(c) * truth.count(c) for c in set(said) | set(truth)) / num**2
    return (agreed - chance) / (1 - chance)


def test_kappa_by_hand_is_that_of_the_example_in_the_paper():
    said = [0] * 20 + [1] * 5 + [0] * 10 + [1] * 15
    truth = [0] * 25 + [1] * 25
    assert kappa(said, truth) == pytest.approx((0.7 - 0.5) / (1 - 0.5))


@pytest.mark.parametrize("name", ["validation", "validation/night"])
def test_the_metric_of_both_validation_splits_is_that_of_a_calculation_by_hand(user, trained, name):
    row = rows_of(user, trained)[8]
    assert row[f"{name}/kappa"] == pytest.approx(kappa(*said_and_true(user, trained, name)))
    assert 0 < row[f"{name}/kappa"] < 1


def test_the_second_validation_split_is_measured_as_often_as_the_first(user, trained):
    rows = rows_of(user, trained)
    for name in ("accuracy", "loss", "kappa"):
        first = {step for step, row in rows.items() if f"validation/{name}" in row}
        night = {step for step, row in rows.items() if f"validation/night/{name}" in row}
        assert first == night == {4, 8}
    assert rows[8]["validation/accuracy"] != rows[8]["validation/night/accuracy"]
    test = user.summary(trained)["test"]
    assert "kappa" in test
    assert "night/kappa" not in test, "it is a validation split"


def test_the_line_of_an_evaluation_tells_the_same_of_both_splits(user, trained):
    (line,) = (
        line
        for line in (user.folder / trained / "train.log").read_text().splitlines()
        if "step      8" in line
    )
    names = re.findall(r"([a-z/]+\d?) -?[\d.]+", line.partition("validation ")[2])
    own = ["accuracy", "kappa", "loss", "f1"]
    assert names == [*own, *(f"night/{name}" for name in own)]


def test_the_hook_is_called_when_due_and_what_it_returns_is_kept(user, trained):
    looks = {s: r["travel/looks"] for s, r in rows_of(user, trained).items() if "travel/looks" in r}
    assert looks == {2: 1, 4: 2, 6: 3}
    text = (user.folder / trained / "samples" / "000008-travel.txt").read_text()
    assert text.startswith("looked 4 times, went ")


def test_stopped_and_resumed_they_are_to_the_bit_those_of_the_run_that_was_not(
    user, trained, resumed
):
    assert user.has_the_bits_of(resumed, trained)
    for file in ("metrics.jsonl", "samples/000008-travel.txt"):
        one, two = ((user.folder / run / file).read_text() for run in (trained, resumed))
        assert one == two, "the hook remembers what it has seen"


@pytest.mark.parametrize("metric", ["night/accuracy", "night/kappa"])
def test_a_run_stops_early_by_the_second_split(user, metric):
    name = metric.replace("/", "-")
    words = ("trainer.early_stopping.patience=2", "trainer.early_stopping.mode=max")
    still = ("optimizer.lr=1e-12", "trainer.evaluate_every=2", f"run.dir=early-{name}")
    said = user.train(*words, *still, f"trainer.early_stopping.metric={metric}")
    assert said.code == 0, said.err
    told = f"validation {metric} has not improved in 2 evaluations"
    assert user.summary(f"early-{name}")["stopped_because"] == told
    assert user.summary(f"early-{name}")["step"] == 6


def test_a_metric_that_a_few_examples_are_too_few_for_is_one_to_stop_by(user, monkeypatch):
    """Where all of them are of one class, and taken for it, kappa is 0 / 0."""
    monkeypatch.setattr("trainwright.hooks.early_stop.FEW", 1)
    words = ("trainer.early_stopping.patience=2", "trainer.early_stopping.mode=max")
    said = user.train(*words, "trainer.early_stopping.metric=kappa", "run.dir=early-kappa")
    assert said.code == 0, said.err


def test_a_metric_to_stop_by_that_there_is_not_is_refused_with_those_that_there_are(user):
    words = ("trainer.early_stopping.patience=2", "trainer.early_stopping.mode=max")
    said = user.train(*words, "trainer.early_stopping.metric=nigth/kappa", "run.dir=never")
    assert said.code == 2
    assert "there is no such metric; did you mean night/kappa?" in said.err
    assert not (user.folder / "never").exists()


@pytest.mark.parametrize("name", ["validation", "validation/night"])
def test_either_split_is_evaluated_by_its_name(user, trained, name):
    said = user.runs("evaluate", trained, f"split={name}", "checkpoint=last", "--json")
    assert said.code == 0, said.err
    told = json.loads(said.out)
    assert told["num_examples"] == 60
    row = rows_of(user, trained)[8]
    for metric in ("accuracy", "kappa"):
        assert told["metrics"][metric]["value"] == pytest.approx(row[f"{name}/{metric}"])


def test_a_split_that_there_is_not_is_named_with_those_that_there_are(user, trained):
    said = user.runs("evaluate", trained, "split=validation/nigth")
    assert said.code == 2
    assert "did you mean validation/night?" in said.err


def test_its_page_has_kappa_of_both_splits_and_what_the_hook_noted(user, trained):
    (run,) = user.page(trained)["runs"]
    panels = {panel["title"]: panel["series"] for panel in run["panels"]}
    assert [line["kind"] for line in panels["kappa"]] == ["/kappa", "night/kappa"]
    assert [line["kind"] for line in panels["looks"]] == ["travel/looks"]
    ((hook,), text) = run["hooks"], (user.folder / trained / "samples" / "000008-travel.txt")
    assert hook["name"] == "travel"
    assert hook["samples"][-1] == {"step": 8, "text": text.read_text()}


def test_it_predicts_and_is_exported_as_any_classifier(user, trained):
    (user.folder / "rows.csv").write_text("1,2,3,4\n")
    said = user.runs("predict", trained, "rows.csv", "--jsonl")
    assert said.code == 0, said.err
    assert set(json.loads(said.out)["top"]) == {"idle", "busy", "faulty"}
    said = user.runs("export", trained, "out=weights")
    assert said.code == 0, said.err
    facts = json.loads((user.folder / "weights" / "model.json").read_text())
    assert facts["class_names"] == ["idle", "busy", "faulty"]


CLASHING = """
from hook_metric_split import Kappa

class Clashing(Kappa):
    def compute(self):
        return {"accuracy": 1.0}
"""


def test_a_metric_never_takes_the_place_of_a_number_by_which_the_task_is_ranked(user):
    (user.folder / "clashing.py").write_text(CLASHING)
    said = user.train("task.metrics.accuracy._target_=clashing.Clashing", "run.dir=clashing")
    assert said.code == 2
    assert "task.metrics.accuracy: the task itself measures accuracy" in said.err
    said = user.train("task.metrics.other._target_=clashing.Clashing", "run.dir=beside")
    assert said.code == 0, said.err
    test = user.summary("beside")["test"]
    assert test["other/accuracy"] == 1 > test["accuracy"]


def test_a_metric_that_is_none_is_refused_in_words(user):
    said = user.train("task.metrics.kappa._target_=hook_metric_split.Travel", "run.dir=never")
    assert said.code == 2
    assert "task.metrics.kappa" in said.err
    assert len(said.err.splitlines()) <= 5


@pytest.mark.slow
def test_stacked_they_are_those_of_the_run_alone(user, trained):
    said = user.train("-m", "seed=0,1", "sweep.stack=on")
    assert said.code == 0, said.err
    assert "stacked: 2 jobs in 1 stack of 2" in said.out
    members = sorted((user.folder / "outputs" / "sweeps").glob("*/*/metrics.jsonl"))
    assert len(members) == 2
    (member,) = (m.parent for m in members if "seed: 0\n" in (m.parent / "config.yaml").read_text())
    name = str(member.relative_to(user.folder))
    for step, row in rows_of(user, trained).items():
        assert rows_of(user, name)[step] == pytest.approx(row, rel=1e-4), step
    assert (member / "samples" / "000008-travel.txt").exists()
