"""Mistakes in a user's own task and data, told in words, and by the user's names for things."""

import pytest

ALSO = ("next_token.py",)
DATA = ("misnamed", "unfounded", "too_long", "too_few")
CONFIGS = {
    "data/sentences.yaml": "_target_: next_token.sentences\n",
    "model/transformer.yaml": "_target_: next_token.Transformer\n",
    "task/next_token.yaml": "_target_: next_token.NextToken\n",
    **{f"data/{name}.yaml": f"_target_: mistakes.{name}\n" for name in DATA},
}
TRAIN = (
    *("data=sentences", "model=transformer", "task=next_token"),
    *("trainer.steps=2", "trainer.batch_size=8", "trainer.threads=1"),
)


@pytest.mark.parametrize(
    ("mistake", "code", "told"),
    [
        ("task._target_=mistakes.OtherColumn", 2, "forward fails with a batch of text (8, 17)"),
        ("task._target_=mistakes.OtherColumn", 2, ': return self.model(batch["txt"])'),
        ("task._target_=mistakes.NoMetric", 2, "gives no 'bit', which is the task's objective"),
        ("task._target_=mistakes.NotANumber", 2, "mistakes.Vague of mistakes.NotANumber gives a N"),
        ("task._target_=mistakes.LossAlone", 2, "forward returned a tensor of shape ()"),
        ("task._target_=mistakes.LossOfEach", 2, "returned a tensor of shape (8,) and a dict"),
        ("task._target_=mistakes.OtherColumns", 2, "names 'words', which sentences lacks"),
        ("task._target_=mistakes.Unranked", 2, "objective is a str"),
        ("task._target_=mistakes.Answer", 2, "evaluate returned a tensor of shape (8, 16)"),
        ("data=misnamed", 3, "told: inputs names 'txt', which has no column; did you mean text?"),
        ("data=unfounded", 3, "told: columns names 'txt', which the training split lacks"),
        ("data=too_long", 3, "text in the train split is of shape (17,), and its column Tokens of"),
        ("data=too_few", 3, "and its vocabulary 2 tokens"),
    ],
)
def test_a_mistake_is_told_by_its_name_before_anything_is_written(mistake, code, told, user):
    said = user.train(mistake, "run.dir=wrong")
    assert said.code == code, said.err
    assert told in said.err
    assert len(said.err.splitlines()) <= 5
    assert not (user.folder / "wrong").exists()


def test_what_a_task_shows_must_be_something_to_look_at(user):
    said = user.train("task._target_=mistakes.Numbers", "run.dir=numbers")
    assert said.code == 2
    assert "Numbers.showcase returned a Tensor" in said.err
