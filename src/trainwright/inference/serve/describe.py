"""The API of one run, described as OpenAPI 3.1: for programs, and for the page."""

from collections.abc import Mapping
from typing import Any

from trainwright import __version__
from trainwright.inference.serve.served import Learned, Served

_JSON = "application/json"


def openapi(served: Served) -> dict[str, Any]:
    """What the run takes, as plain JSON types."""
    learned = served.now
    paths: dict[str, Any] = {
        "/health": _get("Whether it answers; needs no token", _JSON),
        "/info": _get("The task, its inputs and outputs, the checkpoint", _JSON),
        "/metrics": _get("Counts for Prometheus", "text/plain"),
    }
    if learned.predicts:
        paths["/predict"] = _post(
            "What is said of one example, or of each of many", _predict(learned)
        )
    if learned.methods:
        paths["/explain"] = _post("Why that is said of one example", _explain(learned))
    if learned.options is not None:
        paths["/generate"] = _post("What it makes up", _generate(learned.options.schema))
    return {
        "openapi": "3.1.0",
        "info": {"title": served.name, "description": learned.kind, "version": __version__},
        "servers": [{"url": f"/{served.name}"}],
        "security": [{"token": []}],
        "paths": paths,
        "components": {"securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}},
    }


def _predict(learned: Learned) -> dict[str, Any]:
    bodies, top = _bodies(learned), _query("top", {"type": "integer", "default": 3})
    one = bodies[_JSON]["schema"]
    bodies[_JSON]["schema"] = {"anyOf": [one, {"type": "array", "items": one}]}
    return {"parameters": [top], "requestBody": {"content": bodies}, "answers": [_JSON]}


def _explain(learned: Learned) -> dict[str, Any]:
    methods = {"enum": learned.methods, "default": learned.methods[0]}
    asked = [_query("method", methods), _query("output", {"type": "string"})]
    answers = [_JSON, *(["image/png"] if learned.trained.info.is_image else [])]
    content = {"content": _bodies(learned)}
    return {"parameters": asked, "requestBody": content, "answers": answers}


def _query(name: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": "query", "schema": dict(schema)}


def _bodies(learned: Learned) -> dict[str, Any]:
    """One example, by media type."""
    keys = learned.example
    one = {"type": "object", "properties": keys, "required": list(keys)}
    usual = {key: _usual(schema) for key, schema in keys.items()}
    bodies: dict[str, Any] = {_JSON: {"schema": one, "example": usual}}
    if learned.file_column is not None:
        kinds = ["application/octet-stream"]
        if "contentMediaType" in next(iter(keys.values())):
            kinds = ["image/png", "image/jpeg", "image/webp", *kinds]
        bodies |= {kind: {"schema": {}} for kind in kinds}
    elif not learned.has_files:
        rows = ",".join(keys) + "\n" + ",".join("" if v is None else str(v) for v in usual.values())
        bodies["text/csv"] = {"schema": {"type": "string"}, "example": rows}
    return bodies


def _generate(schema: Mapping[str, Any]) -> dict[str, Any]:
    body = {_JSON: {"schema": dict(schema), "example": {"seed": 0}}}
    is_text = "prompt" in schema["properties"]
    answers = [_JSON, "text/event-stream"] if is_text else ["image/png", _JSON]
    return {"requestBody": {"content": body}, "answers": answers}


def _usual(schema: Mapping[str, Any]) -> Any:
    """A value for an example."""
    options = schema.get("examples") or schema.get("enum")
    given = schema.get("default", options[0] if options else None)
    return given if given is not None else [] if schema.get("type") == "array" else "..."


def _get(summary: str, media: str) -> dict[str, Any]:
    return {"get": {"summary": summary, "responses": {"200": _answer(media)}}}


def _post(summary: str, operation: dict[str, Any]) -> dict[str, Any]:
    answers = operation.pop("answers")
    errors = {
        str(s): _answer(_JSON, told="an object with `error`")
        for s in (400, 401, 413, 415, 422, 503)
    }
    return {
        "post": {"summary": summary, **operation, "responses": {"200": _answer(*answers), **errors}}
    }


def _answer(*media: str, told: str = "the answer") -> dict[str, Any]:
    return {"description": told, "content": {kind: {} for kind in media}}
