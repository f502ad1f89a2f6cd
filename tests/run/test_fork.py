"""A run that begins with another's weights, beside fine-tuning that is written by hand."""

import json
import shutil

import pytest
import torch
from omegaconf import OmegaConf
from rounding import rounding
from safetensors import safe_open
from torch import nn

from trainwright.config.plan import Plan
from trainwright.data.dataset import DataInfo, Dataset
from trainwright.data.splits import split_of
from trainwright.engine.checkpoint import checkpoint
from trainwright.engine.settings import ForkSettings
from trainwright.engine.trainer import fit
from trainwright.errors import CheckpointError, ConfigError
from trainwright.hooks.evaluate import Evaluate
from trainwright.inference.trained import load_trained
from trainwright.run.assemble.assemble import assemble
from trainwright.run.fork.fork import Fork
from trainwright.run.fork.lineage import Lineage
from trainwright.run.records import facts
from trainwright.run.request import Request
from trainwright.run.run import run

SMOKE = ("data=digits", "trainer=smoke", "trainer.ema=null", "schedule=constant")
MLP = (*SMOKE, "model=mlp", "model.widths=[16,12]", "model.norm=batch", "trainer.precision=fp32")
GAN = (
    *SMOKE, "model=mlp_gan", "trainer.ema=0.5", "model.spectral_norm=true",
    "model.generator_widths=[8]", "model.discriminator_widths=[8]",
)  # fmt: skip
STEPS = 5


def tensors_of(folder, which="last"):
    return checkpoint.load(folder / "checkpoints" / f"{which}.safetensors")[0]


def fitted(config, dataset=None):
    """Train without a folder, with an evaluation after every step; the tensors of a checkpoint."""
    assembly = assemble(Plan.of(config), dataset=dataset)
    validation = assembly.make_batches(assembly.dataset.validation)
    fit(
        assembly.state,
        assembly.train,
        [Evaluate(validation, every=1, batch_size=100)],
        assembly.settings,
    )
    return assembly, checkpoint.state_tensors(assembly.state)


def trained(composed, folder, *overrides):
    """A run folder with nothing but the best checkpoint, as a run writes it."""
    config = composed(*overrides)
    assembly, tensors = fitted(config)
    metadata = {**facts(Plan.of(config, name=folder.name), assembly), "hooks": {}}
    metadata["progress"] = checkpoint.progress_metadata(assembly.state)
    (folder / "checkpoints").mkdir(parents=True)
    checkpoint.save([folder / "checkpoints" / "best.safetensors"], tensors, metadata)
    return folder


@pytest.fixture(scope="module")
def parent(composed, tmp_path_factory):
    """An MLP that knows the ten digits a little."""
    return trained(composed, tmp_path_factory.mktemp("mlp") / "parent", *MLP, "trainer.steps=9")


@pytest.fixture(scope="module")
def gan(composed, tmp_path_factory):
    return trained(composed, tmp_path_factory.mktemp("gan") / "gan", *GAN)


@pytest.fixture
def forked(composed):
    """The config of a fork, as `runs fork` makes it."""

    def make(parent, *overrides, **fork):
        path = parent / "checkpoints" / "best.safetensors"
        with safe_open(path, framework="pt") as file:
            sha256 = file.metadata()["sha256"]
        config = composed(*overrides)
        OmegaConf.update(
            config, "fork", {"checkpoint": str(path), "sha256": sha256, **fork}, force_add=True
        )
        return config

    return make


@pytest.fixture(scope="module")
def few_classes(assembled):
    """The digits 0 to 3 alone, in other shades: other facts, and four classes."""
    digits = assembled(*MLP).dataset

    def some(split):
        kept = split.columns["targets"] < 4
        return split_of(split.columns["inputs"][kept] // 2, split.columns["targets"][kept])

    def named(*names):
        info = DataInfo.of_one_input(
            "few", digits.info.input_shape, "classes", names, (0.1,), (0.2,)
        )
        return Dataset(info, some(digits.train), some(digits.validation), some(digits.test))

    return named


def test_a_shortcut_begins_as_the_flow_that_it_is_forked_from(composed, forked, tmp_path):
    flow = (*SMOKE, "model=mlp_flow", "model.widths=[8]", "task.score=none")
    parent = trained(composed, tmp_path / "flow", *flow)
    assembly = assemble(Plan.of(forked(parent, *flow, "task=shortcut")))
    mine = {f"task.{name}": value for name, value in assembly.state.task.state_dict().items()}
    steps = mine.pop("task.model.by_step.weight")
    assert not steps.any()
    theirs = tensors_of(parent, "best")
    assert {name for name in theirs if name.startswith("task.")} == mine.keys()
    assert all(torch.equal(value, theirs[name]) for name, value in mine.items())
    assert [(p.what, p.layers) for p in assembly.lineage.parts if "anew" in p.what] == [
        ("begins anew", "by_step")
    ]


def by_hand(start, batches, *, lr, old_lr):
    """Fine-tune the MLP in plain torch: its first linear layer and normalisation stay as they are.

    Returns its weights after STEPS steps of SGD with momentum.
    """
    net = nn.Sequential(
        nn.Flatten(),
        nn.Linear(64, 16, bias=False), nn.BatchNorm1d(16), nn.ReLU(),
        nn.Linear(16, 12, bias=False), nn.BatchNorm1d(12), nn.ReLU(),
        nn.Linear(12, 4),
    )  # fmt: skip
    net.load_state_dict(start)
    old, new = [*net[4].parameters(), *net[5].parameters()], list(net[7].parameters())
    groups = [{"params": old, "lr": lr * old_lr}, {"params": new}]
    optimizer = torch.optim.SGD(groups, lr=lr, momentum=0.9, nesterov=True)
    net.train()
    net[2].eval()
    for step in range(STEPS):
        batch = batches.at(step)
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(batch["inputs"]), batch["targets"]).backward()
        optimizer.step()
    return net.state_dict()


def test_a_fork_is_fine_tuning_written_by_hand(parent, forked, few_classes):
    config = forked(
        parent, *MLP, "optimizer=sgd", "optimizer.lr=0.05", f"trainer.steps={STEPS}",
        freeze=["layers.1", "layers.2"], old_lr=0.1,
    )  # fmt: skip
    dataset = few_classes("zero", "one", "two", "three")
    begun = assemble(Plan.of(config), dataset=dataset)
    start = {k: v.clone() for k, v in begun.state.task.state_dict().items()}
    theirs = tensors_of(parent, "best")
    for name, tensor in start.items():
        is_theirs = torch.equal(tensor, theirs[f"task.{name}"])
        assert is_theirs == ("layers.7" not in name), name

    _, found = fitted(config, dataset)
    start = {name.removeprefix("model.layers."): tensor for name, tensor in start.items()}
    for name, tensor in by_hand(start, begun.train, lr=0.05, old_lr=0.1).items():
        mine = found[f"task.model.layers.{name}"]
        # A step moves a weight by sums over a batch of sums of up to 64 products.
        atol = rounding(torch.float32, STEPS * (64 + config.trainer.batch_size))
        torch.testing.assert_close(mine, tensor, rtol=0, atol=atol, msg=name)
    frozen = [n for n in found if n.startswith(("task.model.layers.1.", "task.model.layers.2."))]
    assert len(frozen) == 6
    assert all(torch.equal(found[name], theirs[name]) for name in frozen)
    remembered = {name.split(".")[3] for name in found if name.startswith("optimizer.model.")}
    assert remembered == {"4", "5", "7"}


def test_it_computes_what_the_run_computed_whatever_it_is_shown(parent, forked, few_classes):
    """The same classes: not one number begins anew, nor does the normalisation."""
    names = tuple("0123456789")
    config = forked(parent, *MLP)
    task = assemble(Plan.of(config), dataset=few_classes(*names)).state.task.eval()
    trained = load_trained(parent / "checkpoints" / "best.safetensors").task
    inputs = torch.randn(5, 1, 8, 8)
    assert torch.equal(task.model(inputs), trained.model(inputs))
    assert task.columns == trained.columns


def test_as_many_other_classes_begin_anew(parent, forked, few_classes):
    begun = assemble(Plan.of(forked(parent, *MLP)), dataset=few_classes(*"abcdefghij"))
    assert {part.what: part.layers for part in begun.lineage.parts} == {
        "taken": "layers.1, layers.2, layers.4, layers.5",
        "begins anew": "layers.7",
    }


@pytest.mark.slow
def test_it_goes_on_to_the_same_bit_without_the_run_that_it_began_with(
    parent, forked, resume, tmp_path
):
    copy = shutil.copytree(parent, tmp_path / "copy")
    for name, steps in (("whole", 6), ("cut", 4)):
        config = forked(
            copy, *MLP, "seed=4", f"trainer.steps={steps}", f"run.dir={tmp_path / name}",
            freeze=["layers.1", "layers.2"], old_lr=0.5,
        )  # fmt: skip
        run(Request(Plan.of(config, name="fork")))
    shutil.rmtree(copy)
    resume(tmp_path / "cut", "trainer.steps=6")
    whole, cut = tensors_of(tmp_path / "whole"), tensors_of(tmp_path / "cut")
    assert whole.keys() == cut.keys()
    assert [name for name in whole if not torch.equal(whole[name], cut[name])] == []
    summaries = [json.loads((tmp_path / n / "summary.json").read_text()) for n in ("whole", "cut")]
    assert summaries[0]["lineage"] == summaries[1]["lineage"]
    assert summaries[0]["lineage"]["name"] == "parent"


@pytest.mark.parametrize(("columns", "is_kept"), [(("a", "b"), True), (("b", "a"), False)])
def test_other_columns_are_normalised_their_own_way(columns, is_kept):
    """Mean and standard deviation belong to a column, not to its place."""
    facts, info = (
        DataInfo.of_one_input("table", (2,), "classes", ("x", "y"), mean, std, feature_names=names)
        for mean, std, names in (
            ((1.0, 20.0), (1.0, 9.0), ("a", "b")),
            ((5.0, 6.0), (7.0, 8.0), columns),
        )
    )
    nothing = split_of(torch.zeros(0, 2), torch.zeros(0))
    dataset = Dataset(info, nothing, nothing, nothing)
    lineage = Lineage("parent", 1, "parent.safetensors", "0", averaged=False)
    found = Fork(ForkSettings("parent.safetensors", "0"), facts, lineage, None).normalised(dataset)
    assert found.info.input.mean == ((1.0, 20.0) if is_kept else (5.0, 6.0))
    assert found.info.input.std == ((1.0, 9.0) if is_kept else (7.0, 8.0))


def test_a_gan_of_other_classes_takes_all_but_what_names_them(gan, forked, few_classes):
    config = forked(gan, *GAN, freeze=["discriminator.body", "generator.stem"])
    assembly, mine = fitted(config, few_classes("zero", "one", "two", "three"))
    assert {part.what: part.layers for part in assembly.lineage.parts} == {
        "taken, frozen": "discriminator.body, generator.stem",
        "taken": "discriminator.head, generator.body",
        "begins anew": "discriminator.projection, generator.modulation",
        "left behind": "discriminator.projection, generator.modulation",
    }
    assert assembly.lineage.averaged
    theirs = tensors_of(gan, "best")
    averaged = {n.removeprefix("averaged.generator."): t for n, t in theirs.items()}
    for name, tensor in mine.items():
        if name.startswith("task.model.generator.stem."):
            assert torch.equal(tensor, averaged[name.removeprefix("task.model.generator.")]), name
        if name.startswith("task.model.discriminator.body."):  # its power iteration too
            assert torch.equal(tensor, theirs[name]), name
    assert any("body" in name and name.endswith("_u") for name in mine)


@pytest.mark.slow
def test_the_judge_of_a_fork_is_that_of_its_data(gan, forked, composed, few_classes):
    """Though the fork is normalised as the run that it began with, from other data."""
    dataset = few_classes("zero", "one", "two", "three")
    settings = (*GAN, "trainer.score_samples=500")
    judge = assemble(Plan.of(composed(*settings)), dataset=dataset).judge
    fork = assemble(Plan.of(forked(gan, *settings)), dataset=dataset)
    assert fork.dataset.info.input.mean != dataset.info.input.mean
    assert fork.judge.name == judge.name
    shown = dataset.validation.columns["inputs"][:20]
    assert torch.equal(fork.judge.look(shown).features, judge.look(shown).features)


@pytest.mark.parametrize(
    ("fork", "overrides", "told"),
    [
        ({"freeze": ["layer.1"]}, (), "freeze=layer.1: no layer has such a name"),
        ({"freeze": ["layers"]}, (), "nothing of model is left to learn"),
        ({"freeze": ["layers.[124]"], "old_lr": 2}, (), "fork.old_lr=2"),
        ({"freeze": ["layers.1"]}, ("model.widths=[9,12]",), "layers.1.weight begins anew"),
        ({}, ("model=cnn",), "no layer of parent fits"),
    ],
)
def test_what_cannot_be_forked_is_refused_before_a_folder_is_made(
    fork, overrides, told, parent, forked, tmp_path
):
    folder = tmp_path / "fork"
    plain = [o for o in MLP if not (overrides == ("model=cnn",) and o.startswith("model"))]
    config = forked(parent, *plain, *overrides, f"run.dir={folder}", **fork)
    with pytest.raises(ConfigError) as refused:
        run(Request(Plan.of(config, name="fork")))
    assert told in str(refused.value)
    assert len(str(refused.value).splitlines()) <= 5
    assert not folder.exists()


def test_old_lr_without_effect_is_refused(parent, forked, few_classes):
    frozen = ["layers.1", "layers.2", "layers.4", "layers.5"]
    config = forked(parent, *MLP, freeze=frozen, old_lr=0.1)
    with pytest.raises(ConfigError, match="no effect: all that was taken is frozen"):
        assemble(Plan.of(config), dataset=few_classes("zero", "one", "two", "three"))


def test_another_checkpoint_in_its_place_is_refused(parent, forked):
    config = forked(parent, *MLP)
    config.fork.sha256 = "0" * 64
    with pytest.raises(CheckpointError, match="is no longer the checkpoint"):
        assemble(Plan.of(config))
    config.fork.checkpoint += "x"
    with pytest.raises(CheckpointError, match="is not there"):
        assemble(Plan.of(config))


def test_a_stored_fork_that_does_not_say_what_it_took_reads_no_other_file(parent, forked):
    """A checkpoint may come from anyone: what it names as the run it began with is not opened."""
    config = forked(parent, *MLP)
    config.fork.checkpoint = "/dev/zero"
    metadata = checkpoint.load(parent / "checkpoints" / "best.safetensors")[1]
    with pytest.raises(CheckpointError, match="does not say what its run began with"):
        assemble(Plan.of(config), again=metadata)
