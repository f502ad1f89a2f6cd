"""Going on with other settings: each change is said, and no run claims to be what it is not."""

import json
import math
import random
import shutil

import pytest
import torch
from harness import damage, fingerprint

from trainwright.engine.checkpoint import checkpoint
from trainwright.errors import CheckpointError, ConfigError
from trainwright.run.announce import log as announcements
from trainwright.run.resume import continuing
from trainwright.run.resume.changes import apply_changes
from trainwright.run.resume.recover import read
from trainwright.run.resume.resume import resume_request
from trainwright.runs.folder import RunFolder

RUN = (
    "model=mlp", "model.widths=[16]", "data.limit=200", "trainer.batch_size=16",
    "trainer.log_every=2", "trainer.evaluate_every=4", "trainer.save_every=4",
    "trainer.sample_every=0",
)  # fmt: skip
STEPS = 20


@pytest.fixture(scope="module")
def finished(train, tmp_path_factory):
    """A run of 20 steps with the default schedule, a cosine down to 0."""
    folder = tmp_path_factory.mktemp("finished") / "run"
    return train(folder, *RUN, f"trainer.steps={STEPS}").folder


@pytest.fixture
def ended(finished, tmp_path):
    shutil.copytree(finished, tmp_path / "run")
    return RunFolder(tmp_path / "run")


@pytest.fixture
def halfway(finished, tmp_path):
    """The same run as if it had been killed after step 12."""
    shutil.copytree(finished, tmp_path / "run")
    folder = RunFolder(tmp_path / "run")
    rewritten(folder.previous, lambda metadata: None)
    return folder


@pytest.fixture
def said(monkeypatch):
    """The lines that the run says at its start."""
    lines = []

    def keep(message, *arguments, extra=None):
        lines.append(message % arguments if arguments else message)

    monkeypatch.setattr(announcements, "info", keep)
    return lines


def rewritten(path, change):
    """A checkpoint with other metadata and a digest that is right."""
    found = read(path)
    metadata = {key: value for key, value in found.metadata.items() if key != "format"}
    change(metadata)
    checkpoint.save([path], found.tensors, metadata)


def rates_of(folder):
    rows = [json.loads(line) for line in folder.metrics.read_text().splitlines()]
    return {row["step"]: row["lr"] for row in rows}


def resumed_records(folder):
    return json.loads((folder.path / "summary.json").read_text())["resumed"]


def cosine(step, steps, lr=1e-3):
    """The learning rate of step number `step`, from 1, by hand."""
    return lr * (1 + math.cos(math.pi * (step - 1) / steps)) / 2


def go_on_from_the_middle(resume, folder, *changes):
    """Go on from step 16, the checkpoint before the last."""
    return resume(folder.previous, *changes)


def test_nothing_changed_is_said_to_be_nothing_changed_and_is_the_same_run(ended, resume, said):
    expected = fingerprint(ended.path)
    go_on_from_the_middle(resume, ended)
    assert "resumed at step 16" in said
    assert not any("not bit-exact" in line or "->" in line for line in said)
    assert fingerprint(ended.path) == expected
    assert resumed_records(ended) == [
        {"step": 16, "checkpoint": "previous.safetensors", "changes": [], "not_exact": [],
         "notes": []}
    ]  # fmt: skip


def test_a_learning_rate_is_applied_to_the_state_as_it_is(ended, resume, said):
    go_on_from_the_middle(resume, ended, "optimizer.lr=0.1")
    assert "optimizer.lr: 0.001 -> 0.1, applied" in said
    rates = rates_of(ended)
    assert rates[16] == pytest.approx(cosine(16, STEPS))
    assert rates[18] == pytest.approx(cosine(18, STEPS, lr=0.1))
    assert int(read(ended.last).tensors["optimizer.model.layers.1.weight.step"]) == STEPS


def test_weight_decay_begun_late_keeps_each_parameter_its_own_memory(ended, resume):
    """Decay puts weights before biases: by position they would take each other's moments."""
    before = read(ended.previous).tensors
    go_on_from_the_middle(resume, ended, "optimizer.weight_decay=0.01", "trainer.steps=17")
    after = read(ended.last).tensors
    moments = [name for name in before if name.endswith("exp_avg")]
    assert len(moments) == 4
    for name in moments:
        similar = torch.nn.functional.cosine_similarity(
            before[name].flatten(), after[name].flatten(), dim=0
        )
        assert similar > 0.5, name


def test_another_optimizer_begins_anew_and_says_so(ended, resume, said):
    go_on_from_the_middle(resume, ended, "optimizer=adam")
    assert "optimizer: Adam -> Adam, optimizer begins anew" in said
    assert int(read(ended.last).tensors["optimizer.model.layers.1.weight.step"]) == 4


def test_averages_begun_late_begin_with_the_weights_of_that_step(ended, resume, said):
    weights = read(ended.previous).tensors
    go_on_from_the_middle(resume, ended, "trainer.ema=0.9999", "trainer.steps=17")
    assert "trainer.ema: null -> 0.9999, averages begins anew" in said
    after = read(ended.last).tensors
    name = "layers.1.weight"
    weight = 1 - min(0.9999, 17 / 26)
    mean = torch.lerp(weights[f"task.model.{name}"], after[f"task.model.{name}"], weight)
    found = next(v for n, v in after.items() if n.startswith("averaged.") and n.endswith(name))
    assert torch.allclose(found, mean, atol=1e-7)


def test_a_run_made_longer_does_not_raise_its_learning_rate_unasked(ended, resume):
    before = {p: p.read_bytes() for p in ended.path.rglob("*") if p.is_file()}
    with pytest.raises(ConfigError, match=r"learning rate of 0.*\n.*trainer.schedule_until=100%"):
        resume(ended.path, "trainer.steps=30")
    assert {p: p.read_bytes() for p in ended.path.rglob("*") if p.is_file()} == before


def test_a_schedule_is_stretched_when_that_is_asked_for(ended, resume, said):
    resume(ended.path, "trainer.steps=30", "trainer.schedule_until=100%")
    rates = rates_of(ended)
    assert rates[20] == pytest.approx(cosine(20, 20))
    assert rates[22] == pytest.approx(cosine(22, 30))
    assert rates[30] == pytest.approx(cosine(30, 30))
    assert any("the schedule spans steps 0 to 30" in line for line in said)


def test_a_schedule_that_does_not_end_at_0_stays_where_it_ended(train, resume, tmp_path, said):
    folder = RunFolder(
        train(tmp_path / "run", *RUN, "trainer.steps=8", "schedule.final=0.1").folder
    )
    resume(folder.path, "trainer.steps=12")
    rates = rates_of(folder)
    assert rates[10] == rates[12] == pytest.approx(1e-4)
    assert any("0.1 times optimizer.lr now, 0.1 in the last step" in line for line in said)


def test_another_schedule_begins_where_the_run_goes_on(ended, resume, said):
    resume(ended.path, "trainer.steps=30", "schedule=cosine", "schedule.warmup=2")
    assert "schedule: Cosine -> Cosine, schedule begins anew" in said
    rates = rates_of(ended)
    assert rates[22] == pytest.approx(1e-3 * 2 / 3)
    assert rates[24] == pytest.approx(cosine(2, 8))
    assert rates[30] == pytest.approx(cosine(8, 8))


def test_a_schedule_begun_anew_goes_on_after_another_stop(ended, resume):
    """What the run is since then is in its config: a plain resume is the same run."""
    resume(ended.path, "trainer.steps=30", "schedule=linear")
    expected = rates_of(ended), fingerprint(ended.path)["last"]
    assert read(ended.previous).step == 28
    go_on_from_the_middle(resume, ended)
    assert (rates_of(ended), fingerprint(ended.path)["last"]) == expected


@pytest.mark.parametrize(
    ("typed", "reason"),
    [
        ("model.widths=[8]", "weights would not fit"),
        ("seed=1", "every batch and every draw"),
        ("trainer.batch_size=8", "another number of examples"),
        ("data.limit=9", "these examples"),
        ("run.name=other", "where its folder is"),
    ],
)
def test_what_a_run_must_keep_is_refused_with_the_reason(typed, reason, ended, resume):
    with pytest.raises(ConfigError, match=rf"cannot be changed when a run goes on: .*{reason}"):
        resume(ended.path, typed)


@pytest.mark.parametrize(
    ("name", "then", "line"),
    [
        ("threads", "64", "not bit-exact: threads 64 -> 1"),
        ("torch", "2.0.0", "not bit-exact: torch 2.0.0 -> "),
        ("device", "cuda", "not bit-exact: device cuda -> cpu"),
        ("precision", "fp16", "not bit-exact: precision fp16 -> "),
        ("processor", "another", "not bit-exact: processor another -> "),
        ("data", "0", "not bit-exact: data 0 -> "),
        ("memory_format", "other", "not bit-exact: memory format other -> "),
    ],
)
def test_other_circumstances_are_said_at_the_start_and_in_the_summary(
    name, then, line, ended, resume, said
):
    rewritten(ended.previous, lambda metadata: metadata["environment"].update({name: then}))
    go_on_from_the_middle(resume, ended)
    assert [text for text in said if text.startswith(line)] != []
    (record,) = resumed_records(ended)
    assert [text for text in record["not_exact"] if f"not bit-exact: {text}".startswith(line)]


def test_control_where_circumstances_are_not_compared_a_false_claim_is_seen(
    ended, resume, said, monkeypatch
):
    monkeypatch.setattr(continuing, "differences", lambda then, now: [])
    rewritten(ended.previous, lambda metadata: metadata["environment"].update(threads="64"))
    go_on_from_the_middle(resume, ended)
    assert not any("not bit-exact" in text for text in said)
    assert [record["not_exact"] for record in resumed_records(ended)] == [[]]


def test_a_checkpoint_that_does_not_say_where_it_was_made_is_not_claimed_to_be_exact(
    ended, resume, said
):
    rewritten(ended.previous, lambda metadata: metadata.pop("environment"))
    go_on_from_the_middle(resume, ended)
    assert any(line.startswith("not bit-exact: torch unknown -> ") for line in said)


def test_a_damaged_checkpoint_is_passed_over_for_the_one_before_and_the_end_is_the_same(
    ended, resume, said
):
    expected = fingerprint(ended.path)
    damage(ended.last, random.Random(0))
    resume(ended.path)
    assert any(line.startswith(str(ended.last)) and "damaged" in line for line in said)
    assert "going on from previous.safetensors instead, at step 16" in said
    assert fingerprint(ended.path) == expected


def test_with_two_damaged_it_goes_on_from_the_best(ended, resume, said):
    expected = fingerprint(ended.path)
    for path in (ended.last, ended.previous):
        damage(path, random.Random(0))
    resume(ended.path)
    step = json.loads((ended.path / "summary.json").read_text())["resumed"][0]["step"]
    assert f"going on from best.safetensors instead, at step {step}" in said
    assert fingerprint(ended.path) == expected


def test_a_damaged_best_is_noticed_before_training_and_not_after(ended, resume, said):
    damage(ended.best, random.Random(0))
    resume(ended.path, "trainer.steps=24", "schedule=constant")
    assert any(line.startswith(str(ended.best)) and "damaged" in line for line in said)
    checkpoint.load(ended.best)


def test_where_all_are_damaged_nothing_is_started(ended, resume):
    for path in (ended.last, ended.previous, ended.best):
        damage(path, random.Random(0))
    before = {p: p.read_bytes() for p in ended.path.rglob("*") if p.is_file()}
    with pytest.raises(CheckpointError, match="nothing is left to go on from") as refused:
        resume(ended.path)
    assert len(str(refused.value).splitlines()) <= 5
    assert {p: p.read_bytes() for p in ended.path.rglob("*") if p.is_file()} == before


def test_a_key_that_the_configs_of_today_do_not_have_needs_no_plus(
    train, composed, tmp_path, monkeypatch
):
    """`data.path` is no key of `data=digits`, with which the command line composes."""
    from trainwright.cli.terminal.arguments import in_order

    assert in_order(["trainer.resume=run", "data.path=there", "model=cnn"]) == [
        "++trainer.resume=run", "++data.path=there", "model=cnn",
    ]  # fmt: skip
    assert in_order(["data.path=there"]) == ["data.path=there"]
    stored = composed("data=folder", "data.path=here", "trainer.steps=4")
    changes = apply_changes(
        stored, composed("++data.path=there"), ["++data.path=there"], step=2, total=4
    )
    assert [str(change) for change in changes] == ["data.path: here -> there, applied"]
    assert stored.data.path == "there"


def test_a_refused_resume_leaves_no_lock(ended, resume, composed):
    with pytest.raises(ConfigError):
        resume(ended.path, "seed=1")
    request = resume_request(composed(f"trainer.resume={ended.path}"), [])
    request.resume.lock.release()
