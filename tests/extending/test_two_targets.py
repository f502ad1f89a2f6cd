"""A user's own task on our MLP: a class and a value at once, by a weighted loss."""

import csv
import io
import json
import runpy
import sys

import pytest
import torch
from safetensors.torch import load_file

CONFIGS = {
    "data/boxes.yaml": "_target_: two_targets.boxes\nnum_examples: 240\n",
    "task/both.yaml": "_target_: two_targets.ClassAndValue\nvalue_weight: 0.25\n",
}
TRAIN = (
    *("data=boxes", "task=both", "model=mlp", "model.widths=[8]", "optimizer.lr=1e-2"),
    *("trainer.steps=8", "trainer.batch_size=16", "trainer.evaluate_every=4"),
    *("trainer.log_every=1", "trainer.threads=1"),
)
NAMES = ("width", "height", "depth")
ROW = (1.5, 3.5, 2.0)


@pytest.fixture
def split(user, trained):
    """The data as the user's function makes them, once a run has imported it."""
    return sys.modules["two_targets"].boxes()


def told_by_hand(user, run, data, sides):
    """Logits (N, 3) and standardised values (N,) of the best weights, in float64."""
    tensors = load_file(user.folder / run / "checkpoints" / "best.safetensors")
    weight1, bias1, weight2, bias2 = (
        tensors[f"task.model.layers.{n}.{kind}"].double()
        for n in (1, 3)
        for kind in ("weight", "bias")
    )
    train = data.train.columns["inputs"].double()
    seen = (sides - train.mean(dim=0)) / train.std(dim=0, correction=0)
    outputs = (seen @ weight1.T + bias1).clamp(min=0) @ weight2.T + bias2
    return outputs[:, :3], outputs[:, 3]


def test_its_metrics_are_those_of_a_calculation_by_hand(user, trained, split):
    test = {name: column.double() for name, column in split.test.columns.items()}
    logits, value = told_by_hand(user, trained, split, test["inputs"])
    kinds, volumes = test["longest"].long(), split.train.columns["volume"].double()
    truth = (test["volume"] - volumes.mean()) / volumes.std(correction=0)
    shares = logits.exp() / logits.exp().sum(dim=1, keepdim=True)
    class_loss = -float(shares[torch.arange(len(kinds)), kinds].log().mean())
    value_loss = float((value - truth).square().mean())
    told = user.summary(trained)["test"]
    assert told["class_loss"] == pytest.approx(class_loss, rel=1e-5)
    assert told["value_loss"] == pytest.approx(value_loss, rel=1e-5)
    assert told["loss"] == pytest.approx(class_loss + 0.25 * value_loss, rel=1e-5)
    assert told["accuracy"] == pytest.approx(float((shares.argmax(dim=1) == kinds).double().mean()))


def test_the_weight_is_in_the_loss_it_trains_by(user, trained):
    lines = (user.folder / trained / "metrics.jsonl").read_text().splitlines()
    for row in map(json.loads, lines):
        parts = row["train/class_loss"] + 0.25 * row["train/value_loss"]
        assert row["train/loss"] == pytest.approx(parts, rel=1e-5)
    assert json.loads(lines[-1])["train/loss"] < json.loads(lines[0])["train/loss"]


def test_stopped_and_resumed_it_is_to_the_bit_the_run_that_was_not(user, trained, resumed):
    assert user.has_the_bits_of(resumed, trained)
    one, two = ((user.folder / run / "metrics.jsonl").read_text() for run in (trained, resumed))
    assert one == two


def test_it_is_evaluated(user, trained):
    said = user.runs("evaluate", trained, "--json")
    assert said.code == 0, said.err
    told = json.loads(said.out)["metrics"]
    assert set(told) == {"loss", "class_loss", "value_loss", "accuracy", "error"}
    for name, metric in told.items():
        assert metric["value"] == pytest.approx(user.summary(trained)["test"][name])
        assert metric["interval"][0] <= metric["value"] <= metric["interval"][1]


def test_it_predicts_both_from_the_rows_of_a_table(user, trained, split):
    lines = (",".join(NAMES), ",".join(map(str, ROW)))
    (user.folder / "rows.csv").write_text("\n".join(lines) + "\n")
    said = user.runs("predict", trained, "rows.csv", "--csv")
    assert said.code == 0, said.err
    (row,) = csv.DictReader(io.StringIO(said.out))
    logits, value = told_by_hand(user, trained, split, torch.tensor([ROW]).double())
    shares = logits.softmax(dim=1)[0].tolist()
    assert [float(row[f"longest {name}"]) for name in NAMES] == pytest.approx(shares, abs=1e-5)
    assert row["longest class"] == NAMES[shares.index(max(shares))]
    volumes = split.train.columns["volume"].double()
    volume = float(value) * float(volumes.std(correction=0)) + float(volumes.mean())
    assert float(row["volume value"]) == pytest.approx(volume, rel=1e-5)
    table = user.runs("predict", trained, "rows.csv").out.splitlines()
    assert table[0].split() == ["ROW", "LONGEST", "PROBABILITY", "NEXT", "VOLUME"]


def test_to_make_up_examples_is_refused_in_words(user, trained):
    said = user.runs("sample", trained)
    assert said.code == 2
    assert "this run does not generate" in said.err
    assert "runs predict RUN FILES..." in said.err


def test_its_page_has_a_panel_for_each_of_its_numbers(user, trained):
    (run,) = user.page(trained)["runs"]
    panels = {panel["title"] for panel in run["panels"]}
    assert {"loss", "class loss", "value loss", "accuracy", "error"} <= panels
    assert run["test"].keys() == {"loss", "class_loss", "value_loss", "accuracy", "error"}


def test_the_example_of_its_bare_weights_normalises_a_row(
    user, trained, split, monkeypatch, capsys
):
    said = user.runs("export", trained, "out=weights")
    assert said.code == 0, said.err
    monkeypatch.syspath_prepend(user.folder / "weights")
    monkeypatch.setattr(sys, "argv", ["example.py", *map(str, ROW)])
    found = runpy.run_path(str(user.folder / "weights" / "example.py"))
    logits, value = told_by_hand(user, trained, split, torch.tensor([ROW]).double())
    with torch.no_grad():
        seen = torch.from_numpy(found["inputs"]) * found["scale"] + found["shift"]
        got = found["model"](seen)
    assert torch.allclose(got.double()[0], torch.cat([logits[0], value]), atol=1e-5)
    assert repr(got)[:20] in capsys.readouterr().out
    facts = json.loads((user.folder / "weights" / "model.json").read_text())
    assert facts["output"]["shape"] == ["batch", 4]


@pytest.mark.slow
@pytest.mark.parametrize("form", ["pt2", "onnx"])
def test_exported_as_a_graph_it_takes_rows_as_they_are(user, trained, form):
    said = user.runs("export", trained, f"format={form}", f"out=graph-{form}")
    assert said.code == 0, said.err
    assert "of the run's own outputs" in said.out


def test_a_wrong_setting_is_refused_in_the_words_of_the_task(user):
    said = user.train("task.value_weight=-1", "run.dir=never")
    assert said.code == 2
    assert "value_weight=-1.0 is not at least 0" in said.err
    assert not (user.folder / "never").exists()


def test_data_of_one_target_are_refused_in_words(user):
    said = user.train("data=digits", "run.dir=never")
    assert said.code == 2
    assert "task=both learns a class and a value, and digits has classes" in said.err
    assert len(said.err.splitlines()) <= 5


@pytest.mark.slow
def test_a_sweep_ranks_it_by_its_loss_and_says_why_it_is_not_stacked(user):
    said = user.train("-m", "task.value_weight=0.1,1", "sweep.stack=on")
    assert said.code == 0, said.err
    why = "only trainwright's own tasks are stacked, not two_targets.ClassAndValue"
    assert f"alone: 2 jobs: {why}" in said.out
    assert "(validation/loss, lower is better)" in said.out
