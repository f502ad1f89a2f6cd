"""What is asked why by HTTP is answered as by `runs explain`, and holds nobody else up."""

import asyncio
import base64
import contextlib
import io
import json
import shutil
import threading
from concurrent.futures import CancelledError

import numpy as np
import pytest
import torch
from PIL import Image

from trainwright.cli.runs import main as runs_command
from trainwright.data.sources.digits import load_digits_dataset
from trainwright.inference.explain.explain import Explainer
from trainwright.inference.predict import Prediction, answers_to
from trainwright.inference.serve.counts import Counts
from trainwright.inference.serve.worker import MOST_SLOW, RefusedError, Worker
from trainwright.inference.trained import load_trained, take_views

from .conftest import served

ROW = "age,job,since,income\n33,cook,2020-03-11,0.4\n"


@pytest.fixture
def told(capsys, tmp_path, monkeypatch):
    """What `runs explain --json` says of a file, of one method, and with what verdict."""
    monkeypatch.chdir(tmp_path)

    def tell(folder, name, content, method, *words):
        (tmp_path / name).write_bytes(content)
        capsys.readouterr()
        with contextlib.suppress(SystemExit):
            runs_command(["explain", str(folder), name, "checkpoint=last", *words, "--json"])
        said = capsys.readouterr().out
        found = json.loads(said[said.index("{\n") :])  # lines of the server's log may be there
        (one,) = found["examples"]
        verdict = found["methods"][method]["verdict"]
        methods = {method: {**one.pop("methods")[method], "verdict": verdict}}
        del one["input"]
        return {**one, "methods": methods}

    return tell


@pytest.fixture(scope="module")
def digit():
    file = io.BytesIO()
    Image.fromarray(load_digits_dataset().test.columns["inputs"][3, 0].numpy()).save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize("method", ["integrated gradients", "occlusion"])
def test_an_image_is_explained_as_its_file_is(site, folders, told, digit, method):
    answer = site("POST", f"/digits/explain?method={method.replace(' ', '-')}", digit, "image/png")
    found = answer.json
    picture = found.pop("picture")
    assert found == told(folders["digits"], "one.png", digit, method)
    assert answer.headers["x-step"] == "4"
    given = {"inputs": base64.b64encode(digit).decode()}
    asked = f"/digits/explain?method={method.upper().replace(' ', '%20')}"
    as_png = site.ask(asked, given, Accept="image/png")
    assert as_png.headers["content-type"] == "image/png"
    assert base64.b64decode(picture) == as_png.body
    # It is red where a value is above 0 and blue below, the more the larger.
    pixels = np.asarray(Image.open(io.BytesIO(as_png.body))).astype(int)
    assert pixels.shape == (256, 256, 3)
    redder = (pixels[..., 0] - pixels[..., 2])[16::32, 16::32]
    values = np.array(found["methods"][method]["values"])
    large = np.abs(values) > 0.1 * np.abs(values).max()
    assert large.sum() > 5
    assert (np.sign(redder) == np.sign(values))[large].all()


def test_a_row_is_explained_as_its_table_is(site, folders, told):
    wanted = told(folders["people"], "one.csv", ROW.encode(), "Shapley values", "output=no")
    assert set(wanted["features"]) == {"age", "job", "since", "income"}
    found = site("POST", "/people/explain?output=no", ROW.encode(), "text/csv").json
    assert found == wanted
    row = {"age": 33, "job": "cook", "since": "2020-03-11", "income": 0.4}
    assert site.ask("/people/explain?output=no", row).json == wanted
    assert site.ask("/people/explain?output=no", [row]).json == wanted
    assert site.ask("/people/explain", row, Accept="image/png").status == 406


def test_a_text_is_explained_token_by_token(reviews, told):
    wanted = told(reviews, "one.csv", b"text\ndull good\n", "leaving it out")
    with served({"reviews": reviews}) as (client, _):
        found = client.ask("/explain?method=leaving_it_out", {"text": "dull good"}).json
        assert found == wanted
        assert "".join(found["parts"]) == "dull good"
        info = client("GET", "/info").json
    assert info["explain"] == ["integrated gradients", "leaving it out"]


def test_it_is_listed_with_its_methods(site):
    assert site("GET", "/digits/info").json["explain"] == ["integrated gradients", "occlusion"]
    assert site("GET", "/gpt/info").json["explain"] == []
    path = site("GET", "/openapi.json").json["paths"]["/explain"]["post"]
    assert path["parameters"][0]["schema"]["enum"] == ["integrated gradients", "occlusion"]
    assert path["requestBody"]["content"]["application/json"]["schema"]["type"] == "object"
    assert list(path["responses"]["200"]["content"]) == ["application/json", "image/png"]
    assert "/explain" not in site("GET", "/gan/openapi.json").json["paths"]


def test_without_its_training_data_a_table_is_answered_and_not_explained(folders, tmp_path, capsys):
    folder = shutil.copytree(folders["people"], tmp_path / "people")
    hidden = (folders["people"].parent / "people.csv").rename(tmp_path / "hidden.csv")
    try:
        with served({"people": folder}) as (client, _):
            for _ in range(2):
                answer = client("POST", "/explain", ROW.encode(), "text/csv")
                assert answer.status == 422
                assert "training rows" in answer.json["error"]
                assert "people.csv" not in answer.json["error"]
            assert client("POST", "/predict", ROW.encode(), "text/csv").status == 200
    finally:
        hidden.rename(folders["people"].parent / "people.csv")
    assert "rows are not explained" in capsys.readouterr().err


@pytest.fixture
def digits(folders):
    return load_trained(folders["digits"] / "checkpoints" / "last.safetensors", device="cpu")


def test_others_are_answered_meanwhile_and_what_nobody_waits_for_ends(digits):
    pixels = np.zeros(digits.info.input.stored_shape, dtype=np.uint8)
    example = Prediction(None, columns={"inputs": pixels})
    answered, begun, ended = (threading.Event() for _ in range(3))
    worker = Worker(batch=4, wait=0, counts=Counts())

    def until_answered():
        while not answered.is_set():
            worker.pause()
        return "done"

    def for_ever():
        begun.set()
        try:
            while True:
                worker.pause()
        except CancelledError:
            ended.set()
            raise

    async def ask():
        worker.start()
        slow = asyncio.create_task(worker.slowly(until_answered))
        (found,) = await asyncio.wait_for(worker.answers(digits, [example]), 60)
        answered.set()
        assert await asyncio.wait_for(slow, 60) == "done"
        left = asyncio.create_task(worker.slowly(for_ever))
        assert await asyncio.to_thread(begun.wait, 60)
        others = [asyncio.create_task(worker.slowly(lambda: 1)) for _ in range(MOST_SLOW + 1)]
        await worker.answers(digits, [example])
        left.cancel()
        each = await asyncio.gather(*others, return_exceptions=True)
        assert each[:MOST_SLOW] == [1] * MOST_SLOW
        assert isinstance(each[-1], RefusedError)
        assert await worker.slowly(lambda: 2) == 2
        await worker.stop()
        return found

    found = asyncio.run(ask())
    assert ended.is_set()
    (alone,) = answers_to(digits, [example])
    assert torch.equal(found["targets"], alone["targets"])


def test_what_is_predicted_stays_the_same_bits_while_it_is_explained(digits):
    """Explanations look at one view of an image, with hooks in the network."""
    take_views(digits, "mirror_shift")
    torch.manual_seed(0)
    pixels = torch.randint(0, 255, digits.info.input.stored_shape, dtype=torch.uint8)
    example = Prediction(None, columns={"inputs": pixels.numpy()})
    (before,) = answers_to(digits, [example])
    during = []
    explainer = Explainer(digits, pause=lambda: during.extend(answers_to(digits, [example])))
    found = explainer.explain({"inputs": pixels})
    assert len(during) > 10
    assert all(torch.equal(one["targets"], before["targets"]) for one in during)
    take_views(digits, "none")
    (of_one_view,) = answers_to(digits, [example])
    torch.testing.assert_close(found.answer, of_one_view["targets"])
    assert not torch.equal(of_one_view["targets"], before["targets"])
