"""A run whose weights are shared out over its ranks is the run that it would be without that."""

import json
import shutil
import subprocess
import sys

import pytest
import torch
from harness import tensors_digest
from torch import nn
from worlds import SMALL, assert_same_run, begin, lead_again, train_on

from trainwright.config.plan import Plan
from trainwright.engine.checkpoint.tensor_file import known
from trainwright.engine.optim.muon import Muon
from trainwright.engine.optim.player_optimizer import PlayerOptimizer
from trainwright.engine.ranks import shards
from trainwright.engine.ranks.shards import Shards, blocks
from trainwright.engine.ranks.world import World, held
from trainwright.engine.settings import TrainerSettings
from trainwright.errors import ConfigError
from trainwright.run.assemble.shares import check_by_itself, shard, share_among
from trainwright.tasks.task import Task

SHARD = "trainer.shard=true"
DIGITS = ("data=digits", "data.limit=300", "trainer.steps=6", "trainer.evaluate_every=3")
MLP = (*DIGITS, "model=mlp", "model.widths=[17, 5]", "optimizer=adamw", "trainer.save_every=3")
UNEVEN = (
    *MLP, "trainer.batch_size=28", "trainer.accumulate=4", "trainer.clip_norm=0.1",
    "trainer.ema=0.9", "optimizer.l1=0.001",
)  # fmt: skip
CASES = {
    "a network of blocks, normalised over all ranks": (
        *DIGITS, "model=resnet", "model.width=4", "model.blocks_per_stage=2", "optimizer=sgd",
        "trainer.batch_size=20",
    ),
    "a decoder with tied weights": (
        "data=texts", "model=gpt", "model.depth=2", "model.width=16", "model.heads=2",
        "model.tied=true", "trainer.tokens=null", "task.sample_tokens=1", "optimizer=adamw",
        "trainer.steps=4", "trainer.evaluate_every=2", "trainer.batch_size=14",
    ),
}  # fmt: skip


def compare(composed, folder, sizes, *typed):
    folders = [folder / str(size) for size in (1, *sizes)]
    steps = [train_on(1, composed, folders[0], *SMALL, *typed)]
    for size, other in zip(sizes, folders[1:], strict=True):
        steps.append(train_on(size, composed, other, *SMALL, *typed, SHARD))
    assert_same_run(folders, steps)


def ended(children):
    assert [child.wait() for child in children] == [0] * len(children), children[0].text


def digest(folder):
    return tensors_digest(folder / "checkpoints" / "last.safetensors")


@pytest.mark.numeric
@pytest.mark.usefixtures("doubles")
def test_a_sharded_run_has_the_numbers_of_one_process(composed, tmp_path):
    compare(composed, tmp_path, (3,), *UNEVEN)


@pytest.mark.slow
@pytest.mark.numeric
@pytest.mark.usefixtures("doubles", "own_rows")
@pytest.mark.parametrize("case", CASES)
def test_networks_of_blocks_have_the_numbers_of_one_process(composed, tmp_path, case, monkeypatch):
    monkeypatch.setattr(shards, "SMALLEST_BLOCK", 1)
    compare(composed, tmp_path, (2, 3), *CASES[case])


@pytest.mark.numeric
@pytest.mark.usefixtures("doubles")
def test_a_sharded_run_goes_on_to_the_bit_and_on_other_ranks_up_to_rounding(
    composed, resume, tmp_path
):
    whole, again, alone = (tmp_path / name for name in ("whole", "again", "alone"))
    train_on(2, composed, whole, *SMALL, *UNEVEN, SHARD)
    for folder in (again, alone):
        shutil.copytree(whole, folder)
    ended(
        begin(2, tmp_path / "out", lead_again(composed, again / "checkpoints/previous.safetensors"))
    )
    assert digest(again) == digest(whole)
    resume(alone / "checkpoints/previous.safetensors")
    (summary,) = json.loads((alone / "summary.json").read_text())["resumed"]
    assert any("ranks 2 -> 1" in line for line in summary["not_exact"])
    assert_same_run([whole, alone], [[], []])
    assert digest(alone) != digest(whole)  # to the bit it is another order of sums


class OneLayer(Task):
    """A task with one network, of which nothing is asked but its weights."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    @property
    def players(self):
        return {"model": self.model}

    def forward(self, player, batch, carry):
        raise NotImplementedError

    evaluate = metrics = forward


def test_a_rank_holds_its_part_and_a_checkpoint_is_put_together_tensor_by_tensor(tmp_path):
    def parts(world):
        torch.manual_seed(0)
        task = OneLayer(nn.Linear(4, 5))
        expected = {f"task.{k}": v.clone() for k, v in task.state_dict().items()}
        mine = Shards(world, task, None)
        assert [len(held(p)) for p in task.parameters()] == [3 - world.rank] * 2  # of 5 rows
        named = {f"task.{k}": v for k, v in task.state_dict().items()}
        return mine, named, expected

    def speak(world):
        mine, named, expected = parts(world)
        gathered = mine.gathered(named)
        assert {n: t.device.type for n, t in known(gathered).items()} == dict.fromkeys(
            named, "meta"
        )
        for name, value in gathered.items():
            assert torch.equal(value, expected[name])

    def listen(world):
        _, named, _ = parts(world)
        asked = []
        for _ in named:
            message = world.hear()
            assert message.what == "gather"
            asked.append(message.plain)
            named[message.plain].full_tensor()
        assert asked == list(named)

    ended(begin(2, tmp_path / "out", speak, listen))


def test_blocks_are_what_a_network_repeats_if_they_are_not_small(monkeypatch):
    def block():
        return nn.Sequential(nn.Linear(2, 2), nn.ReLU())

    first, *rest = (block() for _ in range(3))
    assert blocks(nn.Sequential(first, *rest)) == []
    monkeypatch.setattr(shards, "SMALLEST_BLOCK", 1)
    network = nn.Sequential(nn.Linear(2, 2), nn.ModuleList([first, *rest]), nn.Linear(2, 2))
    assert set(blocks(network)) == {first, *rest}
    assert set(blocks(nn.Sequential(network[1], nn.ModuleList([block()])))) == {first, *rest}
    network[2].weight = first[0].weight  # it is no longer of the block alone
    assert set(blocks(network)) == set(rest)
    assert blocks(nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))) == []


def two():
    world = World()
    world.size = 2
    return world


@pytest.mark.parametrize(
    ("refuse", "said"),
    [
        (
            lambda: share_among(World(), TrainerSettings(shard=True), OneLayer(nn.Linear(2, 2))),
            "one process has nobody to share the weights with",
        ),
        (
            lambda: shard(two(), TrainerSettings(shard=True), Pair(), None),
            "tasks with one network, and this has 2: a, b",
        ),
        (
            lambda: shard(two(), TrainerSettings(shard=True), OneLayer(Scaled()), None),
            "model.scale is one number, which has no parts",
        ),
        (lambda: check_by_itself({"model": moved_by_muon()}), "Muon may need whole matrices"),
    ],
)
def test_what_cannot_be_sharded_is_refused_in_words(refuse, said):
    with pytest.raises(ConfigError, match=said):
        refuse()


class Pair(OneLayer):
    """A task with two networks."""

    def __init__(self):
        super().__init__(nn.Linear(2, 2))

    @property
    def players(self):
        return {"a": nn.Linear(2, 2), "b": nn.Linear(2, 2)}


class Scaled(nn.Module):
    """A network with a weight that is a single number."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(1.0))


def moved_by_muon():
    layer = nn.Linear(2, 2, bias=False)
    return PlayerOptimizer(layer, [Muon(layer.parameters())], l1=0.0)


@pytest.mark.parametrize(
    "typed",
    ["trainer.compile=true", "trainer.privacy.epsilon=3", "trainer.devices=1",
     "trainer.cuda_graph=on"],
)  # fmt: skip
def test_settings_that_do_not_go_with_shards_are_refused_together(composed, typed):
    with pytest.raises(ConfigError, match="does not go with trainer\\.shard=true"):
        Plan.of(composed("data=digits", "model=mlp", SHARD, typed))


def test_clients_of_a_federation_are_not_sharded(composed):
    with pytest.raises(ConfigError, match="does not go with trainer=federated"):
        Plan.of(composed("data=digits", "model=mlp", "trainer=federated", "trainer.shard=true"))


def test_ranks_that_share_no_weights_out_import_nothing_for_it():
    """It takes each of them 1.8 s of processor time, also when a run is started again."""
    program = (
        "import sys, trainwright.run.ranks.follow; print('torch.distributed.fsdp' in sys.modules)"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
