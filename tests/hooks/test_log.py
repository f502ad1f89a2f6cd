import json

import torch

from trainwright.engine.state import Evaluation
from trainwright.hooks.log import Log, read_rows, rewind

SMALL = ("data.limit=50", "trainer.batch_size=5")


def test_a_row_holds_the_step_its_metrics_and_rates_and_null_for_what_is_no_number(
    assembled, tmp_path
):
    state = assembled(
        "model=mlp_gan",
        "task.score=none",
        "optimizer.lr=5e-4",
        "optimizer.players.generator.lr=2e-4",
        *SMALL,
    ).state
    log = Log(tmp_path / "metrics.jsonl", every=2, evaluate_every=5)
    assert [step for step in range(1, 12) if log.due(step, 11)] == [2, 4, 5, 6, 8, 10, 11]
    state.step, state.last = 5, Evaluation(4, {"accuracy": 0.5})
    state.means.add({"loss": torch.tensor(float("nan")), "grad_norm": torch.tensor(float("inf"))})
    log(state, {})
    state.step, state.last = 10, Evaluation(10, {"accuracy": 0.75})
    state.means.add({"loss": torch.tensor(0.1)})
    log(state, {})
    rates = {"lr/discriminator": 5e-4, "lr/generator": 2e-4}
    text = (tmp_path / "metrics.jsonl").read_text()
    assert [json.loads(line, parse_constant=None) for line in text.splitlines()] == [
        {"step": 5, "epoch": 0.5, "train/loss": None, "train/grad_norm": None, **rates},
        {"step": 10, "epoch": 1.0, "train/loss": 0.1, **rates, "validation/accuracy": 0.75},
    ]
    assert "NaN" not in text
    assert "Infinity" not in text


def test_rewinding_drops_what_comes_after_the_step_and_what_is_torn(tmp_path):
    path = tmp_path / "metrics.jsonl"
    lines = [json.dumps({"step": step, "train/loss": 1 / step}) for step in range(1, 8)]
    path.write_text("\n".join(lines) + '\n{"step": 8, "trai')
    assert [row["step"] for row in read_rows(path)] == list(range(1, 8))
    rewind(path, 5)
    assert path.read_text() == "\n".join(lines[:5]) + "\n"
    assert list(tmp_path.iterdir()) == [path]
    rewind(path, 0)
    assert path.read_text() == ""
    assert read_rows(tmp_path / "none.jsonl") == []


def test_a_damaged_line_costs_itself_and_no_other(tmp_path):
    path = tmp_path / "metrics.jsonl"
    lines = [json.dumps({"step": step, "train/loss": 1 / step}) for step in range(1, 8)]
    damaged = [*lines]
    for number, line in enumerate(
        ["[]", '{"step": "2"}', '{"step": 3, "train/loss": []}', '{"step": 4, "health": 1}']
    ):
        damaged[number + 1] = line
    path.write_bytes("\n".join(damaged).encode() + b"\n\xff" + b"[" * 100_000)
    assert [row["step"] for row in read_rows(path)] == [1, 6, 7]
    assert rewind(path, 6) == 4
    assert path.read_text() == f"{lines[0]}\n{lines[5]}\n"
    assert rewind(path, 6) == 0
