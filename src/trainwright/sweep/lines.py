"""Files of one JSON object a line, to which several processes may append."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The objects of a file, none if there is no file. What a kill has torn is left out."""
    if not path.exists():
        return
    for text in path.read_text().splitlines():
        try:
            found = json.loads(text)
        except ValueError:
            continue
        if isinstance(found, dict):
            yield found
