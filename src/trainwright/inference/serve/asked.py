"""A request's body as examples: JSON, one or many; the bytes of a file; a table."""

import base64
import binascii
import io
import json
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

from trainwright.data.columns import BadInputError, Column, without
from trainwright.inference.given import GIVEN, raise_unusable
from trainwright.inference.predict import Prediction, rows
from trainwright.inference.serve.served import Learned

MOST_EXAMPLES = 4096  # a request
SMALL = 16_384  # bytes that are read where they come in: a thread would take longer
FEW = 2**18  # pixels, likewise
TABLES = ("text/csv", "text/tab-separated-values")
BYTES = "application/octet-stream"
ROW = Path("row")  # what is said for the file of a table's rows


class RefusedError(Exception):
    """Why a request is not answered: its status, and a line for its answer."""

    def __init__(self, status: int, text: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(text)
        self.status, self.text, self.headers = status, text, dict(headers or {})


def is_quick(learned: Learned, media: str, body: bytes) -> bool:
    """Whether a body is read in a millisecond, whatever it holds: few rows, or a small PNG."""
    if media != "image/png":
        return media == "application/json" and len(body) < SMALL and not learned.has_files
    is_png = body.startswith(b"\x89PNG") and body[12:16] == b"IHDR"
    pixels = int.from_bytes(body[16:20], "big") * int.from_bytes(body[20:24], "big")
    return is_png and len(body) < SMALL and pixels <= FEW


def examples_of(learned: Learned, media: str, body: bytes) -> tuple[list[Prediction], bool]:
    """The examples in a body of that media type, and whether it is one by itself.

    Raises RefusedError, and DataError that names examples which cannot be used.
    """
    is_one = False
    if media == "application/json":
        given = parsed(body)
        is_one = not isinstance(given, list)
        found = _objects(learned.inputs, [given] if is_one else given)
    elif media in TABLES and learned.file_column is None and not learned.has_files:
        found = _table(learned, body)
    elif learned.file_column is not None and (media.startswith("image/") or media == BYTES):
        is_one = True
        found = iter([_file(learned, body)])
    else:
        file = "the bytes of a file (image/png, image/jpeg, image/webp, application/octet-stream)"
        others = file if learned.file_column else "" if learned.has_files else "a table (text/csv)"
        wanted = " or ".join(filter(None, ["JSON (application/json)", others]))
        raise RefusedError(415, f"the body must be {wanted}; its content-type says which")
    examples = list(islice(found, MOST_EXAMPLES + 1))
    if len(examples) > MOST_EXAMPLES:
        raise RefusedError(413, f"more than {MOST_EXAMPLES:,} examples: send them in parts")
    if any("too many pixels" in (example.problem or "") for example in examples):
        raise RefusedError(413, next(e.problem for e in examples if e.problem) or "")
    raise_unusable(examples)
    return examples, is_one


def parsed(body: bytes) -> Any:
    """What a body of JSON holds. Raises RefusedError."""
    try:
        found = json.loads(body.decode())
        if b"\\u" in body:  # half a letter, which no text may hold
            json.dumps(found, ensure_ascii=False).encode()
    except RecursionError:
        raise RefusedError(400, "the body is nested too deeply") from None
    except UnicodeError:
        raise RefusedError(400, "the body is not UTF-8") from None
    except ValueError as error:
        where = (
            f": {error.msg}, line {error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        )
        raise RefusedError(400, f"the body is no JSON{where}") from None
    return found


def _objects(inputs: Mapping[str, Column], given: Iterable[Any]) -> Iterator[Prediction]:
    for number, example in enumerate(given):
        try:
            if not isinstance(example, Mapping):
                raise BadInputError(f"must be an object with {', '.join(inputs)}")
            columns = {n: _taken(column, n, example) for n, column in inputs.items()}
        except BadInputError as error:
            yield Prediction(GIVEN, number, problem=str(error))
        except (ValueError, TypeError, ArithmeticError):  # of numpy, for lists of odd shapes
            yield Prediction(GIVEN, number, problem="is not what the run has learned from")
        else:
            yield Prediction(GIVEN, number, columns)


def _taken(column: Column, name: str, example: Mapping[str, Any]) -> Any:
    """As stored. A text for a file is its bytes in base64: never a path, as it is elsewhere."""
    if column.read_from != "file":
        return column.taken(example.get(name, example), name)
    if name not in example:
        raise without(name, example, [name])
    value = example[name]
    if not isinstance(value, str):
        return column.taken(value, name) if isinstance(value, list) else column.taken([value], name)
    text = value.partition(";base64,")[2] if value.startswith("data:") else value
    try:
        return column.of_file(io.BytesIO(base64.b64decode(text, validate=True)))
    except binascii.Error:
        raise BadInputError(f"{name} must be the bytes of a file in base64") from None


def _file(learned: Learned, body: bytes) -> Prediction:
    ((name, column),) = learned.inputs.items()
    try:
        return Prediction(GIVEN, 0, {name: column.of_file(io.BytesIO(body))})
    except BadInputError as error:
        return Prediction(GIVEN, 0, problem=str(error))


def _table(learned: Learned, body: bytes) -> Iterator[Prediction]:
    if body.startswith((b"PAR1", b"\x1f\x8b")):
        raise RefusedError(415, "a table must be text: neither Parquet nor compressed")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "table.csv"
        path.write_bytes(body)
        for example in rows(learned.inputs, [path]):
            yield replace(example, path=ROW)
