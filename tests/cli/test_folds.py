"""Cross-validation from the command line: what a sweep over folds says in the end."""

import csv
import json

import numpy as np
import pytest
from sklearn import metrics

import trainwright as tw


@pytest.mark.slow
@pytest.mark.parametrize("target", ["class", "value"])
def test_a_sweep_over_folds_gathers_what_each_says_of_rows_it_has_not_seen(
    target, tmp_path, run_train
):
    """Each row once, with the target that stands in the file; the scores are scikit-learn's."""
    draw = np.random.default_rng(0)
    rows = [
        (i, f"{draw.normal():.4f}", "cat" if draw.random() < 0.5 else "=dog") for i in range(60)
    ]
    table = tmp_path / "a.csv"
    table.write_text("".join(f"{i},{x},{y}\n" for i, x, y in [("n", "x", "y"), *rows]))
    name = "y" if target == "class" else "x"
    words = [f"data.path={table}", f"data.target={name}", "data.folds=3", "data.fold=range(3)"]
    words += ["trainer=smoke", "trainer.plots=false", "trainer.threads=1", "trainer.device=cpu"]
    result = run_train("-m", "data=table", *words, f"sweep.dir={tmp_path / 'sweep'}")
    assert result.code == 0, result.err
    out = result.out
    with (tmp_path / "sweep" / "out_of_fold.csv").open(newline="") as file:
        found = list(csv.DictReader(file))
    assert sorted(int(line["row"]) for line in found) == list(range(1, 61))
    told = json.loads((tmp_path / "sweep" / "sweep.json").read_text())["out_of_fold"]
    if target == "class":
        assert all(line["target"].lstrip("'") == rows[int(line["row"]) - 1][2] for line in found)
        wanted = metrics.accuracy_score(*([line[k] for line in found] for k in ("target", "class")))
    else:
        truth = [float(rows[int(line["row"]) - 1][1]) for line in found]
        wanted = metrics.r2_score(truth, [float(line["value"]) for line in found])
    assert told["score"] == pytest.approx(wanted, abs=1e-6)
    assert f"out of fold: {told['metric']} {told['score']:.4g} of 60 examples" in out
    assert "folds" in out
    assert tw.load_sweep(tmp_path / "sweep").table["folds"].tolist() == [3]
    assert "seed" not in out.replace("data.split_seed", "")
