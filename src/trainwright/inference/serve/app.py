"""The routes: a page and an API for each run, the first of them at the root."""

import asyncio
import base64
import hashlib
import io
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import (
    HTMLResponse,
    JSONResponse,
    PlainTextResponse,
    RedirectResponse,
    Response,
    StreamingResponse,
)
from starlette.types import Receive, Scope, Send

from trainwright.errors import DataError
from trainwright.inference.explain.explain import Explained, sanity
from trainwright.inference.generate import class_indices
from trainwright.inference.predict import Prediction, told
from trainwright.inference.serve.asked import RefusedError, examples_of, is_quick, parsed
from trainwright.inference.serve.counts import Counts
from trainwright.inference.serve.describe import openapi
from trainwright.inference.serve.served import Learned, Served
from trainwright.inference.serve.worker import Worker
from trainwright.report.plots.grid import image_grid, tiles
from trainwright.tasks.show import Piece, Samples, Table, Text

PAGE = (Path(__file__).parent / "assets" / "page.html").read_text(encoding="utf-8")
STREAM = "text/event-stream"
MOST_TOP = 1000
PICTURE = 256  # pixels, about, of the picture of an explanation
# Bodies are read beside what computes, few at a time: a picture may take 200 MB once decoded.
_readers = ThreadPoolExecutor(2, "reads")


class Route(NamedTuple):
    """What answers a path, and the method; an open one needs no token."""

    answer: Callable[[Request], Awaitable[Response]]
    method: str = "GET"
    is_open: bool = False


class Site:
    """All paths: each run's below its name, those of the first at the root as well."""

    def __init__(
        self, runs: Sequence[Served], worker: Worker, counts: Counts,
        check_token: Callable[[Headers], None],
    ) -> None:  # fmt: skip
        self._runs, self._counts, self._check_token = runs, counts, check_token
        shared = {
            "/": Route(_page, is_open=True),
            "/docs": Route(_docs, is_open=True),
            "/health": Route(self._health, is_open=True),
            "/metrics": Route(self._metrics),
        }
        self._routes: dict[str, Route] = {}
        names = [served.name for served in runs]
        for served in reversed(runs):
            routes = {**shared, **Face(served, names, worker).routes()}
            for prefix in (f"/{served.name}", ""):
                self._routes |= {prefix + path: route for path, route in routes.items()}
            self._routes[f"/{served.name}"] = Route(_into, is_open=True)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or raise RefusedError."""
        path = scope["path"]
        route = self._routes.get(path)
        if route is None:
            raise RefusedError(404, "there is no such path; /openapi.json lists them")
        scope["route"] = path
        if scope["method"] not in (route.method, "HEAD" if route.method == "GET" else ""):
            raise RefusedError(405, f"use {route.method}", {"Allow": route.method})
        request = Request(scope, receive)
        if not route.is_open:
            self._check_token(request.headers)
        await (await route.answer(request))(scope, receive, send)

    async def _health(self, request: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def _metrics(self, request: Request) -> Response:
        steps = {served.name: served.now.trained.step for served in self._runs}
        return PlainTextResponse(self._counts.text(steps), headers={"Cache-Control": "no-store"})


def _policy(page: str) -> Mapping[str, str]:
    """The page may run its own script, ask this server, and nothing else."""
    digests = {}
    for kind in ("script", "style"):
        inner = page.partition(f"<{kind}>")[2].partition(f"</{kind}>")[0]
        digests[kind] = base64.b64encode(hashlib.sha256(inner.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; script-src 'sha256-{digests['script']}'; "
        f"style-src 'sha256-{digests['style']}'; connect-src 'self'; img-src blob: data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return {"Content-Security-Policy": policy, "X-Content-Type-Options": "nosniff"}


async def _page(request: Request) -> Response:
    return HTMLResponse(PAGE, headers=POLICY)


async def _docs(request: Request) -> Response:
    return RedirectResponse("./#api")


async def _into(request: Request) -> Response:
    """From /run to /run/, below which the page asks; relative, for a proxy may stand before."""
    return RedirectResponse(f".{request.url.path[request.url.path.rfind('/') :]}/")


class Face:
    """What one run is asked by HTTP."""

    def __init__(self, served: Served, names: Sequence[str], worker: Worker) -> None:
        self._served, self._names, self._worker = served, names, worker

    def routes(self) -> dict[str, Route]:
        """Each path; what else a run can be asked for has its place here."""
        return {
            "/info": Route(self.info),
            "/openapi.json": Route(self.openapi),
            "/predict": Route(self.predict, "POST"),
            "/generate": Route(self.generate, "POST"),
            "/explain": Route(self.explain, "POST"),
        }

    async def info(self, request: Request) -> Response:
        """What it is, what it takes and what comes of it."""
        return JSONResponse(
            {"run": self._served.name, "runs": self._names, **self._served.now.facts()}
        )

    async def openapi(self, request: Request) -> Response:
        """The API, described for programs."""
        return JSONResponse(openapi(self._served))

    async def predict(self, request: Request) -> Response:
        """What is said of one example or of many."""
        learned = self._served.now
        if not learned.predicts:
            raise RefusedError(404, f"this run does not predict: it is a {learned.kind}")
        top = request.query_params.get("top", "3")
        if not (top.isascii() and top.isdecimal() and 1 <= int(top[:9]) <= MOST_TOP):
            raise RefusedError(422, f"top must be a whole number from 1 to {MOST_TOP}")
        examples, is_one = await _examples(learned, request)
        answers = await self._worker.answers(learned.trained, examples)
        said = [told(learned.targets, answer, int(top)) for answer in answers]
        return JSONResponse(said[0] if is_one else said, headers=self._stamp(learned.trained.step))

    async def explain(self, request: Request) -> Response:
        """Why that is said of one example: as JSON, of an image also as a PNG."""
        learned, query = self._served.now, request.query_params
        if not learned.methods:
            raise RefusedError(404, learned.unexplained)
        method = _named(query.get("method", learned.methods[0]), learned.methods)
        as_picture = "image/png" in request.headers.get("accept", "")
        if as_picture and not learned.trained.info.is_image:
            raise RefusedError(406, "only of images there is a PNG: accept application/json")
        examples, _ = await _examples(learned, request)
        if len(examples) != 1:
            raise RefusedError(422, f"{len(examples)} examples: they are explained one by one")
        columns, others = examples[0].columns, await self._served.others()
        pause = self._worker.pause
        found = await self._worker.slowly(
            lambda: learned.explained(columns, others, method, query.get("output"), pause)
        )
        told = await asyncio.to_thread(_explanation, found, method, as_picture)
        media = "image/png" if as_picture else "application/json"
        return Response(told, 200, self._stamp(learned.trained.step), media)

    async def generate(self, request: Request) -> Response:
        """Images as a PNG or JSON, a text at once or as it is written."""
        learned = self._served.now
        if learned.options is None:
            raise RefusedError(404, f"this run does not generate: it is a {learned.kind}")
        if _media(request) not in ("application/json", ""):
            raise RefusedError(415, "the body must be JSON (application/json)")
        num, seed, classes, options = learned.options.read(parsed(await request.body() or b"{}"))
        chosen = class_indices(classes, learned.trained) if classes else []
        found = self._worker.made(
            learned.trained, num=num, frames=None, seed=seed, classes=chosen, options=options
        )
        made = await anext(found)
        stamp, accept = self._stamp(learned.trained.step), request.headers.get("accept", "")
        if isinstance(made, Samples):
            pictures = await asyncio.to_thread(_pictures, made, "application/json" in accept)
            if isinstance(pictures, bytes):
                return Response(pictures, media_type="image/png", headers=stamp)
            return JSONResponse(pictures, headers=stamp)
        if isinstance(made, Text | Table):
            return JSONResponse({made.suffix: made.written}, headers=stamp)
        if STREAM in accept:
            return StreamingResponse(_events(found), media_type=STREAM, headers=stamp)
        pieces = [piece async for piece in found if isinstance(piece, Piece)]
        facts = {piece.number: dict(piece.facts) for piece in pieces if piece.facts is not None}
        return JSONResponse({"texts": [facts[n] for n in sorted(facts)]}, headers=stamp)

    def _stamp(self, step: int) -> dict[str, str]:
        return {"X-Step": str(step)}


def _media(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def _examples(learned: Learned, request: Request) -> tuple[list[Prediction], bool]:
    """The examples in a request's body, and whether it is one by itself. Raises RefusedError."""
    media, body = _media(request), await request.body()
    if is_quick(learned, media, body):
        return examples_of(learned, media, body)
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(_readers, examples_of, learned, media, body)


def _named(given: str, methods: Sequence[str]) -> str:
    """The method of that name, which may have - or _ for a space. Raises RefusedError."""
    names = {name.lower(): name for name in methods}
    wanted = given.lower()
    found = names.get(wanted) or names.get(wanted.replace("-", " ").replace("_", " "))
    if found is None:
        raise RefusedError(422, f"method must be one of {', '.join(methods)}")
    return found


def _png(picture: Image.Image) -> bytes:
    picture.save(file := io.BytesIO(), "PNG")
    return file.getvalue()


def _explanation(found: Explained, method: str, as_picture: bool) -> bytes:
    """What `runs explain --json` tells of it, its verdict, and of an image the picture; or that.

    Raises DataError where a number is not finite.
    """
    told, over = found.plain(), found.over()
    told["methods"][method]["verdict"] = sanity([found])[method].verdict()
    try:
        json.dumps(told, allow_nan=False)
    except ValueError:
        raise DataError("what is said of it is not finite, which nothing explains") from None
    if over is None:
        return json.dumps(told).encode()
    times = max(1, PICTURE // max(over.shape))
    picture = _png(Image.fromarray(over.repeat(times, 0).repeat(times, 1)))
    if as_picture:
        return picture
    return json.dumps({**told, "picture": base64.b64encode(picture).decode()}).encode()


def _pictures(made: Samples, as_json: bool) -> Any:
    if not as_json:
        return _png(image_grid(made.images, columns=made.columns))
    each = [base64.b64encode(_png(picture)).decode() for picture in tiles(made.images, scale=1)]
    return {"images": each, "classes": None if made.classes is None else made.classes.tolist()}


async def _events(pieces: AsyncIterator[Any]) -> AsyncIterator[str]:
    """A text as it is written; at the end of each what there is to know of it."""
    try:
        async for piece in pieces:
            yield f"data: {json.dumps({'number': piece.number, 'text': piece.text})}\n\n"
            if piece.facts is not None:
                yield f"event: end\ndata: {json.dumps({'number': piece.number, **piece.facts})}\n\n"
    finally:
        await pieces.aclose()  # type: ignore[attr-defined]


POLICY = _policy(PAGE)
