"""Sections and settings: what is right becomes an object, what is wrong a message that helps."""

import sys

import pytest
import torch
from torch import nn

from trainwright.config.build import Section, plain, settings
from trainwright.config.plan import Plan
from trainwright.data.dataset import Dataset
from trainwright.engine.clock import Clock
from trainwright.engine.schedule import Cosine, Schedule
from trainwright.engine.settings import TrainerSettings
from trainwright.errors import ConfigError
from trainwright.nn.mlp import MLP
from trainwright.run.assemble.rehearsal import rehearse
from trainwright.targets import TRUSTED_TARGETS
from trainwright.tasks.task import Task

SHAPE = {"input_shape": (4,), "num_outputs": 2, "num_classes": 2}
CLOCK = {"clock": Clock(100, 10, 50), "mode": "min"}
MODEL = {"_target_": "trainwright.nn.mlp.MLP", "widths": [8]}
COSINE = {"_target_": "trainwright.engine.schedule.Cosine"}


def build(kind, node, *, key, facts, allow=None):
    return Section(key, node, tuple(facts), allow).build(kind, facts)


def model(**changes):
    return build(nn.Module, {**MODEL, **changes}, key="model", facts=SHAPE)


def refused(message, kind=nn.Module, node=MODEL, *, facts=SHAPE, allow=None, key="model"):
    with pytest.raises(ConfigError, match=message) as caught:
        build(kind, node, key=key, facts=facts, allow=allow)
    text = str(caught.value)
    assert 0 < len(text.splitlines()) <= 5
    return text


def test_a_target_is_built_with_its_keys_and_the_facts_it_has_a_parameter_for():
    made = model(dropout=0.25)
    assert isinstance(made, MLP)
    assert made.layers[1].in_features == 4
    assert made.layers[-1].out_features == 2
    assert made.layers[3].p == 0.25
    schedule = build(Schedule, {**COSINE, "final": 0.5}, key="schedule", facts=CLOCK)
    assert isinstance(schedule, Cosine)
    assert schedule.clock is CLOCK["clock"]


def test_what_is_typed_wins_over_a_fact():
    assert model(num_outputs=7).layers[-1].out_features == 7


def test_an_unknown_key_is_named_with_the_nearest_and_all_others():
    text = refused(r"model\.widhts: there is no such key; did you mean widths\?",
                   node={"_target_": MODEL["_target_"], "widhts": [8]})  # fmt: skip
    assert "model accepts: activation, dropout, embedding, " in text


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("dropout", "much", r"model\.dropout='much': .*number"),
        ("widths", 8, r"model\.widths=8: "),
        ("widths", [8, "wide"], r"model\.widths.*'wide'"),
        ("activation", "rleu", r"model\.activation='rleu': .*'relu'"),
        ("norm", "group", r"model\.norm='group'"),
        ("dropout", 1.5, r"model: dropout=1\.5"),
    ],
)
def test_a_wrong_value_is_named_with_what_would_be_right(key, value, message):
    refused(message, node={**MODEL, key: value})


def test_an_argument_that_nothing_gives_is_named():
    refused(r"model\.num_outputs: .*MLP needs it", facts={"input_shape": (4,)})


def test_a_value_that_must_be_given_is_asked_for(composed):
    with pytest.raises(ConfigError, match=r"data\.path: it must be given: data\.path=\.\.\."):
        plain(composed("data=folder"))


@pytest.mark.parametrize("target", [None, 3, "", "Net", ".", "..", ".foo.Net", "torch.", "a-b.Net"])
def test_a_target_that_is_no_name_of_a_class_is_refused(target):
    refused(r"model\._target_: ", node={"_target_": target})
    refused(r"model\._target_: ", node={})


def test_a_target_that_does_not_exist_is_refused_with_the_nearest():
    refused(r"there is no trainwright\.nn\.mlp\.MPL; did you mean MLP\?",
            node={"_target_": "trainwright.nn.mlp.MPL"})  # fmt: skip
    refused(r"cannot import 'mine\.nets'", node={"_target_": "mine.nets.Net"})


ALIASES = [
    "logging.os.system",
    "os.system",
    "posix.system",
    "builtins.open",
    "builtins.eval",
    "builtins.exec",
    "subprocess.Popen",
    "subprocess.run",
    "shutil.rmtree",
    "torch.load",
    "torch.hub.load",
    "torch.hub.os.system",
    "urllib.request.urlretrieve",
    "trainwright.run.run.run",
    "trainwright.config.build.importlib.import_module",
]
KINDS = [nn.Module, Task, Dataset, Schedule, torch.optim.Optimizer]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("target", ALIASES)
def test_a_target_of_another_kind_is_refused_before_it_is_called(target, kind, tmp_path):
    node = {"_target_": target, "args": f"touch {tmp_path}/called"}
    for name in ("command", "file", "cmd", "path", "url", "source"):
        refused(
            "_target_: (cannot import|.* does not make|.* is part of Python's own library)",
            kind,
            {"_target_": target, name: "x"},
        )
    refused(
        "_target_: (cannot import|.* does not make|.* is part of Python's own library)", kind, node
    )
    assert list(tmp_path.iterdir()) == []


def test_no_alias_is_followed_not_even_to_what_would_be_of_the_right_kind():
    for target in ("trainwright.run.assemble.assemble.nn.Linear", "trainwright.nn.mlp.nn.Linear"):
        refused("cannot import", node={"_target_": target, "in_features": 1, "out_features": 1})


@pytest.mark.parametrize("target", ALIASES)
def test_a_nested_target_of_another_kind_is_refused_too(target):
    node = {"_target_": "torch.nn.TransformerEncoder", "num_layers": 1,
            "encoder_layer": {"_target_": target, "file": "x"}}  # fmt: skip
    refused(r"model\.encoder_layer\._target_", node=node)


def test_the_right_kind_of_another_section_is_the_wrong_kind_here():
    refused("does not make a torch.nn.Module", node=COSINE)
    refused("does not make a .*Schedule", Schedule, MODEL, facts=CLOCK, key="schedule")
    refused("does not make", Dataset, MODEL, key="data")
    refused("is abstract", Schedule, {"_target_": "trainwright.engine.schedule.Schedule"},
            facts=CLOCK, key="schedule")  # fmt: skip


MINE = """
from pathlib import Path
from torch import nn
Path(__file__).with_name("imported").touch()

class Net(nn.Module):
    def __init__(self, num_outputs: int, inner: nn.Module | None = None, **rest):
        super().__init__()
        self.inner, self.rest = inner, rest
        self.layer = nn.LazyLinear(num_outputs)

def make(num_outputs: int) -> nn.Linear:
    return nn.Linear(3, num_outputs)

def liar(num_outputs: int) -> nn.Module:
    return num_outputs

def unannotated(num_outputs):
    return nn.Linear(3, num_outputs)

class Broken(nn.Module):
    def __init__(self):
        raise ValueError("sides must be equal")
"""


@pytest.fixture
def mine(tmp_path, monkeypatch):
    (tmp_path / "mine_for_test.py").write_text(MINE)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    sys.modules.pop("mine_for_test", None)


@pytest.mark.usefixtures("mine")
def test_a_class_or_annotated_function_of_one_s_own_is_built():
    made = build(nn.Module, {"_target_": "mine_for_test.make"}, key="model", facts=SHAPE)
    assert made.out_features == 2
    node = {"_target_": "mine_for_test.Net", "inner": MODEL, "anything": 3}
    made = build(nn.Module, node, key="model", facts=SHAPE)
    assert isinstance(made.inner, MLP)
    assert made.rest == {"anything": 3}
    refused("does not make", node={"_target_": "mine_for_test.unannotated"})
    refused("made a int, no torch.nn.Module", node={"_target_": "mine_for_test.liar"})
    refused("model: sides must be equal", node={"_target_": "mine_for_test.Broken"})


def test_a_config_that_is_read_back_may_build_only_what_is_allowed_or_trusted(mine):
    node = {"_target_": "mine_for_test.make"}
    text = refused("wants to build mine_for_test.make", node=node, allow=TRUSTED_TARGETS)
    assert "'trust=[mine_for_test.make]'" in text
    assert not (mine / "imported").exists()  # not even imported
    nested = {"_target_": "mine_for_test.Net", "inner": {"_target_": "mine_for_test.make"}}
    refused(r"model\.inner\._target_", node=nested, allow={"mine_for_test.Net"})
    allowed = TRUSTED_TARGETS | {"mine_for_test.make"}
    assert build(nn.Module, node, key="model", facts=SHAPE, allow=allowed).out_features == 2
    assert build(nn.Module, MODEL, key="model", facts=SHAPE, allow=TRUSTED_TARGETS)


@pytest.mark.parametrize("target", [*ALIASES, "torch.nn.Linear", "torch.optim.LBFGS"])
def test_nothing_that_is_not_on_the_list_is_built_from_a_run_folder(target):
    for kind in KINDS:
        refused("wants to build", kind, {"_target_": target}, allow=TRUSTED_TARGETS)


def test_settings_are_checked_and_have_their_defaults():
    made = settings(
        TrainerSettings, {"epochs": 3, "early_stopping": {"patience": 2}}, key="trainer"
    )
    assert (made.epochs, made.batch_size, made.early_stopping.patience) == (3, 64, 2)
    assert made.early_stopping.min_delta == 0.0


@pytest.mark.parametrize(
    ("node", "message"),
    [
        ({"batch_size": "many"}, r"trainer\.batch_size='many': .*(integer|whole number)"),
        ({"batch_size": 0}, r"trainer\.batch_size=0: .*greater than 0"),
        ({"batch_size": 2.5}, r"trainer\.batch_size=2\.5"),
        ({"batch_size": None}, r"trainer\.batch_size=None"),
        ({"epochs": float("inf")}, r"trainer\.epochs=inf: .*finite"),
        ({"epochs": float("nan")}, r"trainer\.epochs=nan"),
        ({"epochs": -1}, r"trainer\.epochs=-1: .*greater than 0"),
        ({"ema": 1.0}, r"trainer\.ema=1\.0: .*less than 1"),
        ({"clip_norm": 0}, r"trainer\.clip_norm=0"),
        ({"precision": "fp8"}, r"trainer\.precision='fp8': .*'bf16'"),
        ({"deterministic": "maybe"}, r"trainer\.deterministic='maybe'"),
        ({"log_every": None}, r"trainer\.log_every=None"),
        ({"log_every": 0.5}, r"trainer\.log_every=0\.5"),
        ({"early_stopping": {"patience": "x"}}, r"trainer\.early_stopping\.patience='x': "),
        ({"early_stopping": {"mode": "up"}}, r"trainer\.early_stopping\.mode='up'"),
        ({"early_stopping": 3}, r"trainer\.early_stopping=3"),
        ({"batchsize": 8}, r"trainer\.batchsize: there is no such key; did you mean batch_size\?"),
        (
            {"early_stopping": {"patence": 8}},
            r"trainer\.early_stopping\.patence: there is no such key; did you mean patience\?",
        ),
    ],
)
def test_a_wrong_setting_is_named_with_what_would_be_right(node, message):
    with pytest.raises(ConfigError, match=message) as caught:
        settings(TrainerSettings, node, key="trainer")
    assert len(str(caught.value).splitlines()) <= 5


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["seed=x"], "seed='x'"),
        (["trainer.epochs=null"], "both null"),
        (["trainer.accumulate=3"], "must divide"),
        (["trainer.evaluate_every=often"], r"trainer\.evaluate_every: 'often' is not a duration"),
        (["trainer.batch_size=5000"], "only 1437 training examples"),
        (["trainer.device=tpu"], r"trainer\.device=tpu"),
        (["data.test=0"], r"data\.test: the test split of digits is empty"),
        (["data.validation=0"], r"data\.validation: the validation split of digits is empty"),
        (["task=regression"], "task=regression needs values"),
        (["data=diabetes", "task=classifier"], "task=classifier needs classes"),
        (["model=cnn", "data=tabular"], "takes images"),
        (["model=gan", "task=classifier"], "task=classifier.*task=gan"),
        (["model=gan", "task=regression", "data=diabetes"], "image"),
        (["task=gan"], "model=gan or mlp_gan"),
        (["optimizer.lr=-1"], "optimizer: Invalid learning rate"),
        (["optimizer.l1=-1"], r"optimizer\.l1=-1"),
        (["optimizer.players.generator.lr=1"], r"optimizer\.players\.generator: there is no"),
        (["schedule=cosine", "schedule.warmup=100%"], "schedule: warmup=100%"),
    ],
)  # fmt: skip
def test_a_combination_that_cannot_run_is_refused_before_anything_is_written(
    assembled, overrides, message, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=message) as caught:
        assembled(*overrides)
    assert len(str(caught.value).splitlines()) <= 5
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("choice", ["foreach", "differentiable"])
def test_an_optimizer_s_own_switches_can_be_chosen(assembled, choice):
    state = assembled(f"+optimizer.{choice}=true", "data.limit=100").state
    assert state.optimizers["model"].learning_rate == 1e-3


@pytest.mark.parametrize(
    "mistake",
    ["optimizer.lr=fast", "model.dropout=much", "+schedule.warmpu=3", "task.top_k=few"],
)
def test_a_mistake_in_any_section_is_found_before_the_data_is_touched(composed, mistake):
    """There is no such folder: reading the data first would be a DataError."""
    config = composed("data=folder", "data.path=/does/not/exist", mistake)
    with pytest.raises(ConfigError, match=mistake.lstrip("+").split("=")[0]):
        rehearse(Plan.of(config))
