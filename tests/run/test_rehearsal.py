"""What is refused before any data is read: what no data could mend, and nothing else."""

import re

import pytest
from torch.optim import Optimizer

from trainwright.config.plan import Plan
from trainwright.config_folder import config_folder
from trainwright.errors import ConfigError
from trainwright.run.assemble.rehearsal import rehearse


@pytest.mark.parametrize(
    "words",
    [
        ("trainer.epochs=1", "trainer.schedule_until=50"),  # of the 23 steps of a pass
        ("trainer.steps=100", "trainer.schedule_until=10 epochs"),
        ("trainer.steps=100", "schedule.warmup=2 epochs"),
        ("trainer.epochs=3", "schedule.warmup=60"),
    ],
)
def test_a_schedule_that_suits_some_data_is_not_refused(composed, assembled, words):
    rehearse(Plan.of(composed("data=digits", *words)))
    assembled("data=digits", *words)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("trainer.epochs=2", "trainer.schedule_until=50%"), "until=50%: the run goes on"),
        (("trainer.steps=100", "trainer.schedule_until=50"), "until=50: the run goes on"),
        (("schedule.warmup=200%",), "warmup=200% is not shorter than the whole run"),
        (("trainer.epochs=2", "schedule.warmup=3 epochs"), "warmup=3 epochs is not shorter"),
        (("trainer.epochs=2", "trainer.schedule_until=50%", "schedule.warmup=3"), "until=50%"),
    ],
)
def test_one_that_suits_none_is_refused_without_numbers_that_nobody_typed(composed, words, says):
    with pytest.raises(ConfigError, match=says) as error:
        rehearse(Plan.of(composed("data=digits", *words)))
    assert re.findall(r"\d{4,}", str(error.value)) == []


@pytest.mark.parametrize("option", sorted(p.stem for p in (config_folder() / "task").glob("*")))
def test_a_task_that_suits_some_data_is_not_refused(composed, option):
    own = {"gan": "gan", "language": "gpt", "masked_language": "text_encoder"}
    own |= {"shortcut": "flow", **{name: name for name in ("flow", "diffusion", "vae")}}
    model = own.get(option, "mlp")
    rehearse(Plan.of(composed("data=digits", f"model={model}", f"task={option}")))


def test_where_all_is_known_the_numbers_are_told(composed):
    with pytest.raises(ConfigError, match="it is 500 steps, and the run is 100"):
        rehearse(Plan.of(composed("data=digits", "trainer.steps=100", "schedule.warmup=500")))


OPTIMIZERS = [path.stem for path in sorted((config_folder() / "optimizer").glob("*.yaml"))]
NESTEROV = ("optimizer=sgd", "optimizer.nesterov=true", "optimizer.momentum=0")


@pytest.mark.parametrize("option", OPTIMIZERS)
def test_an_optimizer_is_asked_about_its_arguments_and_not_made(composed, option, monkeypatch):
    monkeypatch.setattr(Optimizer, "add_param_group", lambda *_: pytest.fail("it was made"))
    rehearse(Plan.of(composed("data=digits", f"optimizer={option}")))
    with pytest.raises(ConfigError, match=r"optimizer: (Invalid learning rate: -1|lr=-1)"):
        rehearse(Plan.of(composed("data=digits", f"optimizer={option}", "optimizer.lr=-1")))


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("optimizer=muon", "optimizer.others.lr=-1"), r"optimizer\.others: Invalid learning rate"),
        (("model=gan", "optimizer.players.generator.lr=-1"), "optimizer: Invalid learning rate"),
        (NESTEROV, "optimizer: Nesterov momentum requires a momentum"),
    ],
)
def test_so_are_the_second_optimizer_and_that_of_each_player(composed, words, says):
    with pytest.raises(ConfigError, match=says):
        rehearse(Plan.of(composed("data=digits", *words)))
