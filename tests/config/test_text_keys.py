"""Which keys take text, found in the source; and what is done to what is typed of them."""

import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainwright.config.text_keys import as_meant, kind_of, parse
from trainwright.errors import ConfigError

TEXT = ["data.root", "run.dir", "run.root", "run.name", "trainer.resume", "trainer.device",
        "trainer.early_stopping.metric", "sweep.dir", "sweep.storage",
        "logger.mlflow.tracking_uri", "logger.wandb.entity", "logger.tensorboard.dir"]  # fmt: skip
OTHER = ["optimizer.lr", "seed", "data.validation", "trainer.log_every",
         "trainer.precision", "data.name", "model.widths", "optimizer.others.lr", "data",
         "data.augment.flip", "nonsense.key", "trainer.nonsense"]  # fmt: skip
FREE = st.text("=()[]{}'#&;~ !<*?:@^+-./_0123456789eéЖ漢", min_size=1, max_size=12)


def test_the_annotations_say_which_keys_take_text():
    assert {key: kind_of(key, []) for key in TEXT} == dict.fromkeys(TEXT, "text")
    assert {key: kind_of(key, []) for key in OTHER} == dict.fromkeys(OTHER)
    assert {kind_of(k, []) for k in ("data.path", "fork.checkpoint")} == {"text that must be given"}
    assert [kind_of(key, []) for key in ("trust", "logger.wandb.tags")] == ["texts"] * 2
    assert kind_of("data.target", ["data=table"]) == "text or texts"
    listed = ("columns", "ignore", "categories", "text", "null")
    for key in (*(f"data.{key}" for key in listed), "sweep.metric"):
        assert kind_of(key, ["data=table"]) == "text or texts, or none"
    named = ["data=table", "data.columns=null", "data.ignore=id", "data.null=-9", "data.text=a,b"]
    assert as_meant(named)[1:] == [*named[1:3], 'data.null="-9"', 'data.text="a,b"']
    assert as_meant(["data=table", "data.null=['',\"\",NA,-9]", "data.target=2024"])[1:] == [
        'data.null=[\'\',"",NA,"-9"]',
        'data.target="2024"',
    ]


def test_a_model_of_ones_own_says_so_too(tmp_path, monkeypatch):
    """And where another option has a number of that name, the one that is chosen decides."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "own_text.py").write_text("class Net:\n def __init__(self, *, width: str): 1 / 0\n")
    (tmp_path / "configs" / "model").mkdir(parents=True)
    (tmp_path / "configs" / "model" / "own.yaml").write_text("_target_: own_text.Net\nwidth: a\n")
    assert kind_of("model.width", []) is None
    assert kind_of("model.width", ["model=own"]) == "text that must be given"
    assert as_meant(["model=own", "model.width=2024"]) == ["model=own", 'model.width="2024"']


@settings(max_examples=300, deadline=None, derandomize=True, database=None)
@given(FREE)
def test_what_is_typed_of_a_path_is_that_path(name):
    """But for what Hydra reads as other text already, which it goes on to do: quotes, blanks."""
    before = parse(name)
    if not name.strip():
        return
    (typed,) = as_meant([f"run.dir={name}"])
    value = parse(typed.removeprefix("run.dir=")).value()
    was_text = before is not None and isinstance(before.value(), str)
    assert value == (before.value() if was_text else name)


@pytest.mark.parametrize(
    ("typed", "meant", "swept"),
    [
        ("optimizer.lr=1e-3", "optimizer.lr=1e-3", False),
        ("run.dir=null", "run.dir=null", False),  # none
        ("data.path=null", 'data.path="null"', False),  # it has no default
        ("++data.root=2024", '++data.root="2024"', False),
        ("data.path='a b'", "data.path='a b'", False),
        ("data.path=${oc.env:HOME}/x", "data.path=${oc.env:HOME}/x", False),
        ("data.path=a,b", 'data.path="a,b"', False),
        ("data.path=a,b", "data.path=a,b", True),
        ("data.path=2024,it's", 'data.path="2024","it\'s"', True),
        ("data.path='a,b',c", "data.path='a,b',c", True),
        ("data.path=glob(*)", "data.path=glob(*)", True),
        ("trust=[mine.Größe, a.B]", 'trust=["mine.Größe",a.B]', False),
        ("~data.path", "~data.path", False),
        ("model.widths=[512", "model.widths=[512", False),
    ],
)
def test_only_what_hydra_would_misread_is_quoted(typed, meant, swept):
    assert as_meant(["data=folder", typed], swept=swept)[1] == meant


def test_an_empty_one_is_refused_among_several_too():
    with pytest.raises(ConfigError, match="is empty"):
        as_meant(["data=folder", "data.path=it's,"], swept=True)


def test_nothing_is_imported_to_find_out():
    code = (
        "import sys; from trainwright.config.text_keys import as_meant\n"
        "as_meant(['data.limit=3', 'optimizer.lr=1', 'model.x=1', 'logger.wandb.tags=[1]'])\n"
        "assert not {'torch', 'numpy', 'trainwright.data', 'trainwright.nn'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
