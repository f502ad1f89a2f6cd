"""Windows of a stream and a next-token task with a transformer: all a user's own, in one module."""

CONFIGS = {
    "data/sentences.yaml": "_target_: next_token.sentences\nnum: 300\nlength: 17\ntext_seed: 0\n",
    "task/next_token.yaml": "_target_: next_token.NextToken\n",
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
    assert summary["test"]["bits"] > 0
    samples = user.folder / trained / "samples"
    assert [path.name for path in sorted(samples.iterdir())] == ["000004.txt", "000008.txt"]
    assert len((samples / "000008.txt").read_text().splitlines()) == 3


def test_stopped_and_resumed_it_is_to_the_bit_the_run_that_was_not(user, trained, resumed):
    assert user.has_the_bits_of(resumed, trained)
