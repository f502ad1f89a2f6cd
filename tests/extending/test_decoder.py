"""A decoder learns from a text of the user's own, with all that a run has."""

import pytest
import torch

CONFIGS = {}
WHO, DOES, WHAT = ("a fox", "the dog", "a cow"), ("sees", "hears"), ("a hen", "the pond", "grass")
TEXT = "".join(f"{who} {does} {what}.\n" for who in WHO for does in DOES for what in WHAT) * 15
MODEL = ("model=gpt", "model.depth=1", "model.width=32", "model.heads=2", "model.dropout=0.1")
TRAIN = (
    *(
        *MODEL,
        "data=text",
        "data.path=farm.txt",
        "data.tokenizer=chars",
        "data.context=31",
        "data.stride=7",
    ),
    *("trainer.batch_size=8", "trainer.accumulate=2", "trainer.ema=0.9", "trainer.tokens=1984"),
    *("trainer.evaluate_every=4", "trainer.sample_every=4", "trainer.log_every=1"),
    *("trainer.save_every=4", "trainer.threads=1", "task.sample_tokens=20"),
)


@pytest.fixture(scope="module", autouse=True)
def farm(user, tmp_path_factory):
    """The text, and where its tokens are kept."""
    (user.folder / "farm.txt").write_text(TEXT)
    (user.folder / "other.txt").write_text("the hen sees a fox.\n" * 5)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRAINWRIGHT_DATA", str(tmp_path_factory.mktemp("data")))
        yield


def test_it_learns_for_so_many_tokens_and_writes_on_the_way(user, trained):
    summary = user.summary(trained)
    assert summary["status"] == "finished"
    assert summary["last"]["step"] == 8  # of 8 windows of 31 tokens
    first, *_, last = (row for row in user.rows(trained) if "validation/loss" in row)
    assert last["validation/loss"] < first["validation/loss"]
    samples = user.folder / trained / "samples"
    assert [path.name for path in sorted(samples.iterdir())] == ["000004.txt", "000008.txt"]
    assert "tokens/s" in user.log(trained)


def test_stopped_and_resumed_it_is_to_the_bit_the_run_that_was_not(user, trained, resumed):
    assert user.has_the_bits_of(resumed, trained)


def test_parts_of_a_batch_add_up_to_the_step_of_the_whole(user):
    for accumulate in (1, 4):
        said = user.train(
            *(f"trainer.accumulate={accumulate}", f"run.dir=in-{accumulate}"),
            *("model.dropout=0", "trainer.precision=fp32", "optimizer=sgd", "optimizer.lr=0.1"),
        )
        assert said.code == 0, said.err
    one, other = user.weights("in-1"), user.weights("in-4")
    assert one.keys() == other.keys()
    for name in one:
        torch.testing.assert_close(one[name], other[name], rtol=1e-3, atol=1e-5)


def test_averaged_weights_are_kept_beside_those_that_are_trained(user, trained):
    weights = user.weights(trained)
    averaged = [name for name in weights if "embedding" in name and "averaged" in name]
    assert averaged, sorted(weights)[:8]


def test_its_evaluation_is_that_of_the_run_and_of_another_text_that_of_all_of_it(user, trained):
    own = user.told("evaluate", trained, "resamples=0", "--json")["metrics"]
    assert own["loss"]["value"] == pytest.approx(user.summary(trained)["test"]["loss"], rel=1e-3)
    other = user.told("evaluate", trained, "data.path=other.txt", "--json", "resamples=50")
    assert other["num_examples"] == -(-(5 * 20 - 1) // 31)
    low, high = other["metrics"]["bits_per_byte"]["interval"]
    assert low < other["metrics"]["bits_per_byte"]["value"] < high


def test_it_writes_texts_that_are_the_same_again(user, trained):
    texts = [user.runs("sample", trained, "n=2", "seed=3") for _ in range(2)]
    assert texts[0].code == 0, texts[0].err
    assert texts[0].out == texts[1].out != ""


def test_the_report_shows_what_it_wrote(user, trained):
    written = (user.folder / trained / "samples" / "000008.txt").read_text()
    (run,) = user.page(trained)["runs"]
    assert written in [sample["text"] for sample in run["samples"]]


def test_it_is_exported(user, trained):
    said = user.runs("export", trained, "format=pt2")
    assert said.code == 0, said.err


@pytest.mark.slow
def test_it_is_swept_and_a_wish_to_stack_it_is_refused_in_words(user):
    words = ("sweep.stack=on", "trainer.plots=false", "optimizer.lr=0.02,0.01")
    said = user.types_train("-m", *TRAIN, *words)
    assert said.code == 0, said.err
    assert "alone: 2 jobs: networks of the kind GPT are not stacked" in said.out
