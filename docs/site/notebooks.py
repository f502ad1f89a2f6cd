"""A notebook as a page: its text, its code, and what its cells have shown."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path


def as_page(text: str, path: Path) -> str:
    """Markdown of a notebook's JSON; pictures are written beside `path`."""
    cells = json.loads(text)["cells"]
    return "\n\n".join(part for cell in cells for part in _cell(cell, path)) + "\n"


def _cell(cell: dict, path: Path) -> Iterator[str]:
    source = "".join(cell["source"])
    if cell["cell_type"] == "markdown":
        yield source
        return
    yield f"```python\n{source}\n```"
    for output in cell["outputs"]:
        data = output.get("data", {})
        if "text" in output:
            yield f"```text\n{''.join(output['text']).rstrip()}\n```"
        elif "image/png" in data:
            name = f"{path.stem}-{cell['id']}.png"
            path.with_name(name).write_bytes(base64.b64decode("".join(data["image/png"])))
            yield f'<img src="{name}" alt="What the cell shows">'
        elif "text/html" in data:
            yield "".join(data["text/html"]).replace(' border="1" class="dataframe"', "")
        elif "text/plain" in data:
            yield f"```text\n{''.join(data['text/plain'])}\n```"
