"""Windows of a stream and a next-token task with a transformer: all a user's own, in one module."""

import pytest

CONFIGS = {
    "data/sentences.yaml": (
        "_target_: next_token.sentences\nnum: 300\nlength: 17\nis_sorted: true\n"
    ),
    "task/next_token.yaml": "defaults: [/metrics, _self_]\n_target_: next_token.NextToken\n",
    "model/transformer.yaml": (
        "defaults: [override /task@_global_.task: next_token, _self_]\n"
        "_target_: next_token.Transformer\nwidth: 16\nheads: 2\ndropout: 0.1\n"
    ),
}
TRAIN = (
    *("data=sentences", "model=transformer", "optimizer=adamw", "optimizer.lr=3e-3"),
    *("trainer.steps=8", "trainer.batch_size=8", "trainer.evaluate_every=4"),
    *("trainer.sample_every=4", "trainer.log_every=1", "trainer.ema=0.9", "trainer.threads=1"),
)


def test_it_trains_and_shows_text_on_the_way(user, trained):
    summary = user.summary(trained)
    assert summary["status"] == "finished"
    assert summary["best"]["metrics"]["bits"] < user.rows(trained)[3]["validation/bits"]
    samples = user.folder / trained / "samples"
    assert [path.name for path in sorted(samples.iterdir())] == ["000004.txt", "000008.txt"]
    assert len((samples / "000008.txt").read_text().splitlines()) == 3


def test_stopped_and_resumed_it_is_to_the_bit_the_run_that_was_not(user, trained, resumed):
    assert user.has_the_bits_of(resumed, trained)


def test_it_is_evaluated_with_intervals_of_its_own_metrics(user, trained):
    measured = user.told("evaluate", trained, "resamples=50", "--json")["metrics"]
    assert measured["bits"]["value"] == pytest.approx(user.summary(trained)["test"]["bits"])
    for name in ("bits", "perplexity"):
        low, high = measured[name]["interval"]
        assert low < measured[name]["value"] < high


def test_a_text_whose_letters_are_numbered_otherwise_is_the_same_text(user, trained):
    own, other = (
        user.told("evaluate", trained, "resamples=0", "--json", *words)["metrics"]
        for words in ((), ("data.is_sorted=false",))
    )
    assert own == other


def test_data_with_columns_of_another_name_or_length_is_refused(user, trained):
    for words, why in (
        (["data.length=9"], "examples of sentences are 9, and this run has learned 17"),
        (["data=digits"], "the inputs of digits are called inputs, and this run has learned text"),
    ):
        said = user.runs("evaluate", trained, *words)
        assert said.code == 2
        assert why in said.err


def test_what_it_writes_is_sampled_as_a_text(user, trained):
    said = user.runs("sample", trained, "n=4", "seed=1", "out=made.txt")
    assert (said.code, said.out) == (0, "made.txt\n"), said.err
    lines = (user.folder / "made.txt").read_text().splitlines()
    assert len(lines) == 4
    said = user.runs("sample", trained, "n=4", "seed=2")
    assert said.code == 0, said.err
    again = user.folder / said.out.strip()
    assert again.suffix == ".txt"
    assert again.read_text().splitlines() != lines


def test_a_picture_of_a_text_is_refused(user, trained):
    said = user.runs("sample", trained, "progress=gif")
    assert said.code == 2
    assert "samples are texts" in said.err
    assert "000004.txt to 000008.txt" in said.err
    said = user.runs("sample", trained, "format=npy")
    assert said.code == 2
    assert "format=npy is for images, and this run makes up a text" in said.err


def test_the_page_shows_its_texts(user, trained):
    (run,) = user.page(trained)["runs"]
    texts = {sample["step"]: sample["text"] for sample in run["samples"]}
    samples = user.folder / trained / "samples"
    assert texts == {step: (samples / f"{step:06d}.txt").read_text() for step in (4, 8)}
    assert {panel["title"] for panel in run["panels"]} >= {"loss", "bits", "perplexity"}


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (("predict", "letters.txt"), "this run does not predict: it is a NextToken"),
        (("export",), "cannot be exported: NextToken says nothing of its inputs and outputs"),
    ],
)
def test_what_it_has_no_method_for_is_refused_by_its_name(command, said, user, trained):
    (user.folder / "letters.txt").write_text("a cat")
    name, *files = command
    refused = user.runs(name, trained, *files)
    assert refused.code == 2
    assert said in refused.err


@pytest.mark.slow
def test_it_is_swept_and_not_stacked_and_the_plan_says_why(user):
    said = user.train("-m", "model.width=8,16", "sweep.stack=on", "sweep.dir=swept")
    assert said.code == 0, said.err
    why = "only trainwright's own models are stacked, not next_token.Transformer"
    assert f"alone: 2 jobs: {why}" in said.out
    assert "best: model.width=" in said.out
    assert user.runs("sweep", "swept").code == 0


def test_a_task_of_ones_own_is_tried_and_learns_nothing_from_it(user, trained, monkeypatch):
    monkeypatch.setattr("trainwright.run.assemble.assemble.try_task", lambda *_: None)
    assert user.train("run.dir=untried").code == 0
    assert user.has_the_bits_of("untried", trained)


def test_a_metric_of_the_config_is_measured_beside_its_own(user):
    said = user.train("task.metrics.again._target_=next_token.Bits", "run.dir=measured")
    assert said.code == 0, said.err
    test = user.summary("measured")["test"]
    assert test["again/bits"] == test["bits"]


def test_a_fork_of_it_names_every_part_that_it_takes(user, trained):
    said = user.runs("fork", trained, "run.dir=forked", "trainer.plots=false")
    assert said.code == 0, said.err
    assert "numbers: the network's own, letters, norm, attention, head, out\n" in said.out
