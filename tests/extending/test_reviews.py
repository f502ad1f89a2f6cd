"""Texts are classified; and a network that has learned from text without labels goes on so."""

import json

CONFIGS = {"data/reviews.yaml": "_target_: reviews.reviews\nnum: 300\n"}
SMALL = ("model=text_encoder", "model.depth=1", "model.width=32", "trainer.batch_size=32")
TRAIN = (*SMALL, "data=reviews", "trainer.steps=40", "trainer.threads=1")


def test_texts_are_classified_and_new_ones_predicted_from_a_table(user, trained):
    assert user.summary(trained)["test"]["accuracy"] > 0.9
    (user.folder / "new.csv").write_text("text\nquite awful film\na lovely a\n")
    said = user.runs("predict", trained, "new.csv", "--jsonl")
    assert said.code == 0, said.err
    told = [json.loads(line)["class"] for line in said.out.splitlines()]
    assert told == ["bad", "good"]


def test_what_has_learned_hidden_tokens_is_forked_to_learn_classes(user):
    (user.folder / "a.txt").write_text("the film was very good, a quite poor film was the\n" * 99)
    words = ("task=masked_language", "data=text", "data.path=a.txt", "data.context=39")
    said = user.types_train(*SMALL, *words, "trainer.steps=4", "run.dir=masked")
    assert said.code == 0, said.err
    words = ("data=reviews", "task=classifier", "trainer.steps=40", "trainer.plots=false")
    said = user.runs("fork", "masked", *words, "run.dir=told")
    assert said.code == 0, said.err
    assert user.summary("told")["test"]["accuracy"] > 0.9


def test_a_text_is_explained_by_what_its_tokens_add(user, trained):
    (user.folder / "new.csv").write_text("text\nquite awful film\n")
    said = user.runs("explain", trained, "new.csv", "--json")
    assert said.code == 0, said.err
    (one,) = json.loads(said.out)["examples"]
    assert "".join(one["parts"]) == "quite awful film"
    assert set(one["methods"]) == {"integrated gradients", "leaving it out"}
    values = one["methods"]["leaving it out"]["values"]
    assert sum(map(abs, values[6:11])) > sum(map(abs, values[12:]))  # awful, film
