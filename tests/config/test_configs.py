"""The shipped YAML files: each composes, and each model runs on each kind of data."""

import json
from itertools import zip_longest

import pytest
import torch
import yaml
from PIL import Image

from trainwright.config.compose import settle_length
from trainwright.config_folder import config_folder
from trainwright.engine.checkpoint import checkpoint
from trainwright.engine.step import train_step
from trainwright.targets import TRUSTED_TARGETS

FILES = sorted(config_folder().glob("*/*.yaml"))
OPTIONS = [(path.parent.name, path.stem) for path in FILES]


def targets(node):
    if isinstance(node, dict):
        own = [node["_target_"]] if "_target_" in node else []
        return own + [t for value in node.values() for t in targets(value)]
    if isinstance(node, list):
        return [t for value in node for t in targets(value)]
    return []


def test_what_a_run_folder_may_build_is_what_the_shipped_configs_build():
    shipped = {t for path in FILES for t in targets(yaml.safe_load(path.read_text()))}
    assert shipped == TRUSTED_TARGETS


# Experiments and models choose options of other groups, so they come alone; the rest side by side.
ALONE = [f"{group}={option}" for group, option in OPTIONS if group in ("experiment", "model")]
OTHERS = [
    [f"{group}={option}" for where, option in OPTIONS if where == group]
    for group in sorted({group for group, _ in OPTIONS} - {"experiment", "model"})
]
TOGETHER = [" ".join(filter(None, options)) for options in zip_longest(*OTHERS)]


@pytest.mark.parametrize("options", [*ALONE, *TOGETHER])
def test_every_option_composes(composed_by_hydra, options):
    config = composed_by_hydra(*options.split())
    assert config.trainer.batch_size > 0


def test_no_option_is_left_out_above():
    typed = " ".join([*ALONE, *TOGETHER]).split()
    assert sorted(typed) == sorted(f"{group}={option}" for group, option in OPTIONS)


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_every_file_opens_with_a_comment_that_says_what_it_is(path):
    assert path.read_text().startswith("# ")


@pytest.mark.parametrize(
    "line",
    [
        "",
        "model=gan optimizer.players.generator.lr=1e-4 data=digits run.dir=here",
        "experiment=mnist_mlp data.augment.shift=2 ~schedule.warmup",
        "trainer.early_stopping={patience:3} optimizer=sgd optimizer.lr=${seed} trainer.steps=3",
    ],
)
def test_what_the_tests_start_from_is_what_hydra_composes(composed, composed_by_hydra, line):
    config = composed_by_hydra("trainer.plots=false", *line.split())
    settle_length(config, line.split())
    assert composed(*line.split()) == config


def draw_images(folder):
    """Two classes of small colour images, one folder each."""
    for label in ("cats", "dogs"):
        (folder / label).mkdir(parents=True)
        for number in range(20):
            colour = (number * 10, 200 if label == "cats" else 20, 90)
            Image.new("RGB", (20, 16), colour).save(folder / label / f"{number}.png")


IMAGE_MODELS = ("mlp", "cnn", "resnet", "airbench", "gan", "mlp_gan")
PAIRS = [
    *[(model, "digits") for model in IMAGE_MODELS],
    ("mlp", "tabular"),
    ("mlp", "diabetes"),
    ("resnet_mlp", "diabetes"),
    ("ft_transformer", "tabular"),
    *[pytest.param(model, "folder", marks=pytest.mark.slow) for model in IMAGE_MODELS],
]


@pytest.mark.parametrize(("model", "data"), PAIRS)
def test_a_model_runs_on_the_data_that_suit_it(train, tmp_path, model, data):
    overrides = [f"model={model}", f"data={data}", "trainer=smoke"]
    if data == "folder":
        draw_images(tmp_path / "images")
        overrides += [f"data.path={tmp_path / 'images'}", "data.size=16", f"data.root={tmp_path}"]
    outcome = train(tmp_path / "run", *overrides)
    summary = json.loads((outcome.folder / "summary.json").read_text())
    assert summary["status"] == "finished"
    assert summary["step"] == 2
    _, metadata = checkpoint.load(outcome.folder / "checkpoints" / "last.safetensors")
    assert metadata["progress"]["step"] == 2
    rows = (outcome.folder / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(row)["step"] for row in rows] == [1, 2]
    grids = [path.name for path in sorted((outcome.folder / "samples").iterdir())]
    assert grids == (["000001.png", "000002.png"] if "gan" in model else [])


@pytest.mark.parametrize("option", [o for g, o in OPTIONS if g == "optimizer"])
def test_every_optimizer_moves_every_model(assembled, option):
    # (In pairs the discriminator's last bias cancels out, and rightly does not move.)
    small_gan = ["model=gan", "model.width=4", "task.relativistic=false", "task.score=none"]
    for model in (["model=mlp"], small_gan):
        assembly = assembled(*model, f"optimizer={option}", "data.limit=50", "trainer.batch_size=8")
        step_and_expect_movement(assembly)


@pytest.mark.parametrize("option", [o for g, o in OPTIONS if g == "schedule"])
def test_every_schedule_gives_a_rate_for_every_step(assembled, option):
    state = assembled(f"schedule={option}", "schedule.warmup=5%", "trainer.steps=40",
                      "trainer.epochs=null").state  # fmt: skip
    factors = [state.schedule.factor(step) for step in range(40)]
    assert all(0 <= factor <= 1 for factor in factors)
    assert max(factors) > 0


def step_and_expect_movement(assembly):
    state = assembly.state
    before = {name: p.detach().clone() for name, p in state.task.named_parameters()}
    for step in range(2):
        train_step(state, assembly.train.at(step), assembly.settings)
        state.step += 1
    for name, parameter in state.task.named_parameters():
        assert torch.isfinite(parameter).all(), name
        assert not torch.equal(parameter, before[name]), name


def test_one_player_s_optimizer_can_be_changed_alone(assembled):
    state = assembled("model=gan", "optimizer.lr=1e-3", "optimizer.players.generator.lr=2e-4",
                      "data.limit=200", "task.score=none").state  # fmt: skip
    assert state.optimizers["discriminator"].learning_rate == 1e-3
    assert state.optimizers["generator"].learning_rate == 2e-4


def test_auto_precision_leaves_small_examples_in_fp32(assembled):
    """On a CPU: casting 8x8 images costs more than it saves. What is typed counts."""
    auto = assembled("model=cnn", "data=digits", "data.limit=200")
    assert auto.state.placement.precision == "fp32"
    typed = assembled("model=cnn", "data=digits", "data.limit=200", "trainer.precision=bf16")
    assert typed.state.placement.precision == "bf16"
