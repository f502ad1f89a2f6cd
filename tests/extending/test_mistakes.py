"""Mistakes in a user's own task and data, told in words, and by the user's names for things."""

import pytest

ALSO = ("next_token.py",)
DATA = ("lost", "misnamed", "unfounded", "too_long", "too_few")
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
        ("model._target_=mistakes.NoSuper", 2, "model: mistakes.NoSuper fails when it is made"),
        ("model._target_=mistakes.NoSuper", 2, "mistakes.py:"),
        ("model._target_=mistakes.NoSuperNorLayers", 2, "must begin with super().__init__()"),
        ("model._target_=mistakes.Typo", 2, "NameError: name 'vocab_sizes' is not defined"),
        ("model._target_=torn.Net", 2, "torn is not valid Python"),
        ("model._target_=unmade.Net", 2, "unmade.py:1: 1 / 0"),
        ("data=lost", 2, "data: mistakes.lost fails when it is made"),
        ("data=misnamed", 3, "told: inputs names 'txt', which has no column; did you mean text?"),
        ("data=unfounded", 3, "told: columns names 'txt', which the training split lacks"),
        ("data=too_long", 3, "text in the train split is of shape (17,), and its column Tokens of"),
        ("data=too_few", 3, "and its vocabulary 2 tokens"),
    ],
)
def test_a_mistake_is_told_by_its_name_before_anything_is_written(mistake, code, told, user):
    (user.folder / "torn.py").write_text("class Net(:\n")
    (user.folder / "unmade.py").write_text("1 / 0\n")
    said = user.train(mistake, "run.dir=wrong")
    assert said.code == code, said.err
    assert told in said.err
    assert len(said.err.splitlines()) <= 5
    assert not (user.folder / "wrong").exists()


def test_what_a_task_shows_must_be_something_to_look_at(user):
    said = user.train("task._target_=mistakes.Numbers", "run.dir=numbers")
    assert said.code == 2
    assert "Numbers.showcase returned a Tensor" in said.err


def test_what_is_called_otherwise_than_it_was_written_is_told_by_its_line(user):
    said = user.train("task._target_=mistakes.MakesUp", "run.dir=made")
    assert said.code == 0, said.err
    said = user.runs("sample", "made")
    assert said.code == 2
    assert "def generate(self, num):" in said.err
    assert len(said.err.splitlines()) <= 5


@pytest.mark.parametrize(
    ("hook", "line"), [("Impatient", "def __call__(self, state):"), ("Careless", 'metrics["lss"]}')]
)
def test_a_hook_that_fails_ends_the_run_with_its_line_and_leaves_the_traceback(hook, line, user):
    said = user.train(f"hooks.it._target_=mistakes.{hook}", f"run.dir={hook}")
    assert said.code == 2
    assert line in said.err
    assert user.summary(hook)["status"] == "failed"
    assert line in user.summary(hook)["error"]
    assert "Traceback" in user.log(hook)


@pytest.mark.parametrize(
    ("hook", "told"), [("Wordy", "hooks.it gives 'good' as mood"), ("Listing", "returned a list")]
)
def test_what_a_hook_returns_must_be_numbers_or_something_to_show(hook, told, user):
    said = user.train(f"hooks.it._target_=mistakes.{hook}", f"run.dir={hook}")
    assert said.code == 2
    assert told in said.err
