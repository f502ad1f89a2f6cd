"""cifar10_fast and the speed record's recipe, written apart from each other, say the same."""

import pytest
import torch
from torch.nn.functional import cosine_similarity

from trainwright.config.plan import Plan
from trainwright.data.splits import split_arrays
from trainwright.engine.step import train_step
from trainwright.nn.airbench import LOGIT_SCALE
from trainwright.run.assemble.assemble import assemble

BATCH = 64
WIDTHS = (8, 16, 16)


@pytest.fixture(scope="module")
def photographs():
    """Images of 3x32x32 in two classes, in which neighbours are alike."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(300, 3, 34, 34, generator=generator)
    smooth = torch.nn.functional.avg_pool2d(noise, 3, stride=1) * 60 + 120
    targets = torch.arange(300) % 2
    images = (smooth + 40 * targets.view(-1, 1, 1, 1)).clamp(0, 255).to(torch.uint8)
    names = [str(number) for number in range(10)]
    return split_arrays("photographs", images, targets, class_names=names)


@pytest.fixture
def both(composed, photographs):
    """Our run and the loop by hand, with the same weights, in fp32.

    Theirs sums its loss, with learning rates for one example; ours takes the mean over 2,000.
    """
    from peers.airbench import Airbench

    config = composed(
        "experiment=cifar10_fast", "trainer.precision=fp32", f"trainer.batch_size={BATCH}",
        f"model.widths={list(WIDTHS)}", f"optimizer.others.lr={106 * BATCH / 2000}",
    )  # fmt: skip
    ours = assemble(Plan.of(config), dataset=photographs)
    split = photographs.train
    theirs = Airbench(
        split.columns["inputs"], split.columns["targets"], batch_size=BATCH, widths=WIDTHS
    )
    theirs.dtype = torch.float32
    with torch.no_grad():
        for mine, other, scale in pairs(ours.state.task.model, theirs.net):
            other.copy_(mine * scale)
    return ours, theirs


def pairs(model, net):
    """Tensors that mean the same: ours, theirs, and how many times as large theirs is."""
    yield model.whitening.weight, net.whiten.weight, 1.0
    yield model.whitening.bias, net.whiten.bias, 1.0
    ours = [m for m in model.features if isinstance(m, torch.nn.Conv2d)]
    theirs = [conv for block in net.blocks for conv in (block.first, block.second)]
    for mine, other in zip(ours, theirs, strict=True):
        yield mine.weight, other.weight, 1.0
    ours = [m for m in model.features if isinstance(m, torch.nn.BatchNorm2d)]
    theirs = [norm for block in net.blocks for norm in block.norms]
    for mine, other in zip(ours, theirs, strict=True):
        yield mine.bias, other.bias, 1.0
    yield model.head.weight, net.head.weight, LOGIT_SCALE


def test_the_networks_are_one_and_the_same(both):
    ours, theirs = both
    images = ours.train.at(0)["inputs"]
    ours.state.task.train()
    theirs.net.train()
    expected = theirs.net(images)
    assert expected.abs().max() > 1e-3
    torch.testing.assert_close(ours.state.task.model(images), expected, rtol=1e-3, atol=1e-5)


def test_the_first_layer_whitens_the_same_patches(both, photographs):
    """Theirs is normalised by all of CIFAR-10's mean: given ours, the filters are ours."""
    from peers.airbench import Net

    from trainwright.data.batches import train_examples

    ours, _ = both
    theirs = Net(train_examples(photographs, 5000), WIDTHS).whiten.weight
    mine = ours.state.task.model.whitening.weight
    sign = (mine * theirs).sum(dim=(1, 2, 3), keepdim=True).sign()  # an eigenvector has none
    torch.testing.assert_close(mine, theirs * sign, rtol=1e-3, atol=1e-3)


def test_a_step_moves_everything_alike(both):
    """Filters along the same direction but for bf16, in which both orthogonalise it."""
    ours, theirs = both
    before = [mine.detach().clone() for mine, _, _ in pairs(ours.state.task.model, theirs.net)]
    batch = ours.train.at(0)
    train_step(ours.state, batch, ours.settings)
    theirs.learn(batch["inputs"], batch["targets"])
    for (mine, other, scale), begun in zip(
        pairs(ours.state.task.model, theirs.net), before, strict=True
    ):
        if mine.dim() == 4 and mine.shape[1] == 3:  # whitens, and stays
            assert torch.equal(mine, begun)
            continue
        moved, expected = mine.detach() - begun, other.detach() / scale - begun
        assert cosine_similarity(moved.flatten(), expected.flatten(), dim=0) > 0.999
        assert moved.norm() == pytest.approx(expected.norm().item(), rel=0.02)
