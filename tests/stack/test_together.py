"""Runs that make their steps together, against the same runs one by one."""

import functools
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf
from rounding import as_exact

from trainwright.config.plan import Plan
from trainwright.data.dataset import Dataset
from trainwright.data.splits import split_arrays
from trainwright.data.stacked import StackedBatches
from trainwright.engine.checkpoint.checkpoint import state_tensors
from trainwright.engine.step import Move
from trainwright.engine.trainer import fit, fitting
from trainwright.errors import NonFiniteError
from trainwright.run.assemble.assemble import assemble
from trainwright.stack.measure import gain
from trainwright.stack.step import Stack
from trainwright.stack.together import together
from trainwright.tasks.classifier import Classifier

pytestmark = pytest.mark.numeric
SHORT = ("trainer.steps=12", "trainer.batch_size=16", "trainer.precision=fp32")
MLP = (*SHORT, "model.widths=[16]")
SLOW = ("optimizer=sgd", "optimizer.lr=1e-3")
GAN = (*SHORT, "model=mlp_gan", "model.generator_norm=null", "trainer.score_samples=0")

# What the members of a stack have in common, and what each has for itself.
CASES = {
    "adam": (MLP, [["seed=1"], ["seed=2"], ["seed=1", "optimizer.lr=3e-3"]]),
    "adam, other numbers": (
        (*MLP, "optimizer.weight_decay=0.1"),
        [["optimizer.betas=[0.8,0.9]"], ["optimizer.l1=1e-3"], ["optimizer.eps=1e-4"]],
    ),
    "adamw": ((*MLP, "optimizer=adamw"), [["seed=1"], ["optimizer.weight_decay=0.3"]]),
    "sgd": ((*MLP, "optimizer=sgd"), [["seed=1"], ["seed=2"], ["optimizer.momentum=0.5"]]),
    "rmsprop": ((*MLP, "optimizer=rmsprop"), [["seed=1"], ["seed=2"], ["optimizer.alpha=0.9"]]),
    "adagrad": ((*MLP, "optimizer=adagrad"), [["seed=1"], ["seed=2"], ["optimizer.lr=0.03"]]),
    "muon": ((*MLP, "optimizer=muon"), [["seed=1"], ["optimizer.lr=0.01"]]),
    "clipping": (MLP, [["trainer.clip_norm=0.3"], ["seed=1"], ["trainer.clip_norm=1"]]),
    "averages": (MLP, [["trainer.ema=0.9", "seed=1"], ["trainer.ema=0.5", "seed=2"]]),
    "dropout": (
        (*MLP, "model.dropout=0.4"),
        [["seed=1"], ["seed=2"], ["seed=2", "model.dropout=0.1"]],
    ),
    "label smoothing": (MLP, [["task.label_smoothing=0.2"], ["task.label_smoothing=0"]]),
    "augmented": ((*MLP, "data.augment={shift:1,rotate:10}"), [["seed=1"], ["seed=2"]]),
    "mixed": (
        (*MLP, "data.augment={mixup:0.2,cutmix:1,trivial:true}"),
        [["seed=1"], ["task.label_smoothing=0.2"], ["data.augment.mixup=1"]],
    ),
    "augmented each its own way": (
        MLP,
        [["data.augment.shift=1"], ["data.augment.rotate=10", "seed=2"], ["seed=3"]],
    ),
    "regression": (
        (*MLP, "data=diabetes", "task=regression", "model.activation=tanh"),
        [["seed=1"], ["seed=2"], ["optimizer.lr=1e-2"]],
    ),
    "multilabel": (
        (*MLP, "data=tabular", f"data._target_={__name__}.labelled", "task=multilabel"),
        [["seed=1"], ["seed=2"], ["optimizer.lr=1e-2"]],
    ),
    "class weights": (
        (*MLP, "data=tabular", "task.class_weights=balanced", "task.focal=2", "data.balance=true"),
        [["seed=1"], ["seed=2"], ["task.label_smoothing=0.2"]],
    ),
    "residual": (
        (*SHORT, "model=resnet_mlp", "model.width=8", "data=tabular", "optimizer=sgd"),
        [["seed=1"], ["seed=2"], ["model.dropout=0.3"]],
    ),
    "embedded numbers": (
        (*MLP, "data=tabular", "data.name=iris", "model.numbers=periodic", "model.embedding=4"),
        [["seed=1"], ["seed=2"], ["optimizer.lr=1e-2"]],
    ),
    "batch normalisation": (
        (*MLP, "data=diabetes", "task=regression", "model.norm=batch", "optimizer=sgd"),
        [["seed=1"], ["seed=2"]],
    ),
    "cnn": (
        (*SHORT, "model=cnn", "model.channels=[4,8]", "model.norm=batch", "optimizer=sgd"),
        [["seed=1"], ["seed=2"], ["optimizer.lr=0.01"]],
    ),
    "gan": (
        (*GAN, "task.r1=0", "task.relativistic=false"),
        [["seed=1"], ["seed=2"], ["optimizer.players.generator.lr=3e-3"]],
    ),
    "gan, critic steps": (
        (*GAN, "task.critic_steps=2", "task.loss=hinge", "task.top_k=0.5"),
        [["seed=1"], ["seed=2"]],
    ),
    "gan, r1": ((*GAN, *SLOW, "task.r1=1"), [["seed=1"], ["seed=2"]]),
    "gan, gradient penalty": (
        (*GAN, *SLOW, "task.loss=wasserstein_gp"),
        [["seed=1"], ["seed=2"], ["task.penalty_weight=1"]],
    ),
    "gan, weights": (
        (*GAN, *SLOW, "model.conditional=auxiliary", "task.r1_every=2"),
        [["task.r1=1"], ["task.r1=0.3"], ["task.r1=1", "task.auxiliary_weight=0.1"]],
    ),
    "gan, augmented, auxiliary": (
        (
            *(*GAN, *SLOW, "task.diff_augment=[color,translation,cutout]"),
            "model.conditional=auxiliary",
        ),
        [["seed=1"], ["seed=2"]],
    ),
    "convolutional gan": (
        (*(*SHORT, *SLOW, "model=gan", "model.width=4", "trainer.score_samples=0"),),
        [["seed=1"], ["seed=2"]],
    ),
    "resnet": (
        (
            *(*SHORT, "model=resnet", "model.blocks_per_stage=1", "model.width=4"),
            *("optimizer=sgd", "optimizer.lr=1e-2"),
        ),
        [["seed=1"], ["seed=2"]],
    ),
    "airbench": (
        (
            *(*SHORT, "model=airbench", "model.widths=[8]", "data.augment.flip=alternating"),
            *("optimizer=sgd", "optimizer.lr=1e-4"),
        ),
        [["seed=1"], ["seed=2"], ["optimizer.lr=3e-4"]],
    ),
    **{
        f"{name} schedule": (
            (*MLP, f"schedule={name}", "optimizer=sgd"),
            [["seed=1"], ["seed=2"], ["seed=3", "schedule.warmup=25%"]],
        )
        for name in ("constant", "cosine", "exponential", "linear", "one_cycle", "step")
    },
}


def labelled(
    *, name: str, validation: float, test: float, split_seed: int, limit: int | None, **_: Any
) -> Dataset:
    """Of four numbers, which are above 0."""
    rows = torch.randn(200, 4, generator=torch.Generator().manual_seed(0))
    sizes = {"validation": validation, "test": test, "limit": limit}
    return split_arrays(name, rows, (rows > 0).long(), split_seed=split_seed, **sizes)


QUICK = (
    *("adam", "dropout", "clipping", "batch normalisation"),
    *("gan", "gan, weights", "convolutional gan", "one_cycle schedule"),
)


@pytest.fixture(scope="session")
def members_of(composed):
    """Runs with something in common, and something each for itself, which share their data."""

    @functools.cache
    def base(common):
        config = composed(*common)
        return config, assemble(Plan.of(config)).dataset

    def make(common, own):
        config, dataset = base(common)
        configs = [OmegaConf.merge(config, OmegaConf.from_dotlist(member)) for member in own]
        return [assemble(Plan.of(c), dataset=dataset) for c in configs]

    return make


def alone(assembly):
    fit(assembly.state, assembly.train, [], assembly.settings)


def training(assembly, hooks=()):
    return fitting(assembly.state, assembly.train, hooks, assembly.settings)


def apart(assembly, other):
    """By how much the states of two runs differ at most, in units of 1 or of their own size."""
    mine, theirs = state_tensors(assembly.state), state_tensors(other.state)
    assert mine.keys() == theirs.keys()
    return max(
        float(((mine[k] - theirs[k]).abs() / theirs[k].abs().clamp(min=1)).max())
        for k in mine
        if mine[k].numel()
    )


def ended(assemblies, *, stacked=False):
    """The runs after all their steps: made together, or one by one."""
    if stacked:
        assert together([training(each) for each in assemblies]) == [None] * len(assemblies)
    else:
        for each in assemblies:
            alone(each)
    assert [each.state.step for each in assemblies] == [12] * len(assemblies)
    return assemblies


@pytest.mark.usefixtures("doubles")
@pytest.mark.parametrize(
    "case", [c if c in QUICK else pytest.param(c, marks=pytest.mark.slow) for c in CASES]
)
def test_each_member_learns_what_it_learns_alone(members_of, case):
    """Rounding is 1e-16. Adam takes it for a gradient of 0 and makes it up to 1 / eps = 1e8 times
    as large; times a rate of 1e-3 and 12 steps it is 1e-10 of a weight of size 1.
    """
    tolerance = 1e-9
    reference = ended(members_of(*CASES[case]))
    members = ended(members_of(*CASES[case]), stacked=True)
    for assembly, other in zip(members, reference, strict=True):
        assert apart(assembly, other) < tolerance
    # The test can fail: it is far from where it began, and from its neighbour.
    begun, moved = members_of(*CASES[case])[0].state.task, members[0].state.task
    pairs = zip(begun.parameters(), moved.parameters(), strict=True)
    assert max((a - b).detach().abs().max() for a, b in pairs) > 1e-4
    assert apart(members[0], members[1]) > 1e-4


@pytest.mark.parametrize(
    "own",
    [
        pytest.param("trainer.precision=fp32"),
        pytest.param("trainer.precision=fp32 optimizer=sgd model.norm=batch"),
        pytest.param("trainer.precision=bf16"),
        pytest.param("trainer.precision=bf16 optimizer=sgd optimizer.lr=1e-3 model.norm=batch"),
    ],
)
def test_in_fewer_digits_each_member_is_as_exact_as_alone(members_of, own, request):
    common, seeds = (*MLP, *own.split()), [["seed=1"], ["seed=2"]]
    reference = ended(members_of(common, seeds))
    members = ended(members_of(common, seeds), stacked=True)
    begun = members_of(common, seeds)
    request.getfixturevalue("doubles")
    exact = members_of((*common, "trainer.precision=fp32"), seeds)
    for assembly, other in zip(exact, begun, strict=True):  # drawn in float64 they are others
        assembly.state.task.load_state_dict(other.state.task.state_dict())
    for found, plain, truth in zip(members, reference, ended(exact), strict=True):
        weights = [list(each.state.task.parameters()) for each in (found, plain, truth)]
        assert [of[0].dtype for of in weights] == [torch.float32, torch.float32, torch.float64]
        assert as_exact(*weights)


class Weighted(Classifier):
    """A task with a number of its own in its loss."""

    stackable_numbers = ("weight",)

    def forward(self, player, batch, carry):
        loss, seen = super().forward(player, batch, carry)
        return self.weight / 2 * loss * 2, seen


class WeightedByVmap(Weighted):
    is_one_loss = False


class Silent(Weighted):
    stackable_numbers = None


def of_kind(kind, assemblies):
    for weight, assembly in enumerate(assemblies, start=1):
        assembly.state.task.__class__, assembly.state.task.weight = kind, float(weight)
    return assemblies


@pytest.mark.usefixtures("doubles")
@pytest.mark.parametrize("kind", [Weighted, WeightedByVmap])
def test_a_task_names_the_numbers_in_its_loss_that_are_each_member_s_own(members_of, kind):
    case = ((*MLP, *SLOW), [["seed=1"]] * 3)
    reference = ended(of_kind(kind, members_of(*case)))
    members = ended(of_kind(kind, members_of(*case)), stacked=True)
    for assembly, other in zip(members, reference, strict=True):
        assert apart(assembly, other) < 1e-9  # sums of float64, over twelve steps
    assert apart(members[0], members[1]) > 1e-4


def test_a_task_that_names_none_is_refused_in_words(members_of):
    found = gain("silent", 2, lambda k: of_kind(Silent, members_of(MLP, [[f"seed={k}"]]))[0])
    assert found.refused == "Silent does not say that it can be stacked (stackable_numbers)"


def test_the_batches_of_all_members_are_to_the_bit_those_of_each(members_of):
    for augment in ("{}", "{shift:1}"):
        own = [[f"seed={seed}"] for seed in range(3)]
        runs = [a.train for a in members_of((*MLP, f"data.augment={augment}"), own)]
        stacked = StackedBatches(runs)
        for step in (0, 7, 31, 32, 90, 8):  # at 90 one pass over the 1,437 examples ends
            together_, each = stacked.at(step), [batches.at(step) for batches in runs]
            for name, column in together_.items():
                assert torch.equal(column, torch.stack([b[name] for b in each]))
        assert not torch.equal(each[0]["inputs"], each[1]["inputs"])


@pytest.mark.parametrize(
    "own",
    [
        "trainer.precision=bf16",
        "optimizer=adam",
        *(
            pytest.param(own, marks=pytest.mark.slow)
            for own in (
                "optimizer=sgd",
                "optimizer=sgd optimizer.momentum=0 optimizer.nesterov=false",
                "optimizer=rmsprop",
                "optimizer=adagrad",
                "model.norm=batch",
                "model.dropout=0.3",
            )
        ),
    ],
)
def test_a_member_is_the_same_to_the_bit_whoever_is_stacked_with_it(members_of, own):
    """Some parameters fill whole vectors of the processor, and are moved as one, and some don't."""
    common = (*MLP, *own.split())
    company = [["seed=1"], ["seed=2"], ["seed=3"], ["optimizer.lr=0.01"], ["seed=4"]]
    (single,) = members_of(common, [["seed=2"]])
    members, like = members_of(common, company), members_of(common, company[:3])
    for group in ([single], members, like):
        assert together([training(assembly) for assembly in group]) == [None] * len(group)
    assert apart(single, members[1]) == 0
    assert apart(single, like[1]) == 0


def test_who_diverges_leaves_and_the_others_are_untouched_to_the_bit(members_of):
    lively = [["seed=1"], ["seed=2"]]
    reference = members_of(MLP, lively)
    assert together([training(assembly) for assembly in reference]) == [None, None]
    members = members_of(MLP, [lively[0], ["optimizer.lr=1e38"], lively[1]])
    first, error, last = together([training(assembly) for assembly in members])
    assert first is None
    assert last is None
    assert isinstance(error, NonFiniteError)
    assert members[1].state.step < 12
    for assembly, other in zip((members[0], members[2]), reference, strict=True):
        assert apart(assembly, other) == 0


def test_a_stack_is_made_anew_when_its_runs_have_gone_back_to_a_checkpoint(members_of):
    """Their optimizers hold other tensors then; also where all have, and the order is the same."""
    members = members_of(MLP, [["seed=1"], ["seed=2"]])
    moves = [Move(m.state, m.train, m.settings) for m in members]
    stack = Stack(moves)
    stack.step()
    assert not stack.holds(moves)
    for member in members:
        member.state.step += 1
    assert stack.holds(moves)
    assert not stack.holds(moves[::-1])
    for member in members:
        member.state.step = 0
    assert not stack.holds(moves)
