"""`runs serve`: runs as a page and an API, on this machine or for others."""

import argparse
import functools
import os
from pathlib import Path

from trainwright.cli.opening import CHECKPOINT, DEVICE, PRECISION, TRUST, TTA, add_run, open_run
from trainwright.cli.terminal.keys import Key, number, parse_keys, text, whole
from trainwright.cli.torch_library import imports_of_torch
from trainwright.errors import ConfigError, require_extra
from trainwright.inference.serve.hosts import is_loopback
from trainwright.runs.find import find_run

TOKEN = "TRAINWRIGHT_TOKEN"  # noqa: S105
SHORTEST = 16  # letters of a token

KEYS = (
    Key("host", text, "127.0.0.1", f"the address to listen at (127.0.0.1); others need {TOKEN}"),
    Key("port", whole(0, 65535), 8000, "the port (8000); 0: any that is free"),
    Key("batch", whole(1, 1024), 64, "examples of several requests that are computed as one (64)"),
    Key("wait_ms", number(0, 1000), 2.0, "how long the first of a batch waits for others (2)"),
    Key("waiting", whole(1, 10_000), 256, "requests at a time (256); others get 503"),
    Key("timeout", number(0.1, 3600), 60.0, "seconds that a request may take (60)"),
    Key("body_mb", number(0.001, 1000), 20.0, "size of a request's body in MB (20); above: 413"),
    TTA,
    CHECKPOINT,
    DEVICE,
    PRECISION,
    TRUST,
)
EXAMPLES = f"""\
  runs serve last
  runs serve mlp-mnist gan-mnist port=8080
  runs serve last checkpoint=last --watch
  runs serve last > access.jsonl
  {TOKEN}=$(openssl rand -hex 16) runs serve last host=0.0.0.0
  curl -H content-type:image/png --data-binary @digit.png localhost:8000/predict

The page draws, takes photos, forms and prompts; /docs has the API. Of several runs each lies below
the name of its folder, and the first at the root as well. Answers are those of `runs predict` and
`runs sample`. The log, a JSON object a request, goes to standard output.

With {TOKEN} in the environment every request but for the page and /health must name it
(Authorization: Bearer ...). SIGTERM and Ctrl-C: what was asked is answered, then it ends."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The runs, keys, and whether to look for what is newer."""
    add_run(parser, nargs="+")
    parser.add_argument(
        "--watch", action="store_true", help="load a newer checkpoint as soon as there is one"
    )


def execute(arguments: argparse.Namespace) -> int:
    """Serve until a signal, and return the exit code that says which."""
    is_key = ["=" in word and not Path(word).exists() for word in arguments.runs]
    words = list(zip(arguments.runs, is_key, strict=True))
    values = parse_keys([word for word, of_key in words if of_key], KEYS)
    records = [find_run(word, arguments.root) for word, of_key in words if not of_key]
    if not records:
        raise ConfigError("serve what? name a run: runs serve last")
    require_extra("runs serve", "starlette", "uvicorn", extra="serve")
    token = _token(values["host"])
    paths = [record.checkpoint(values["checkpoint"]) for record in records]
    opening = [functools.partial(open_run, record, values) for record in records]
    with imports_of_torch():
        from trainwright.inference.serve.guard import Limits
        from trainwright.inference.serve.served import Served, names_of
        from trainwright.inference.serve.server import Server, listen, serve

    listening = listen(values["host"], values["port"])
    names = names_of([record.path.resolve().name for record in records])
    runs = [Served(*each) for each in zip(names, paths, opening, strict=True)]
    server = Server(
        runs,
        limits=Limits(int(values["body_mb"] * 1e6), values["waiting"], values["timeout"]),
        token=token,
        batch=values["batch"],
        wait=values["wait_ms"] / 1000,
        watch=arguments.watch,
    )
    return serve(server, listening)


def _token(host: str) -> str | None:
    """The token, if there is one. Raises ConfigError where one is needed, or another."""
    token = os.environ.get(TOKEN, "")
    make = f"  export {TOKEN}=$(openssl rand -hex 16)"
    if token and (len(token) < SHORTEST or not token.isascii() or not token.isprintable()):
        raise ConfigError(f"{TOKEN} must have at least {SHORTEST} letters of ASCII\n{make}")
    if not token and not is_loopback(host):
        raise ConfigError(
            f"host={host}: others can reach this address, and {TOKEN} is not set\n{make}\n"
            "  or leave host out, for this machine alone"
        )
    return token or None
