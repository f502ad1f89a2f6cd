"""What is asked by HTTP is answered as by `runs predict` and `runs sample`."""

import base64
import contextlib
import io
import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from PIL import Image

from trainwright.data.sources.digits import load_digits_dataset
from trainwright.inference.generate import make_up
from trainwright.inference.predict import answers_to, predict, targets_of, told
from trainwright.inference.trained import load_trained
from trainwright.report.plots.grid import image_grid

from .conftest import Client


@pytest.fixture(scope="module")
def trained(folders):
    """What the runs have learned, by name."""
    where = "checkpoints/last.safetensors"
    return {name: load_trained(folder / where) for name, folder in folders.items()}


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Forty digits as PNG files."""
    folder = tmp_path_factory.mktemp("photos")
    images = load_digits_dataset().test.columns["inputs"][:40]
    for number, image in enumerate(images):
        Image.fromarray(image[0].numpy()).save(folder / f"{number:02d}.png")
    return sorted(folder.iterdir())


@pytest.fixture(scope="module")
def said(trained, photos):
    """What `runs predict` says of each, by itself."""
    digits = trained["digits"]
    found = [next(predict(digits, [photo])) for photo in photos]
    return [told(targets_of(digits), one.answers, 3) for one in found]


@pytest.fixture
def one_thread():
    """Several threads share out the rows of a batch by its size."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.numeric  # (The others compare one thread with another, on whatever processor.)
def test_an_answer_of_one_thread_has_the_same_bits_whoever_asks_beside(trained, photos, one_thread):
    digits = trained["digits"]
    examples = []
    for photo in photos:
        column = digits.info.input
        found = next(predict(digits, [photo]))
        examples.append(type(found)(photo, columns={"inputs": column.of_file(photo)}))
    together = [answer["targets"] for answer in answers_to(digits, examples)]
    for num in (1, 2, 3, 5, 9, 31):
        for start in range(0, len(examples) - num, num):
            for place, answer in enumerate(answers_to(digits, examples[start : start + num])):
                assert torch.equal(answer["targets"], together[start + place])


def test_images_are_answered_as_files_are(site, photos, said):
    for photo, expected in zip(photos[:5], said, strict=False):
        answer = site("POST", "/digits/predict", photo.read_bytes(), "image/png")
        assert (answer.status, answer.json) == (200, expected)
        assert site("POST", "/predict", photo.read_bytes(), "image/png").json == expected
    assert len({one["class"] for one in said}) > 1
    assert answer.headers["x-step"] == "4"


def test_many_at_once_get_each_its_own_answer(site, photos, said):
    bodies = [photo.read_bytes() for photo in photos]

    def ask(worker):
        places = [(worker * 7 + i) % len(photos) for i in range(8)]
        with contextlib.closing(Client(site.port)) as client:
            return [(p, client("POST", "/predict", bodies[p], "image/png").json) for p in places]

    with ThreadPoolExecutor(32) as pool:
        found = [pair for pairs in pool.map(ask, range(32)) for pair in pairs]
    assert [answer for _, answer in found] == [said[place] for place, _ in found]
    sizes = [
        line for line in site("GET", "/metrics").body.decode().splitlines()
        if line.startswith("trainwright_batch_examples_")
    ]  # fmt: skip
    total, batches = (float(line.split()[1]) for line in sizes[-2:])
    assert total > 1.5 * batches  # they were computed together


def test_json_holds_one_or_many_as_base64_or_as_pixels(site, photos, said):
    files = [{"inputs": base64.b64encode(photo.read_bytes()).decode()} for photo in photos]
    assert site.ask("/predict", files[0]).json == said[0]
    assert site.ask("/predict", files).json == said
    url = {"inputs": f"data:image/png;base64,{files[1]['inputs']}"}
    assert site.ask("/predict", url).json == said[1]
    pixels = [{"inputs": np.asarray(Image.open(photo)).tolist()} for photo in photos[:3]]
    assert site.ask("/predict", pixels).json == said[:3]
    assert len(site.ask("/predict?top=10", files[0]).json["top"]) == 10


def test_a_table_is_answered_as_its_file_is(site, trained, tmp_path):
    table = "job,age,income,since\ncook,20,,2020-01-11\npilot,70,0.5,2020-05-11\nsailor,33,0.2,\n"
    (tmp_path / "people.csv").write_text(table)
    people = trained["people"]
    expected = [
        told(targets_of(people), one.answers, 3)
        for one in predict(people, [tmp_path / "people.csv"])
    ]
    assert len(expected) == 3
    assert site("POST", "/people/predict", table.encode(), "text/csv").json == expected
    rows = [
        {"age": 20, "job": "cook", "since": "2020-01-11", "income": None},
        {"age": "70", "job": "pilot", "since": "2020-05-11", "income": 0.5, "shoe": 44},
        {"age": 33, "job": "sailor", "since": None, "income": 0.2},
    ]
    assert site.ask("/people/predict", rows).json == expected


def test_what_a_form_starts_from_can_be_asked(site):
    info = site("GET", "/people/info").json
    usual = {
        key: schema.get("default", schema.get("examples", [None])[0])
        for key, schema in info["inputs"].items()
    }
    assert 30 < usual["age"] < 70
    assert usual["since"].startswith("2020-0")
    assert site.ask("/people/predict", usual).json["class"] in ("yes", "no")
    assert (
        site("GET", "/people/openapi.json").json["paths"]["/predict"]["post"]["requestBody"][
            "content"
        ]["application/json"]["example"]
        == usual
    )


def test_images_are_made_as_runs_sample_makes_them(site, trained):
    how = {"n": 6, "seed": 3, "class": ["2", 5]}
    made = make_up(trained["gan"], 6, frames=None, seed=3, classes=[2, 5])
    answer = site.ask("/gan/generate", how)
    grid = np.asarray(image_grid(made.images, columns=made.columns))
    assert answer.headers["content-type"] == "image/png"
    assert (np.asarray(Image.open(io.BytesIO(answer.body))) == grid).all()
    each = site.ask("/gan/generate", how, Accept="application/json").json
    assert each["classes"] == [2, 5, 2, 5, 2, 5]
    first = np.asarray(Image.open(io.BytesIO(base64.b64decode(each["images"][0]))).convert("L"))
    assert (first == (made.images[0, 0] * 255).round().numpy()).all()


def test_a_text_is_that_of_runs_sample_at_once_and_as_it_is_written(site, trained):
    options = {"prompt": "To be", "max_tokens": 20, "temperature": 0.7}
    written = make_up(trained["gpt"], 2, frames=None, seed=1, classes=[], options=options)
    facts = {p.number: dict(p.facts) for p in written.pieces if p.facts is not None}
    how = {**options, "n": 2, "seed": 1}
    assert site.ask("/gpt/generate", how).json == {"texts": [facts[0], facts[1]]}
    answer = site.ask("/gpt/generate", how, Accept="text/event-stream")
    assert answer.headers["content-type"].startswith("text/event-stream")
    texts, ends = {0: "", 1: ""}, {}
    for event in answer.body.decode().strip().split("\n\n"):
        kind, _, data = event.rpartition("data: ")
        data = json.loads(data)
        if kind == "event: end\n":
            ends[data.pop("number")] = data
        else:
            texts[data["number"]] += data["text"]
    assert ends == facts
    assert texts == {n: "To be" + facts[n]["text"] for n in (0, 1)}


def test_what_a_run_does_not_do_is_said(site):
    assert site.ask("/gan/predict", {}).json == {"error": "this run does not predict: it is a GAN"}
    assert site.ask("/digits/generate", {}).status == 404
    info = site("GET", "/info").json
    assert (info["run"], info["runs"]) == ("digits", ["digits", "people", "gan", "gpt"])
    assert (info["task"], info["does"], info["step"]) == ("classifier", ["predict", "explain"], 4)
    assert len(info["digest"]) == 64
    assert "prompts" not in site("GET", "/gpt/info").json["generate"]  # a file of the server's


def test_who_names_an_input_wrongly_is_told_what_there_is_and_what_is_needed(site, photos):
    text = base64.b64encode(photos[0].read_bytes()).decode()
    body = json.dumps({"image": text})
    answer = site("POST", "/predict", body.encode(), "application/json")
    assert answer.status in (400, 422)
    assert "there is no inputs; the example has image, and needs inputs" in json.dumps(answer.json)
