"""Whole runs, with folders, that make their steps together, against the same runs one by one."""

import json
import math
from dataclasses import replace

import pytest
import torch
from omegaconf import OmegaConf
from rounding import rounding

from trainwright.config.plan import Plan
from trainwright.data.examples import Arrays
from trainwright.engine.checkpoint import checkpoint
from trainwright.errors import NonFiniteError
from trainwright.run.assemble.assemble import assemble
from trainwright.run.request import Request
from trainwright.run.run import run, running
from trainwright.stack.together import together

pytestmark = pytest.mark.numeric
SMALL = ("model.widths=[16]", "trainer.batch_size=16", "trainer.precision=fp32",
         "trainer.log_every=1", "trainer.plots=false", "data.limit=100")  # fmt: skip


@pytest.fixture
def both(composed, tmp_path):
    """The same runs stacked and one by one: for each what it returned or raised, by folder."""

    def make(common, own, dataset=None):
        configs = [OmegaConf.merge(composed(*common), OmegaConf.from_dotlist(o)) for o in own]
        requests = []
        for number, config in enumerate(configs):
            config.run.dir = str(tmp_path / f"stacked-{number}")
            requests.append(Request(Plan.of(config), dataset=dataset, stacked=True))
        found = together([running(request) for request in requests])
        expected = []
        for number, config in enumerate(configs):
            config.run.dir = str(tmp_path / f"alone-{number}")
            try:
                expected.append(run(Request(Plan.of(config), dataset=dataset)))
            except Exception as error:
                expected.append(error)
        return [
            (found[n], tmp_path / f"stacked-{n}", expected[n], tmp_path / f"alone-{n}")
            for n in range(len(own))
        ]

    return make


def rows(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def summary(folder):
    return json.loads((folder / "summary.json").read_text())


def assert_alike(folder, other, *facts):
    """The same steps, learning rates and ending, and weights that differ by rounding.

    A step of SGD moves a weight by sums over 16 examples, each of up to 64 products.
    """
    assert [(r["step"], r.get("lr")) for r in rows(folder)] == [
        (r["step"], r.get("lr")) for r in rows(other)
    ]
    for fact in ("status", "step", *facts):
        assert summary(folder)[fact] == summary(other)[fact]
    mine, theirs = (
        checkpoint.load(f / "checkpoints" / "last.safetensors")[0] for f in (folder, other)
    )
    assert mine.keys() == theirs.keys()
    for name, value in mine.items():
        tolerance = rounding(value.dtype, summary(folder)["step"] * (16 + 64))
        size = max(1, value.abs().max())  # where a run diverges that is far above 1
        torch.testing.assert_close(value, theirs[name], rtol=0, atol=float(tolerance * size))


@pytest.mark.slow
@pytest.mark.usefixtures("doubles")
def test_a_plateau_lowers_the_rate_of_each_member_when_that_has_stopped_improving(both):
    common = (*SMALL, "schedule=plateau", "schedule.patience=0", "trainer.steps=60",
              "trainer.evaluate_every=3", "optimizer=sgd")  # fmt: skip
    own = [["seed=1"], ["seed=2"], ["optimizer.lr=0.3"], ["schedule.gamma=0.1"]]
    courses = set()
    for _, folder, _, other in both(common, own):
        assert_alike(folder, other)
        courses.add(tuple(row["lr"] / rows(folder)[0]["lr"] for row in rows(folder)))
    assert len(courses) > 2  # they fall at different steps, or by different factors
    assert all(min(course) < 1 for course in courses)


@pytest.mark.usefixtures("doubles")
def test_a_batch_that_is_skipped_is_left_out_of_one_member_alone(both, composed):
    """One example has an infinite feature: each member meets it when its own order has it so."""
    common = (
        *SMALL,
        "data=diabetes",
        "optimizer=sgd",
        "trainer.on_nonfinite=skip",
        "trainer.steps=24",
        "trainer.evaluate_every=0",
    )
    dataset = assemble(Plan.of(composed(*common))).dataset
    inputs = dataset.train.columns["inputs"].clone()
    inputs[7, 3] = math.inf
    dataset = replace(dataset, train=Arrays({**dataset.train.columns, "inputs": inputs}))
    skipped = []
    for _, folder, _, other in both(common, [["seed=1"], ["seed=2"]], dataset):
        assert_alike(folder, other, "skipped_steps")
        missing = [row["step"] for row in rows(folder) if "train/loss" not in row]
        assert missing == [row["step"] for row in rows(other) if "train/loss" not in row]
        assert len(missing) == summary(folder)["skipped_steps"] > 0
        skipped.append(missing)
    assert skipped[0] != skipped[1]


# The rate rises a thousandfold a step (an epoch has 5): nothing can be learned from the third on.
DIVERGING = ["optimizer.lr=1e-5", "schedule.gamma=1e15"]


CALM = [["seed=1"], ["seed=2", "optimizer.lr=1e-3"]]


@pytest.mark.parametrize("company", [[], pytest.param(CALM, marks=pytest.mark.slow)])
def test_who_goes_back_to_a_checkpoint_catches_up_with_a_lower_rate(both, company):
    common = (
        *(*SMALL, "optimizer=sgd", "schedule=exponential", "schedule.gamma=0.9"),
        *("trainer.on_nonfinite=rollback", "trainer.rollback.factor=1e-40", "trainer.steps=12"),
        *("trainer.save_every=2", "trainer.evaluate_every=2"),
    )
    (_, folder, _, other), *calm = both(common, [DIVERGING, *company])
    assert_alike(folder, other, "rollbacks")
    assert summary(folder)["rollbacks"] > 0
    for _, mine, _, theirs in calm:
        assert_alike(mine, theirs, "rollbacks")
        assert summary(mine)["rollbacks"] == 0


@pytest.mark.slow
def test_who_cannot_be_mended_fails_and_the_others_end_as_they_would(both):
    common = (*SMALL, "optimizer=sgd", "trainer.steps=12", "trainer.on_nonfinite=skip",
              "trainer.max_skips=2")  # fmt: skip
    first, second = both(common, [["optimizer.lr=1e38"], ["seed=1"]])
    error, folder, alone, other = first
    assert isinstance(error, NonFiniteError)
    assert str(error).splitlines()[0] == str(alone).splitlines()[0]
    assert "2 batches in a row were skipped" in str(error)
    assert summary(folder)["status"] == summary(other)["status"] == "failed"
    assert_alike(second[1], second[3])


ILL = (
    *("model=mlp_gan", "data=digits", "task.score=none", "task.relativistic=false", "task.r1=0"),
    *(
        "trainer.precision=fp32",
        "trainer.steps=90",
        "trainer.evaluate_every=30",
        "trainer.ema=null",
    ),
    *("trainer.plots=false", "trainer.sample_every=0", "schedule=constant"),
)


@pytest.mark.slow
@pytest.mark.parametrize("on_ill", ["warn", "stop", "rollback"])
def test_an_illness_is_found_in_one_member_and_what_follows_is_its_own(both, on_ill):
    """Against a generator that stands still the discriminator wins; the other game goes well."""
    common = (*ILL, f"trainer.on_ill={on_ill}", "trainer.save_every=30")
    own = [["optimizer.players.generator.lr=0"], ["seed=1"]]
    (_, sick, _, alone), (_, well, _, other) = both(common, own)
    log = (sick / "train.log").read_text()
    assert "health: discriminator wins" in log
    assert set(summary(well)["health"]) == {"too early to tell", "healthy"}
    for mine, theirs in ((sick, alone), (well, other)):
        found, expected = summary(mine), summary(theirs)
        for fact in ("status", "step", "rollbacks", "health", "stopped_because"):
            assert found.get(fact) == expected.get(fact)
    assert summary(well)["status"] == "finished"
    assert ("rollback 1 of" in log) == (on_ill == "rollback")
