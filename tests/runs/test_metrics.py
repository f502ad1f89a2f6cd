"""metrics.jsonl is read in one way: what no run writes is left out, and costs no other row."""

import json

import pytest

from trainwright.report.plots.series import MOST_LINES, MOST_PANELS, collect, panels
from trainwright.runs.metrics import last_row, read_rows, rewind


def test_rewinding_drops_what_comes_after_the_step_and_what_is_torn(tmp_path):
    path = tmp_path / "metrics.jsonl"
    lines = [json.dumps({"step": step, "train/loss": 1 / step}) for step in range(1, 8)]
    path.write_text("\n".join(lines) + '\n{"step": 8, "trai')
    assert [row["step"] for row in read_rows(tmp_path)] == list(range(1, 8))
    rewind(tmp_path, 5)
    assert path.read_text() == "\n".join(lines[:5]) + "\n"
    assert list(tmp_path.iterdir()) == [path]
    rewind(tmp_path, 0)
    assert path.read_text() == ""
    assert read_rows(tmp_path / "none") == []


def test_a_damaged_line_costs_itself_and_no_other(tmp_path):
    path = tmp_path / "metrics.jsonl"
    lines = [json.dumps({"step": step, "train/loss": 1 / step}) for step in range(1, 8)]
    damaged = [*lines]
    for number, line in enumerate(
        ["[]", '{"step": "2"}', '{"step": 3, "train/loss": []}', '{"step": 4, "health": 1}']
    ):
        damaged[number + 1] = line
    path.write_bytes("\n".join(damaged).encode() + b"\n\xff" + b"[" * 100_000)
    assert [row["step"] for row in read_rows(tmp_path)] == [1, 6, 7]
    assert rewind(tmp_path, 6) == 4
    assert path.read_text() == f"{lines[0]}\n{lines[5]}\n"
    assert rewind(tmp_path, 6) == 0


JUNK = {
    "a number of 400 digits": '{"step": 2, "train/loss": 1%s}' % ("0" * 400),
    "a number of 5,000 digits": '{"step": 2, "train/loss": 1%s}' % ("0" * 5000),
    "a step of 400 digits": '{"step": 1%s, "train/loss": 1}' % ("0" * 400),
    "a step that is no number": '{"step": NaN, "train/loss": 1}',
    "an infinite step": '{"step": Infinity}',
    "a step below zero": '{"step": -1}',
    "a step that is true": '{"step": true}',
    "a step with a fraction": '{"step": 1.5}',
    "an infinite loss": '{"step": 2, "train/loss": -Infinity}',
    "a loss that is no number": '{"step": 2, "train/loss": NaN}',
    "a text": '{"step": 2, "train/loss": "low"}',
    "a nested loss": '{"step": 2, "train/loss": {"a": 1}}',
    "a health of numbers": '{"step": 2, "health": 3}',
    "a name of a kilobyte": '{"step": 2, "%s": 1}' % ("x" * 1000),
    "a name that clears the screen": '{"step": 2, "train/\\u001b[2J": 1}',
    "half a pair of letters": '{"step": 2, "train/\\ud800": 1}',
    "more columns than any run has": json.dumps(
        {"step": 2, **{f"train/{n}": n for n in range(10_001)}}
    ),
    "nesting without end": "[" * 100_000,
    "half a row": '{"step": 2, "train/lo',
    "no object": "[1, 2]",
    "nothing": "\0\0\0\0",
}


@pytest.mark.parametrize("name", JUNK)
def test_a_row_that_no_run_writes_is_left_out_and_the_others_are_read(name, tmp_path):
    rows = [{"step": step, "epoch": 0.5, "train/loss": None} for step in (1, 3)]
    first, last = map(json.dumps, rows)
    (tmp_path / "metrics.jsonl").write_text(f"{first}\n{JUNK[name]}\n{last}\n")
    assert read_rows(tmp_path) == rows
    assert last_row(tmp_path) == rows[1]
    assert rewind(tmp_path, 3) == 1
    assert (tmp_path / "metrics.jsonl").read_text() == f"{first}\n{last}\n"


def test_of_very_many_rows_some_are_read_and_every_evaluation(tmp_path):
    rows = [{"step": step, "train/loss": 1.0} for step in range(1, 1004)]
    rows[501]["validation/loss"] = 2.0
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    steps = [row["step"] for row in read_rows(tmp_path, most=100)]
    assert steps == sorted({*range(1, 1004, 10), 502, 1003})


def test_what_is_not_a_plain_file_has_no_rows(tmp_path):
    (tmp_path / "metrics.jsonl").mkdir()
    assert read_rows(tmp_path) == []
    assert last_row(tmp_path) == {}


def test_a_log_with_a_thousand_metrics_is_not_drawn_as_a_thousand_panels():
    row = {f"train/{number}": number for number in range(1000)}
    row |= {f"train/{player}/loss": 1.0 for player in range(1000)}
    drawn = panels(collect([{"step": 1, **row}]))
    assert len(drawn) == MOST_PANELS
    assert len(drawn["loss"]) == MOST_LINES
