"""Who may ask, how much and for how long; newer weights; a text does not keep others waiting."""

import contextlib
import http.client
import json
import shutil
import threading

import pytest

from trainwright.inference.serve.served import names_of

from .conftest import Client, served

TOKEN = "correct-horse-battery-staple"
ROW = {"age": 3, "job": "cook", "since": "2020-01-11", "income": 1}


@pytest.fixture(scope="module")
def strict(folders):
    """A server with a token, that takes little."""
    people = {"people": folders["people"]}
    with served(people, body=2000, waiting=2, seconds=1.0, token=TOKEN) as (client, _):
        yield client


def test_without_the_token_nothing_is_answered_but_the_page(strict):
    for path in ("/info", "/metrics", "/openapi.json"):
        assert strict("GET", path).status == 401
        assert strict("GET", path, Authorization=f"Bearer {TOKEN}").status == 200
    refused = [f"Bearer {TOKEN}x", TOKEN, "Bearer ", "Bearer \xe9", f"Basic {TOKEN}"]
    for wrong in refused:
        answer = strict.ask("/predict", ROW, Authorization=wrong)
        assert (answer.status, answer.headers["www-authenticate"]) == (401, "Bearer")
    assert strict.ask("/predict", ROW, Authorization=f"Bearer {TOKEN}").status == 200
    for path in ("/", "/docs", "/health"):
        answer = strict("GET", path)
        assert answer.status in (200, 307)
        assert b"people" not in answer.body
    # Whoever knows the token may come by any name: a proxy's, a container's.
    assert (
        strict("GET", "/info", Host="models.example", Authorization=f"Bearer {TOKEN}").status == 200
    )


def test_a_body_is_as_large_as_it_may_be_and_no_larger(strict):
    may = {"Authorization": f"Bearer {TOKEN}"}
    small = json.dumps(ROW).encode()
    fits = small + b" " * (2000 - len(small))
    assert strict("POST", "/predict", fits, "application/json", **may).status == 200
    assert strict("POST", "/predict", fits + b" ", "application/json", **may).status == 413
    parts = iter([fits, b" "])  # sent in chunks, whose length nobody announces
    assert strict("POST", "/predict", parts, "application/json", **may).status == 413


def begun(client):
    """A request whose body does not come."""
    waiting = http.client.HTTPConnection("127.0.0.1", client.port, timeout=30)
    waiting.putrequest("POST", "/predict")
    waiting.putheader("Authorization", f"Bearer {TOKEN}")
    waiting.putheader("Content-Type", "application/json")
    waiting.putheader("Content-Length", "50")
    waiting.endheaders(b'{"age": ')
    return waiting


def test_who_sends_too_slowly_is_told_and_who_comes_meanwhile_is_sent_away(strict, wait):
    def info():
        return strict("GET", "/info", Authorization=f"Bearer {TOKEN}")

    slow = [begun(strict), begun(strict)]
    wait(lambda: info().status == 503)
    answer = info()
    assert (answer.headers["retry-after"], strict("GET", "/health").status) == ("1", 200)
    told = [one.getresponse() for one in slow]
    assert [one.status for one in told] == [408, 408]
    assert all(json.loads(one.read()) == {"error": "it took too long"} for one in told)
    wait(lambda: info().status == 200)
    for one in slow:
        one.close()


def test_pages_elsewhere_may_neither_read_nor_be_shown_it(site):
    answer = site("GET", "/")
    assert "access-control-allow-origin" not in answer.headers
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
    assert answer.body.count(b"<script") == 1
    assert b"src=" not in answer.body.partition(b"<script>")[0]


def test_a_newer_checkpoint_answers_without_a_request_lost(train, folders, tmp_path, wait):
    shutil.copytree(folders["digits"], tmp_path / "digits")
    more = ("model=mlp", "data=digits", "trainer=smoke", "trainer.steps=9", "model.widths=[32]")
    train(tmp_path / "more", *more)
    image = {"inputs": [[i * j % 256 for i in range(8)] for j in range(8)]}
    with served({"digits": tmp_path / "digits"}, watch=True) as (client, _):
        before = client.ask("/predict", image)
        stop, seen = threading.Event(), []

        def hammer():
            with contextlib.closing(Client(client.port)) as own:
                while not stop.is_set():
                    seen.append(own.ask("/predict", image))

        threads = [threading.Thread(target=hammer) for _ in range(4)]
        for thread in threads:
            thread.start()
        target = tmp_path / "digits" / "checkpoints" / "last.safetensors"
        (tmp_path / "broken").write_bytes(target.read_bytes()[:-9])
        (tmp_path / "broken").replace(target)
        shutil.copy(tmp_path / "more" / "checkpoints" / "last.safetensors", tmp_path / "new")
        wait(lambda: len(seen) > 20)
        assert {answer.headers["x-step"] for answer in seen} == {"4"}
        (tmp_path / "new").replace(target)
        wait(lambda: client("GET", "/info").json["step"] == 9)
        stop.set()
        for thread in threads:
            thread.join()
        after = client.ask("/predict", image)
        info = client("GET", "/info").json
    assert {answer.status for answer in seen} == {200}
    told = {answer.headers["x-step"]: answer.body for answer in seen}
    assert {step: body for step, body in told.items() if step == "4"} == {"4": before.body}
    assert after.headers["x-step"] == "9"
    assert after.body != before.body
    assert info["digest"] != ""


def test_while_a_text_is_written_others_are_answered_and_who_leaves_ends_it(folders, wait):
    two = {name: folders[name] for name in ("gpt", "people")}
    with served(two) as (client, server):
        stream = http.client.HTTPConnection("127.0.0.1", client.port, timeout=60)
        body = json.dumps({"prompt": "To be", "max_tokens": 100_000})
        how = {"Content-Type": "application/json", "Accept": "text/event-stream"}
        stream.request("POST", "/gpt/generate", body, how)
        answer = stream.getresponse()
        assert answer.readline().startswith(b"data: ")
        for _ in range(3):
            assert client.ask("/people/predict", ROW).status == 200
        assert server._worker._jobs or not server._worker._waiting  # it is still being written
        assert answer.readline() == b"\n"
        answer.close()
        stream.close()
        wait(lambda: not server._worker._jobs)


def test_runs_have_names_that_stand_in_an_address_and_are_told_apart():
    folders = ["mlp", "a b/é", "mlp", "predict", "..", "mlp"]
    assert names_of(folders) == ["mlp", "a-b--", "mlp~2", "run-predict", "run", "mlp~3"]
