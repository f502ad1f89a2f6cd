"""The config of a run in the place of the defaults: what is typed is told as it is to `train`."""

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf

from trainwright.config.compose import register_schema
from trainwright.config.forked import NAME, register_fork, run_name
from trainwright.config_folder import config_folder
from trainwright.errors import CheckpointError

BEGIN = {"checkpoint": "x", "sha256": "0", "freeze": [], "old_lr": 1.0}


@pytest.fixture
def forked(composed):
    """Compose a fork of a run as it was stored, perhaps by an older version."""

    def make(run, *overrides, without=()):
        plain = OmegaConf.to_container(composed(*run), resolve=True)
        for section, key in without:
            del plain[section][key]
        register_schema()
        choices = {"model": "cnn", "data": "digits"}
        register_fork(DictConfig(plain), choices, BEGIN)
        with initialize_config_dir(str(config_folder()), version_base="1.3"):
            config = compose(NAME, overrides=list(overrides), return_hydra_config=True)
        return plain, config

    return make


RUN = ("model=cnn", "model.channels=[3]", "optimizer=sgd", "optimizer.lr=0.3", "seed=5",
       "trainer.schedule_until=700", "optimizer.players.model.weight_decay=0.1")  # fmt: skip


def test_it_is_the_run_but_for_what_is_typed_and_its_own_way(forked):
    plain, config = forked(RUN, "optimizer.lr=0.1", "fork.freeze=[head]")
    fork = OmegaConf.to_container(config)
    for section in ("model", "data", "task", "schedule", "logger", "seed"):
        assert fork[section] == plain[section], section
    assert fork["optimizer"] == {**plain["optimizer"], "lr": 0.1}
    assert fork["trainer"] == {**plain["trainer"], "schedule_until": "100%"}
    assert fork["fork"] == {**BEGIN, "freeze": ["head"]}
    assert run_name(config.hydra.runtime.choices) == "cnn-digits"


def test_a_group_that_is_typed_brings_what_it_brings_to_train(forked):
    _, config = forked(RUN, "data=diabetes", "model=mlp", "optimizer=adamw")
    assert config.task._target_.endswith("Regression")
    assert config.optimizer.lr == 1e-3
    assert "momentum" not in config.optimizer
    assert config.trainer.epochs == 10
    assert run_name(config.hydra.runtime.choices) == "mlp-diabetes"


def test_a_key_that_is_newer_than_the_run_can_be_typed(forked):
    _, config = forked(RUN, "trainer.plots=false", without=[("trainer", "plots")])
    assert config.trainer.plots is False


def test_a_stored_config_chooses_nothing_of_this_machine(composed):
    plain = OmegaConf.to_container(composed(), resolve=True)
    plain["data"]["defaults"] = [{"override /hydra/launcher": "submitit_local"}]
    with pytest.raises(CheckpointError, match="a list of defaults in data"):
        register_fork(DictConfig(plain), {}, BEGIN)


def test_rounds_of_a_federated_run_come_and_go_with_its_trainer(forked):
    run = ("trainer=federated", "federated.clients=4", "data=digits")
    plain, config = forked(run, "federated.rounds=9")
    assert OmegaConf.to_container(config.federated) == {**plain["federated"], "rounds": 9}
    assert OmegaConf.to_container(config.trainer) == plain["trainer"]
    _, alone = forked(run, "trainer=default")
    assert "federated" not in alone
    _, begun = forked(RUN, "trainer=federated")
    assert begun.federated.clients == 20
