"""What ranks exchange: sums of gradients as the backward pass makes them, messages, signals."""

import json
import os
import signal

import pytest
import torch
from torch import nn
from worlds import begin, lead, train_on

from trainwright.engine.ranks.batchnorm import normalise_over_ranks
from trainwright.engine.ranks.world import World
from trainwright.run.ranks.follow import follow

SMALL = ("data=digits", "data.limit=300", "model=mlp", "model.widths=[8]", "trainer.epochs=null")


def ended(children):
    codes = [child.wait() for child in children]
    return codes, "\n".join(child.text for child in children)


def test_every_row_of_a_batch_has_one_rank_and_every_part_its_share():
    worlds = [World() for _ in range(3)]
    for rank, world in enumerate(worlds):
        world.rank, world.size = rank, 3
    rows = [world.rows(20, 2).tolist() for world in worlds]
    assert rows == [[0, 3, 6, 9, 10, 13, 16, 19], [1, 4, 7, 11, 14, 17], [2, 5, 8, 12, 15, 18]]
    assert World().rows(20, 2) is None


def test_messages_bring_any_tensors_and_plain_values(tmp_path):
    told = {"a": torch.arange(3), "empty": torch.empty(0, 2), "half": torch.ones(2, 2).bfloat16()}

    def speak(world):
        world.tell("look", {"at": [1, None]}, told)
        for rank, message in enumerate(world.answers(), start=1):
            assert message.plain == rank
            assert torch.equal(message.tensors["twice"], 2 * told["a"])

    def listen(world):
        message = world.hear()
        assert (message.what, message.plain) == ("look", {"at": [1, None]})
        assert message.tensors.keys() == told.keys()
        for name, value in told.items():
            assert torch.equal(message.tensors[name], value)
        world.answer(world.rank, {"twice": 2 * message.tensors["a"]})

    codes, text = ended(begin(3, tmp_path / "out", speak, listen))
    assert codes == [0, 0, 0], text


@pytest.mark.numeric
@pytest.mark.usefixtures("doubles")
def test_batch_normalisation_over_ranks_has_the_values_and_both_derivatives_of_torchs(tmp_path):
    inputs = torch.randn(7, 3, 4, 4, generator=torch.Generator().manual_seed(1)) * 2 + 1

    def penalised(layer, part, whole):
        """A loss of its own and of the squared gradient of another, in both over all examples."""
        part = part.clone().requires_grad_()
        outputs = layer(part)
        (slope,) = torch.autograd.grad((outputs**3).sum() / whole, part, create_graph=True)
        loss = (outputs**4).sum() / whole + slope.square().sum()
        return torch.autograd.grad(loss, [part, *layer.parameters()])

    torch_layer = nn.BatchNorm2d(3)
    of_inputs, *of_weights = penalised(torch_layer, inputs, 7)

    def compare(world):
        layer = nn.Sequential(nn.BatchNorm2d(3))
        normalise_over_ranks(layer)
        own, *weights = penalised(layer, inputs[world.rank :: world.size], 7)
        torch.testing.assert_close(own, of_inputs[world.rank :: world.size], rtol=0, atol=1e-11)
        torch.testing.assert_close(layer[0].running_mean, torch_layer.running_mean)
        torch.testing.assert_close(layer[0].running_var, torch_layer.running_var)
        return [world.answer(None, {"weight": weights[0]})] if world.rank else weights

    def compare_and_add(world):
        weights = compare(world)
        total = weights[0] + sum(message.tensors["weight"] for message in world.answers())
        torch.testing.assert_close(total, of_weights[0], rtol=0, atol=1e-11)

    codes, text = ended(begin(3, tmp_path / "out", compare_and_add, compare))
    assert codes == [0, 0, 0], text


def test_a_signal_to_a_rank_that_follows_stops_all_after_one_step(composed, tmp_path):
    folder = tmp_path / "run"
    typed = (*SMALL, "trainer.steps=100000", "trainer.log_every=5", "trainer.evaluate_every=0")
    children = begin(2, tmp_path / "out", lead(composed, folder, *typed))
    while not (folder / "metrics.jsonl").exists() and not children[0].ended():
        os.sched_yield()
    children[1].signal(signal.SIGTERM)
    codes, text = ended(children)
    assert codes == [128 + signal.SIGTERM, 0], text
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["status"] == "stopped"
    assert summary["stopped_because"] == "SIGTERM"
    assert 0 < summary["step"] < 100000


def test_a_run_that_goes_on_with_another_number_of_ranks_says_so(composed, resume, tmp_path):
    folder = tmp_path / "run"
    train_on(2, composed, folder, *SMALL, "trainer.steps=4")
    resume(folder, "trainer.steps=6", "trainer.schedule_until=100%")
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["step"] == 6
    assert "ranks 2 -> 1" in summary["resumed"][-1]["not_exact"]


def test_a_rank_that_finds_other_data_is_named_before_anything_is_written(
    composed, own_rows, tmp_path, monkeypatch
):
    def other(world):
        monkeypatch.setenv("WHICH_ROWS", "1")
        follow(world)

    folder = tmp_path / "run"
    leader = lead(composed, folder, own_rows, "model=mlp", "trainer.steps=4")
    codes, text = ended(begin(2, tmp_path / "out", leader, other))
    assert codes[0] == 3
    assert "rank 1 finds other data than rank 0" in text
    assert not folder.exists()
