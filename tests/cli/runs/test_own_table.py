"""`train data=table`, and what follows: cells are read as the run has learned to read them."""

import csv
import io
import json
import logging
import random

import pytest


def lines(num, seed):
    draw = random.Random(seed)
    for _ in range(num):
        age, spent = draw.randint(18, 80), round(draw.lognormvariate(3, 1), 3)
        yield ["" if draw.random() < 0.1 else age, spent, "=yes" if age > 50 else "no"]


def write(path, num, seed):
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([["age", "spent", "churned"], *lines(num, seed)])
    return path


@pytest.fixture(scope="module")
def root(train, tmp_path_factory):
    root = tmp_path_factory.mktemp("own")
    path = write(root / "customers.csv", 300, seed=0)
    smoke = ("model=mlp", "model.widths=[16]", "trainer=smoke", "trainer.steps=200")
    smoke = (*smoke, "trainer.evaluate_every=100", "optimizer.lr=1e-2", "trainer.precision=fp32")
    logger = logging.getLogger("trainwright")
    level = logger.level
    logger.setLevel(logging.INFO)
    train(root / "table", "data=table", f"data.path={path}", "data.target=churned", *smoke)
    logger.setLevel(level)
    return root


def test_the_log_shows_the_columns_and_what_scikit_learn_reaches(root):
    log = (root / "table" / "train.log").read_text()
    assert "customers.csv: 300 rows of 3 columns, divided at ','" in log
    assert "age    number    18 to 80" in log
    assert "target churned: 2 classes: =yes: " in log
    assert "beside it, of scikit-learn: test boosted trees accuracy " in log
    summary = json.loads((root / "table" / "summary.json").read_text())
    assert set(summary["test"]["baselines"]) == {"boosted trees", "linear model"}
    assert summary["test"]["accuracy"] > 0.8


def test_new_rows_are_scored_and_no_cell_is_a_formula(call, root, tmp_path):
    path = write(tmp_path / "new.csv", 5, seed=1)
    with path.open("a") as file:
        file.write("=2+3,1,\n")
    code, out, err = call("predict", "table", path, "--csv", f"--root={root}")
    rows = list(csv.DictReader(io.StringIO(out)))
    assert code == 3
    assert "new.csv:7: age is '=2+3', which is no number" in err
    assert len(rows) == 5
    assert {row["class"] for row in rows} == {"'=yes", "no"}
    assert {"'=yes", "no"} <= set(rows[0])


def test_another_file_is_measured_whole_as_the_run_has_learned_it(call, root, tmp_path):
    path = write(tmp_path / "later.csv", 80, seed=2)
    code, out, err = call("evaluate", "table", f"data.path={path}", "--json", f"--root={root}")
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert (found["num_examples"], found["data"]) == (80, "later.csv")
    assert found["metrics"]["accuracy"]["value"] > 0.8
    path.write_text(path.read_text().replace(",no", ",maybe"))
    code, _, err = call("evaluate", "table", f"data.path={path}", f"--root={root}")
    assert code == 3
    assert "is a class that this run has not learned" in err


@pytest.mark.slow
def test_an_exported_network_takes_rows_with_gaps_as_they_are(call, root, tmp_path):
    code, out, _ = call("export", "table", "format=onnx", f"out={tmp_path / 'x'}", f"--root={root}")
    assert code == 0
    assert "of the run's own outputs in fp32" in out
