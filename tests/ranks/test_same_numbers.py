"""However many ranks share a run, it is the same run up to rounding, and to the bit on as many."""

import pytest
from harness import tensors_digest
from worlds import CLOSE, SMALL, assert_same_run, losses, train_on

pytestmark = pytest.mark.numeric

DIGITS = ("data=digits", "data.limit=300")
CNN = (*DIGITS, "model=cnn", "model.channels=[4, 8]", "model.norm=batch")
GAN = (*DIGITS, "model=gan", "model.width=4", "trainer.score_samples=0", "trainer.epochs=null")
CASES = {
    "batch normalisation, in uneven parts, clipped, averaged, augmented": (
        *CNN,
        "trainer.batch_size=28",
        "trainer.accumulate=4",
        "trainer.clip_norm=0.1",
        "trainer.ema=0.9",
        "data.augment.shift=1",
        "data.augment.flip=alternating",
    ),
    "wasserstein with a gradient penalty, conditional": (
        *GAN,
        "task.loss=wasserstein_gp",
        "task.relativistic=false",
        "task.r1=0",
        "task.critic_steps=2",
        "trainer.batch_size=10",
    ),
}
TEXT = ("data=texts", "model.depth=1", "model.width=16", "model.heads=2", "model.dropout=0",
        "trainer.tokens=null")  # fmt: skip
# Losses that are means over something else than the examples of which ranks have as many as told.
WEIGHTS = {
    "tokens, fewer in some texts, in uneven parts": (
        *TEXT,
        "model=gpt",
        "task.z_loss=0.01",
        "task.label_smoothing=0.1",
        "task.sample_tokens=1",
        "trainer.batch_size=14",
        "trainer.accumulate=2",
    ),
    "hidden tokens": (
        *TEXT,
        "model=text_encoder",
        "task=masked_language",
        "task.share=0.3",
        "trainer.batch_size=10",
    ),
    "class weights, mixed with neighbours, erased": (
        *CNN,
        "task.class_weights=balanced",
        "task.focal=1",
        "data.augment.mixup=0.5",
        "data.augment.cutmix=0.5",
        "data.augment.shift=1",
        "data.augment.erase=0.5",
        "trainer.batch_size=14",
        "trainer.accumulate=2",
    ),
}
MORE_CASES = {
    "regression": ("data=diabetes", "model=mlp"),
    "layer normalisation": (*DIGITS, "model=mlp", "model.norm=layer", "model.widths=[16]"),
    "multilabel": ("data=rows", "model=mlp"),
    "hinge with R1, augmented differentiably, noisy": (
        *GAN,
        "task.loss=hinge",
        "task.r1=1",
        "task.r1_every=2",
        "task.relativistic=false",
        "task.diff_augment=[color, translation, cutout]",
        "task.instance_noise=0.1",
        "trainer.batch_size=11",
    ),
    "non-saturating in pairs, with R1": (*GAN, "task.loss=non_saturating", "task.r1=auto"),
    "least squares": (*GAN, "task.loss=least_squares", "task.relativistic=false", "task.r1=0"),
    "resnet": (*DIGITS, "model=resnet", "model.width=4", "model.blocks_per_stage=1"),
}


def train_alike(composed, folder, num_steps, sizes, *overrides):
    every = f"trainer.evaluate_every={num_steps // 2}"
    typed = (*SMALL, f"trainer.steps={num_steps}", every, *overrides)
    folders = [folder / str(size) for size in sizes]
    steps = [train_on(n, composed, f, *typed) for n, f in zip(sizes, folders, strict=True)]
    assert_same_run(folders, steps)


@pytest.mark.usefixtures("doubles")
@pytest.mark.parametrize("case", CASES)
def test_a_run_is_the_same_on_one_rank_and_on_several(composed, tmp_path, case):
    train_alike(composed, tmp_path, 6, (1, 3), *CASES[case])


@pytest.mark.usefixtures("doubles", "own_rows")
@pytest.mark.parametrize("case", WEIGHTS)
def test_ranks_weigh_by_what_a_loss_is_the_mean_over(composed, tmp_path, case):
    train_alike(composed, tmp_path, 4, (1, 2, 3), *WEIGHTS[case])


@pytest.mark.usefixtures("doubles", "own_rows")
def test_parts_of_a_batch_come_to_the_loss_of_the_whole(composed, tmp_path):
    typed = WEIGHTS["tokens, fewer in some texts, in uneven parts"]
    whole = train_on(
        1, composed, tmp_path / "whole", *SMALL, *typed, "trainer.steps=4", "trainer.accumulate=1"
    )
    parts = train_on(1, composed, tmp_path / "parts", *SMALL, *typed, "trainer.steps=4")
    for one, other in zip(whole, parts, strict=True):
        assert losses(other) == pytest.approx(losses(one), rel=CLOSE, abs=CLOSE)


@pytest.mark.slow
@pytest.mark.usefixtures("doubles", "own_rows")
@pytest.mark.parametrize("case", {**CASES, **MORE_CASES})
def test_fifty_steps_of_every_task_are_the_same_on_one_to_four_ranks(composed, tmp_path, case):
    train_alike(composed, tmp_path, 50, (1, 2, 3, 4), *{**CASES, **MORE_CASES}[case])


def test_a_run_is_the_same_to_the_bit_on_as_many_ranks(composed, tmp_path):
    typed = (*SMALL, *CNN, "model.dropout=0.2", "trainer.steps=6", "trainer.batch_size=31")
    for name in ("one", "other"):
        train_on(2, composed, tmp_path / name, *typed)
    one, other = (
        tensors_digest(tmp_path / name / "checkpoints" / "last.safetensors")
        for name in ("one", "other")
    )
    assert one == other
