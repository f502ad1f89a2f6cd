"""Four small runs, and real servers of them on free ports."""

import contextlib
import functools
import http.client
import json
import random
import threading
import time
from typing import Any, NamedTuple

import pytest

from trainwright.inference.serve.guard import Limits
from trainwright.inference.serve.served import Served
from trainwright.inference.serve.server import Server, listen
from trainwright.inference.trained import load_trained

JOBS = ("nurse", "cook", "pilot")


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Client:
    """Asks a server at a port, on one connection as long as that lasts."""

    def __init__(self, port, **headers):
        self.port, self.headers = port, headers
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

    def __call__(self, method, path, body=None, media=None, **headers):
        named = {
            name.replace("_", "-"): value for name, value in {**self.headers, **headers}.items()
        }
        if media is not None:
            named["Content-Type"] = media
        self.connection.request(method, path, body, named)
        answer = self.connection.getresponse()
        return Answer(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())

    def close(self):
        self.connection.close()

    def ask(self, path, given, **headers):
        """Post something as JSON."""
        return self("POST", path, json.dumps(given).encode(), "application/json", **headers)


@contextlib.contextmanager
def served(folders, *, body=100_000, waiting=256, seconds=30.0, **how):
    """A server of these runs in a thread of this process; ends as a signal would end it."""
    paths = {name: folder / "checkpoints" / "last.safetensors" for name, folder in folders.items()}
    runs = [
        Served(name, path, functools.partial(load_trained, path)) for name, path in paths.items()
    ]
    server = Server(runs, limits=Limits(body, waiting, seconds), **how)
    socket = listen("127.0.0.1", 0)
    port = socket.getsockname()[1]
    thread = threading.Thread(target=server.run, kwargs={"sockets": [socket]})
    thread.start()
    client = Client(port)
    try:
        yield client, server
    finally:
        client.close()
        server.should_exit = True
        thread.join(60)
        assert not thread.is_alive()


@pytest.fixture(scope="session")
def folders(train, tmp_path_factory):
    """Run folders by name: a classifier of images, one of rows, a GAN, a writer."""
    root = tmp_path_factory.mktemp("served")
    short = ("trainer=smoke", "trainer.steps=4")
    train(
        root / "digits",
        "model=mlp",
        "data=digits",
        *short,
        "model.widths=[32]",
        "optimizer.lr=0.05",
    )
    draw = random.Random(0)
    rows = [
        (draw.randint(18, 80), draw.choice(JOBS), f"2020-0{draw.randint(1, 9)}-11", draw.random())
        for _ in range(80)
    ]
    lines = [
        f"{a},{j},{d},{'' if i < 0.2 else f'{i:.3f}'},{'yes' if a > 45 else 'no'}"
        for a, j, d, i in rows
    ]
    (root / "people.csv").write_text("\n".join(["age,job,since,income,buys", *lines]) + "\n")
    table = ("data=table", f"data.path={root / 'people.csv'}", "data.target=buys")
    train(root / "people", *table, "data.baselines=false", *short)
    train(root / "gan", "model=gan", "data=digits", *short, "model.width=4")
    (root / "play.txt").write_text("To be, or not to be: that is the question.\n" * 40)
    text = (
        "data=text",
        f"data.path={root / 'play.txt'}",
        "data.context=16",
        "data.tokenizer=chars",
    )
    sizes = ("model=gpt", "model.depth=1", "model.width=16", "model.heads=1")
    train(root / "gpt", *text, *sizes, *short, "trainer.batch_size=4", "task.sample_tokens=20")
    return {name: root / name for name in ("digits", "people", "gan", "gpt")}


@pytest.fixture(scope="session")
def reviews(train, tmp_path_factory):
    """The folder of a run that has learned short texts, and the path of these."""
    root = tmp_path_factory.mktemp("reviews")
    lines = [f"{word} show,{kind}" for word, kind in (("good", "yes"), ("dull", "no"))] * 20
    (root / "texts.csv").write_text("\n".join(["text,liked", *lines]) + "\n")
    words = ("data=table", f"data.path={root / 'texts.csv'}", "data.target=liked", "data.text=text")
    sizes = ("model=text_encoder", "model.depth=1", "model.width=8", "model.heads=2")
    train(root / "run", *words, *sizes, "trainer=smoke", "trainer.steps=2", "data.baselines=false")
    return root / "run"


@pytest.fixture(scope="session")
def site(folders):
    """A server of all four."""
    with served(folders) as (client, _):
        yield client


@pytest.fixture
def wait():
    """Ask again and again until something is so."""

    def until(is_so, seconds=60):
        deadline = time.monotonic() + seconds
        while not is_so():
            assert time.monotonic() < deadline
            time.sleep(0.02)

    return until
