"""`runs sample` of a run that writes text: on the screen, as lines, into a file."""

import json

import pytest

TEXT = "To be, or not to be: that is the question.\n" * 40


@pytest.fixture(scope="module")
def writer(train, tmp_path_factory):
    """The folder of a run that has learned a few letters."""
    folder = tmp_path_factory.mktemp("writer")
    (folder / "play.txt").write_text(TEXT)
    words = ("data=text", f"data.path={folder / 'play.txt'}", "data.context=16")
    sizes = (
        "data.tokenizer=chars",
        "model=gpt",
        "model.depth=1",
        "model.width=16",
        "model.heads=1",
    )
    train(folder / "run", *words, *sizes, "trainer.steps=4", "trainer.batch_size=4")
    return folder / "run"


@pytest.fixture
def sample(call, writer, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def start(*words):
        return call("sample", writer, *words)

    return start


def test_texts_are_printed_one_after_the_other(sample):
    code, out, _ = sample("prompt=To be", "n=3", "max_tokens=12")
    texts = out.removesuffix("\n").split("\n\n----\n")
    assert (code, len(texts)) == (0, 3)
    assert all(text.startswith("To be") and len(text) == 17 for text in texts)
    assert sample("prompt=To be", "n=3", "max_tokens=12")[1] == out
    assert sample("prompt=To be", "n=3", "max_tokens=12", "seed=1")[1] != out


def test_as_lines_each_text_is_an_object(sample, tmp_path):
    (tmp_path / "prompts.txt").write_text("that\nis\n")
    code, out, _ = sample("prompts=prompts.txt", "n=2", "max_tokens=5", "--jsonl")
    told = [json.loads(line) for line in out.splitlines()]
    assert code == 0
    assert [one["prompt"] for one in told] == ["that", "that", "is", "is"]
    assert all(one["tokens"] == len(one["text"]) == 5 for one in told)


def test_with_out_a_text_goes_to_a_file(sample, tmp_path):
    code, out, _ = sample("prompt=To", "n=2", "max_tokens=5", "out=said.txt")
    assert (code, out) == (0, "said.txt\n")
    printed = sample("prompt=To", "n=2", "max_tokens=5")[1]
    assert (tmp_path / "said.txt").read_text().strip() == printed.strip()


def test_a_stop_string_may_be_one_of_several(sample):
    _, whole, _ = sample("max_tokens=40", "temperature=3")
    for stop in (whole[9], json.dumps([whole[9], "never"])):
        _, out, _ = sample("max_tokens=40", "temperature=3", f"stop={stop}")
        assert out == whole[: whole.index(whole[9])] + "\n"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["top_p=2"], "top_p=2 must be above 0 and at most 1"),
        (["top_k=many"], "top_k=many: it must be a whole number"),
        (["temperature=nan"], "temperature=nan: it must be a number"),
        (["stop=[1]"], "stop=[1]: it must be one text, or several as a list"),
        (["prompt=Zebra"], "prompt 'Zebra': a letter is 'Z', which is new"),
        (["prompts=none.txt"], "prompts=none.txt cannot be read"),
        (["temprature=1"], "did you mean temperature?"),
        (["format=npy"], "format=npy is for images, and this run makes up a text"),
        (["class=3"], "this run was not told of classes"),
        (["out=a.txt", "--jsonl"], "--jsonl is for texts that are printed"),
    ],
)
def test_what_cannot_be_is_refused(sample, words, told):
    code, out, err = sample(*words)
    assert (code, out) == (2, "")
    assert told in err


def test_a_run_that_draws_images_takes_no_prompt(call, real_root):
    code, _, err = call("sample", "gan", f"--root={real_root}", "prompt=a cat")
    assert code == 2
    assert "prompt: there is no such key" in err
