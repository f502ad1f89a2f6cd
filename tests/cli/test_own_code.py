"""docs/own-model.md, word for word: what it shows is written to an empty directory and run.

tests/documents types its commands, as those of every page.
"""

import json
import re
import shlex
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "own-model.md"
BLOCK = re.compile(r"^```(\w+) ?(\S*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture
def commands(empty):
    """Write the page's files; return the arguments of each `$ train` that it shows."""
    shown = []
    for kind, name, body in BLOCK.findall(PAGE.read_text()):
        if kind == "console":
            shown += [line.removeprefix("$ train ") for line in body.splitlines()]
            continue
        path = empty / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a") as file:
            file.write(body)
    return [shlex.split(command) for command in shown]


def test_the_page_shows_all_kinds_of_own_code(commands, empty):
    groups = {path.parent.name for path in empty.glob("configs/*/*.yaml")}
    assert groups == {"model", "data", "optimizer", "schedule", "task", "experiment"}
    assert len(commands) >= 8


def test_a_model_an_optimizer_and_a_schedule_of_ones_own_train_together(commands, run_main):
    result = run_main(
        *("model=patches", "optimizer=lion", "schedule=triangle", "trainer=smoke", "run.dir=run"),
        "trainer.plots=false",
    )
    assert result.code == 0, result.err
    assert "test (best weights)" in result.out


@pytest.mark.slow
def test_data_of_ones_own_and_a_resume_that_trusts_it(commands, run_main, empty, tmp_path):
    start, resume = commands[-2:]
    assert "data=spirals" in start
    assert run_main(*start).code == 0
    (empty / "first").rename(tmp_path / "elsewhere")  # as a run of somebody else
    there = f"trainer.resume={tmp_path / 'elsewhere'}"
    refused = run_main(there, *resume[1:])
    assert refused.code == 2
    trust = "'trust=[mine.Lion,mine.Triangle,mine.spirals]'"
    assert trust in refused.err, "the message says what to type"
    assert f"`{trust.strip(chr(39))}`" in PAGE.read_text(), "and the page too"
    (tmp_path / "elsewhere").rename(empty / "first")
    result = run_main(*resume)
    assert result.code == 0, result.err
    assert "resumed at step" in result.out


def test_a_metric_and_a_hook_of_ones_own_are_logged(commands, run_main, empty):
    words = ("experiment=watched", "trainer=smoke", "trainer.plots=false", "hooks.norm.every=1")
    result = run_main(*words, "run.dir=run")
    assert result.code == 0, result.err
    lines = (empty / "run" / "metrics.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    assert all(row["norm/weights"] > 0 for row in rows)
    assert 0 <= rows[-1]["validation/worst"] <= rows[-1]["validation/accuracy"]
    summary = json.loads((empty / "run" / "summary.json").read_text())
    assert 0 <= summary["test"]["worst"] <= 1


def test_a_task_of_ones_own_shows_samples(commands, run_main, empty):
    result = run_main("model=autoencoder", "trainer=smoke", "trainer.plots=false", "run.dir=run")
    assert result.code == 0, result.err
    assert (empty / "run" / "samples" / "000002.png").exists()
