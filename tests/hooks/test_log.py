import json

import torch

from trainwright.engine.state import Evaluation
from trainwright.hooks.log import Log

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
