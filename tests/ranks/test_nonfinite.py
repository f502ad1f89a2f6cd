"""NaN in the rows of one rank: all ranks decide the same, as one process would."""

import json

import pytest
import torch
from harness import tensors_digest
from worlds import begin, lead

from trainwright.data.batches import Batches
from trainwright.run.ranks.follow import follow

TYPED = (
    "data=digits", "data.limit=300", "model=cnn", "model.channels=[4]", "model.norm=batch",
    "trainer.epochs=null", "trainer.steps=12", "trainer.save_every=4", "trainer.evaluate_every=6",
    "trainer.log_every=1", "trainer.plots=false",
)  # fmt: skip
WRONG = 6  # the step whose batch has a NaN


def with_nan(work, times=1):
    """`work`, in a process in which the batch of one step has a NaN, so many times."""
    seen = []

    def call(*given):
        plain = Batches.at

        def at(self, step):
            batch = plain(self, step)
            if step == WRONG and len(seen) < times:
                seen.append(step)
                batch["inputs"][0].fill_(torch.nan)
            return batch

        Batches.at = at
        return work(*given)

    return call


def train(composed, folder, policy, *typed, on_two):
    leader = lead(composed, folder, *TYPED, f"trainer.on_nonfinite={policy}", *typed)
    if on_two:  # the rows of the rank that follows
        children = begin(2, folder.with_suffix(".txt"), leader, with_nan(follow))
    else:
        children = begin(1, folder.with_suffix(".txt"), with_nan(leader))
    codes, text = [child.wait() for child in children], "".join(child.text for child in children)
    return codes, text, json.loads((folder / "summary.json").read_text())


def test_all_ranks_stop_where_one_has_nan(composed, tmp_path):
    codes, text, summary = train(composed, tmp_path / "run", "stop", on_two=True)
    assert codes[0] == 5, text
    assert f"player 'model' got NaN or infinity in step {WRONG + 1}" in summary["error"]
    assert "last good checkpoint" in summary["error"]


@pytest.mark.numeric
@pytest.mark.usefixtures("doubles")
@pytest.mark.parametrize("policy", ["skip", "rollback"])
def test_two_ranks_skip_or_go_back_as_one_process_does(composed, tmp_path, policy):
    ended = {}
    sharded = ("trainer.shard=true",)
    for name, typed in {"one": (), "two": (), "again": (), "sharded": sharded}.items():
        folder = tmp_path / name
        codes, text, summary = train(composed, folder, policy, *typed, on_two=name != "one")
        assert set(codes) == {0}, text
        assert summary["step"] == 12
        ended[name] = summary["last"]["metrics"]
    assert ended["two"] == pytest.approx(ended["one"], rel=1e-9)
    assert ended["sharded"] == pytest.approx(ended["one"], rel=1e-9)
    two, again = (
        tensors_digest(tmp_path / name / "checkpoints" / "last.safetensors")
        for name in ("two", "again")
    )
    assert two == again
