"""Jobs have the config that Hydra composes for the same overrides."""

import functools
import json

import pytest
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import HydraContext, RunMode
from omegaconf import OmegaConf

from trainwright.config.compose import register_schema, settle_length
from trainwright.config_folder import config_folder
from trainwright.errors import ConfigError
from trainwright.sweep.points.composer import Composer


@pytest.fixture(scope="module")
def composer():
    """The composer of a sweep with these overrides, made once: it remembers what it has read."""
    register_schema()
    before = HydraConfig.instance().cfg

    @functools.cache
    def make(*fixed):
        with initialize_config_dir(str(config_folder()), version_base="1.3"):
            hydra = GlobalHydra.instance().hydra
        master = hydra.compose_config("train", list(fixed), run_mode=RunMode.MULTIRUN)
        return Composer(HydraContext(hydra.config_loader, None), master, fixed)

    yield make
    HydraConfig.instance().cfg = before


@pytest.mark.parametrize(
    ("fixed", "point"),
    [
        (["trainer.epochs=2"], {"optimizer.lr": "3e-4", "seed": "5"}),
        pytest.param(
            ["data=digits"], {"model": "gan", "optimizer.lr": "1e-4"}, marks=pytest.mark.slow
        ),
        (["model=cnn"], {"optimizer": "sgd", "optimizer.momentum": "0.5"}),
        ([], {"+optimizer.players": "{generator: {lr: 1}}", "model": "mlp"}),
        pytest.param([], {"model.widths": "[8,4]", "model.norm": "null"}, marks=pytest.mark.slow),
        (["experiment=mnist_mlp"], {"data.augment.shift": "2"}),
        (["experiment=mnist_mlp", "trainer=federated"], {"federated.alpha": "0.1"}),
        pytest.param(["~schedule.warmup"], {"schedule": "linear"}, marks=pytest.mark.slow),
        ([], {"optimizer.lr": "1", "trainer.clip_norm": "null", "trainer.deterministic": "true"}),
        ([], {"run.name": "'3'", "trainer.evaluate_every": "50%", "model.widths": "[8.0,true]"}),
        ([], {"seed": "7", "optimizer.weight_decay": "${seed}"}),
        (["optimizer.weight_decay=${seed}"], {"seed": "7"}),
        ([], {"data.augment": "null", "trainer.early_stopping": "{patience: 3}"}),
        pytest.param(
            [],
            {"trainer.epochs": "3", "trainer.early_stopping.patience": "2"},
            marks=pytest.mark.slow,
        ),
    ],
)
def test_a_job_has_the_config_that_hydra_composes(fixed, point, composer, composed_by_hydra):
    job = composer(*fixed).job(0, point)
    typed = [*fixed, *(f"{key}={value}" for key, value in point.items())]
    config = composed_by_hydra(*typed)
    settle_length(config, typed)
    expected = OmegaConf.to_container(config, resolve=True)
    expected.pop("sweep")
    assert json.dumps(job.config) == json.dumps(expected)  # 1 is not 1.0, nor true
    assert list(job.overrides) == typed


def test_jobs_do_not_share_what_they_change(composer):
    make = composer()
    first = make.job(0, {"optimizer.lr": "1", "model.widths": "[8]"})
    second = make.job(1, {"seed": "1"})
    assert first.config["optimizer"]["lr"] == 1
    assert second.config["optimizer"]["lr"] == 1e-3
    assert second.config["model"]["widths"] == [512, 256]


def test_settings_of_the_sweep_make_no_other_job(composer):
    plain, swept = composer(), composer("sweep=random", "sweep.jobs=2")
    point = {"optimizer.lr": "1"}
    assert plain.job(0, point).id == swept.job(0, point).id
    assert swept.job(0, point).overrides == ("optimizer.lr=1",)


@pytest.mark.parametrize(
    ("point", "says"),
    [
        ({"trainer.epochs": "ten"}, "trainer.epochs='ten'"),
        ({"run.dir": "here"}, "sweep.dir"),
        ({"trainer.resume": "there"}, "typed again"),
    ],
)
def test_what_no_job_can_have_is_refused(point, says, composer):
    with pytest.raises(ConfigError, match=says):
        composer().job(0, point)


@pytest.mark.parametrize(
    ("point", "key"),
    [
        ({"experiment": "mnist_lr_search"}, "kind"),
        ({"sweep.trials": "3"}, "trials"),
        ({"sweep": "zip"}, "kind"),
    ],
)
def test_a_value_that_is_swept_cannot_change_the_sweep(point, key, composer):
    """An option that brings `sweep.params` was one job, and the params were dropped."""
    with pytest.raises(ConfigError, match=rf"sets sweep\.{key}"):
        composer().job(0, point)
