"""Runs that trainwright 0.1 made are listed, shown, resumed, evaluated, sampled, forked, exported.

How they were made, and by what commands, is in make_runs.py. What 0.1 computed, it computed on one
processor, and others round differently. How much that can change follows from the arithmetic:

- One pass through a network (`FORWARD`). Sums here have at most 600 terms, and at most ten layers
  follow each other. Each operation in fp32 is off by 2**-24 of its result at most, so outputs are
  off by 10 * 600 * 2**-24 = 4e-4 of the largest number, which for logits, normalised targets and
  pixels is about 1; two processors may be off in opposite directions: 1e-3.
- Some more steps (`TRAINED`). Rounding has no direction, so these 6,000 errors come to about
  sqrt(6000) * 2**-24 = 5e-6 of a gradient. Learning rates add up to 7 at most over the steps here,
  and a loss changes by less than 10 times what its weights do: 7 * 5e-6 * 10 = 4e-4. Muon
  multiplies in bf16, off by 2**-9: ten steps of 0.02 come to sqrt(10) * 0.02 * 2**-9 * 10 = 1e-3.
  Two processors may be off in opposite directions: 2e-3. (Kernels for other processors, on the one
  of 0.1, came to less than 1e-4; an optimizer that begins anew at the resume, to 5e-3 and more.)
- Of N examples one or two at the border may fall on its other side: 2 / N.
"""

import csv
import io
import json
import math
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

MADE = Path(__file__).with_name("0.1")
EXPECTED = json.loads((MADE / "expected.json").read_text())
FORWARD = 1e-3
TRAINED = 2e-3

RUNS = sorted(path.parent.name for path in MADE.glob("outputs/*/summary.json"))
MEMBERS = sorted(path.parent.name for path in MADE.glob("outputs/sweeps/*/*/summary.json"))
WITH_DATA = [name for name in RUNS if name not in ("failed", "mnist")]  # MNIST may not be at hand
STATUS = {"failed": "failed", "stopped": "stopped", "killed": "killed"}
VALIDATION = {"photos": 3, "own_data": 100, "tensorboard": 22, "breast_cancer": 85}  # else 180
# Of the metrics, those that are continuous in the weights. A GAN's others depend on a judge, which
# each machine trains for itself.
CONTINUOUS = {"loss", "mse", "mae", "r2", "real", "fake", "sliced_wasserstein"}


def each(names, *, fast=()):
    """A test for each run; those that are not among the fast ones are slow."""
    return pytest.mark.parametrize(
        "name",
        [pytest.param(n, marks=[] if n in fast else pytest.mark.slow) for n in names],
    )


def trust(name):
    return EXPECTED["trust"].get(name, "")


def files_of(folder):
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def summary_of(run):
    return json.loads((run / "summary.json").read_text())


def metrics_of(run):
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def assert_close(found, expected, *, tolerance, num_examples):
    """What 0.1 measured is still measured, and came to the same."""
    for name, value in expected.items():
        if name.endswith("_error"):
            continue
        assert math.isfinite(found[name]), name
        if name.endswith("accuracy"):
            assert found[name] == pytest.approx(value, abs=2.001 / num_examples), name
        elif name.rpartition("/")[2] in CONTINUOUS:
            assert found[name] == pytest.approx(value, rel=tolerance, abs=tolerance), name


def test_every_run_and_every_job_of_a_sweep_is_listed(shell):
    rows = {Path(row["path"]).name: row for row in json.loads(shell("runs list --json").out)}
    assert rows.keys() == {*RUNS, *MEMBERS}
    for name, row in rows.items():
        assert row["status"] == STATUS.get(name, "finished"), name
    assert rows["own_model"]["model"] == "patches"
    for name in ("mlp", "gan", "diabetes"):
        stored = summary_of(MADE / "outputs" / name)
        assert rows[name]["best"] == stored["best"]["metrics"][stored["objective"]]


def test_runs_are_found_by_keys_of_their_configs_and_by_metrics(shell):
    def names(*filters):
        line = " ".join(("runs list --json --sort=test/accuracy", *map(shlex.quote, filters)))
        return [row["name"] for row in json.loads(shell(line).out)]

    assert set(names("model=gan,mlp_gan")) == {"gan", "mlp_gan"}
    assert names("optimizer._target_=*Muon", "model=mlp") == ["muon"]
    assert names("data=tabular", "validation/accuracy>0.9") == ["breast_cancer"]


def test_every_run_is_shown(shell):
    for name in RUNS:
        assert name in shell(f"runs show outputs/{name}").out
        shown = json.loads(shell(f"runs show outputs/{name} --json").out)
        assert shown["status"] == STATUS.get(name, "finished"), name
        assert shown["summary"] == summary_of(MADE / "outputs" / name)
        assert shown["config"]["model"]["_target_"]


def test_what_two_runs_differ_in_is_shown(shell):
    out = shell("runs diff outputs/mlp outputs/cnn").out
    assert "task.label_smoothing" in out
    assert "test/loss" in out


def test_a_run_without_a_checkpoint_is_what_could_be_deleted(shell, project):
    shell("runs clean --yes")
    left = {path.parent.name for path in project.glob("outputs/*/summary.json")}
    assert left == set(RUNS) - {"failed"}


@each(WITH_DATA, fast=("mlp", "cnn", "mlp_gan", "diabetes", "own_model", "own_data"))
def test_the_test_split_gives_what_0_1_found_at_the_end(name, shell, project):
    before = files_of(project / "outputs")
    found = json.loads(shell(f"runs evaluate outputs/{name} resamples=0 --json {trust(name)}").out)
    assert files_of(project / "outputs") == before
    stored = summary_of(project / "outputs" / name).get("test")
    if name in ("stopped", "killed"):
        assert stored is None
        stored = {"loss": found["metrics"]["loss"]["value"]}
    numbers = {key: value for key, value in stored.items() if isinstance(value, float)}
    figures = found.get("score", {}).get("figures", {})  # those of a GAN's judge
    values = {key: metric["value"] for key, metric in {**figures, **found["metrics"]}.items()}
    assert_close(values, numbers, tolerance=FORWARD, num_examples=found["num_examples"])


@each(EXPECTED["predict"], fast=("mlp", "cnn", "mnist", "diabetes", "own_model", "own_data"))
def test_predictions_are_those_of_0_1(name, shell):
    answer = EXPECTED["predict"][name]
    rows = list(csv.DictReader(io.StringIO(shell(answer["command"]).out)))
    assert len(rows) == len(answer["rows"])
    for found, expected in zip(rows, answer["rows"], strict=True):
        assert found.keys() >= expected.keys()
        for key in expected.keys() - {"file", "line", "class"}:
            # A predicted value is in the targets' own unit: 77 is their standard deviation.
            scale = 77 if key == "value" else 1
            assert float(found[key]) == pytest.approx(float(expected[key]), abs=FORWARD * scale)


@pytest.mark.parametrize("name", EXPECTED["sample"])
def test_the_images_of_a_seed_are_those_of_0_1(name, shell, project):
    answer = EXPECTED["sample"][name]
    shell(answer["command"])
    pixels = np.load(project / f"{name}.npy", allow_pickle=False).flatten()
    np.testing.assert_allclose(pixels, answer["pixels"], rtol=0, atol=FORWARD)


def test_the_grids_of_training_become_an_animation(shell, project):
    shell("runs sample outputs/gan progress=gif out=progress.gif")
    assert (project / "progress.gif").read_bytes().startswith(b"GIF8")


@each(EXPECTED["resume"], fast=("mlp", "stopped", "killed", "cnn", "mlp_gan", "own_data"))
def test_a_run_goes_on_to_where_0_1_brings_it(name, shell, project):
    answer = EXPECTED["resume"][name]
    if name == "tensorboard":
        pytest.importorskip("tensorboard")
    run = project / "outputs" / name
    rows = metrics_of(run)
    command = answer["command"]
    if name == "stopped":
        command = command.replace("train trainer.resume=", "runs resume ")
    step = int(re.search(r"resumed at step (\d+)", shell(command).out)[1])
    gone_on = metrics_of(run)
    assert step == (10 if name == "killed" else rows[-1]["step"])
    kept = [row for row in rows if row["step"] <= step]
    assert gone_on[: len(kept)] == kept
    steps = [row["step"] for row in gone_on]
    assert steps == sorted(set(steps))
    summary = summary_of(run)
    assert summary["status"] == "finished"
    assert summary["last"]["step"] == answer["last"]["step"]
    metrics = answer["last"]["metrics"]
    num_examples = VALIDATION.get(name, 180)
    assert_close(summary["last"]["metrics"], metrics, tolerance=TRAINED, num_examples=num_examples)


@each(WITH_DATA, fast=("mlp", "mlp_gan", "own_data", "fork"))
def test_a_run_is_forked(name, shell, project):
    before = files_of(project / "outputs" / name)
    few = "trainer.epochs=null trainer.steps=2 trainer.plots=false"
    shell(f"runs fork outputs/{name} run.dir=outputs/forked {few} {trust(name)}")
    assert files_of(project / "outputs" / name) == before
    summary = summary_of(project / "outputs" / "forked")
    assert summary["status"] == "finished"
    parent = summary_of(project / "outputs" / name)
    assert summary["lineage"]["name"] == parent["name"]
    assert all(part["what"].startswith("taken") for part in summary["lineage"]["parts"])


@pytest.mark.slow
def test_a_run_is_forked_for_other_classes(shell, project):
    photos = "data=folder data.path=photos data.size=8 data.channels=1 trainer.batch_size=8"
    few = "trainer.steps=2 trainer.plots=false run.dir=outputs/forked freeze=features"
    assert "frozen" in shell(f"runs fork outputs/cnn {photos} {few}").out
    parts = summary_of(project / "outputs" / "forked")["lineage"]["parts"]
    assert {part["what"] for part in parts} >= {"taken, frozen", "begins anew"}


@pytest.mark.parametrize("name", ["own_model", "own_data"])
def test_classes_of_ones_own_are_not_built_before_they_are_trusted(name, shell):
    answer = EXPECTED["resume"][name]
    err = shell(answer["command"].replace(trust(name), "").strip(), code=2).err
    assert "trust=[" in err


@each(["mlp", "mlp_gan", "cnn", "gan", "stopped"], fast=("mlp", "mlp_gan"))
def test_the_last_steps_are_verified(name, shell):
    """Another version, library or processor may round differently, and then that is said."""
    result = shell(f"runs verify outputs/{name}", codes=(0, 1))
    assert result.code == 0 or (result.code == 1 and "not bit-exact" in result.err), result.err
    assert ("identical" in result.out) == (result.code == 0)


@each(
    ["mlp", "cnn", "resnet", "airbench", "gan", "mlp_gan", "diabetes", "mnist", "own_model"],
    fast=("mlp", "cnn", "gan"),
)
def test_the_exported_weights_are_the_stored_ones(name, shell, project):
    def contents(tensors):
        return sorted((tensor.shape, tensor.tobytes()) for tensor in tensors)

    shell(f"runs export outputs/{name} out=exported {trust(name)}")
    stored = load_file(project / "outputs" / name / "checkpoints" / "best.safetensors")
    averaged = any(key.startswith("averaged.") for key in stored)
    prefix = "averaged." if averaged else "task.model."
    expected = [tensor for key, tensor in stored.items() if key.startswith(prefix)]
    exported = load_file(project / "exported" / "model.safetensors").values()
    assert contents(exported) == contents(expected)


@pytest.mark.parametrize("sweep", ["grid", "stacked"])
def test_a_sweep_has_the_verdict_that_it_had(sweep, shell, project):
    def table():
        return list(csv.DictReader((folder / "sweep.csv").read_text().splitlines()))

    folder = project / "outputs" / "sweeps" / sweep
    before = table()
    out = shell(f"runs sweep outputs/sweeps/{sweep}").out
    assert "0.03" in out if sweep == "grid" else "0.3148 ± 0.12" in out
    columns = ("place", "optimizer.lr", "seed", "value", "status", "folder", "id")
    told = [[{key: row.get(key) for key in columns} for row in rows] for rows in (table(), before)]
    assert told[0] == told[1]
    assert len(list(folder.glob("plots/*.png"))) >= 1


@pytest.mark.slow
@pytest.mark.parametrize("sweep", ["grid", "stacked"])
def test_a_sweep_typed_again_has_nothing_left_to_do(sweep, shell, project):
    plan = json.loads((project / "outputs" / "sweeps" / sweep / ".sweep" / "plan.json").read_text())
    assert "3 jobs, 3 done already" in shell(plan["command"]).out


@pytest.mark.slow
@pytest.mark.parametrize("sweep", ["grid", "stacked"])
def test_a_run_of_a_sweep_goes_on_alone(sweep, shell, project):
    run = min((project / "outputs" / "sweeps" / sweep).glob("mlp-digits-*"))
    longer = "trainer.steps=30 trainer.schedule_until=100%"
    result = shell(f"train trainer.resume={run} {longer}")
    assert "resumed at step 20" in result.out
    if sweep == "stacked":
        assert "not bit-exact: steps stacked -> alone" in result.out + result.err
    assert summary_of(run)["status"] == "finished"


@pytest.mark.parametrize(
    "runs", ["outputs/mlp", "outputs/gan outputs/diabetes", "outputs/sweeps/grid"]
)
def test_runs_are_reported_as_a_page(runs, shell, project):
    shell(f"runs report {runs} out=page.html")
    assert "</html>" in (project / "page.html").read_text()
