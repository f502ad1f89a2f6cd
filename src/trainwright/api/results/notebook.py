"""What a notebook shows of something: HTML, and pictures."""

import base64
import html
import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image

MOST_ROWS = 60  # that are shown; the object has all


def html_table(header: Sequence[str], rows: Sequence[Sequence[str]], said: str = "") -> str:
    """A table, and a line below it."""
    cells = "".join(f"<th>{html.escape(name)}</th>" for name in header)
    lines = [f"<tr>{cells}</tr>"]
    for row in rows[:MOST_ROWS]:
        lines.append(f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in row)}</tr>")
    if len(rows) > MOST_ROWS:
        said = f"{said} The first {MOST_ROWS} of {len(rows):,}.".strip()
    return f"<table>{''.join(lines)}</table>" + (f"<p>{html.escape(said)}</p>" if said else "")


def html_text(lines: Sequence[str]) -> str:
    """Lines as a terminal shows them."""
    return f"<pre>{html.escape(chr(10).join(lines))}</pre>"


def html_picture(path: Path) -> str:
    """A PNG in the page itself; nothing where there is none."""
    try:
        data = base64.b64encode(path.read_bytes()).decode()
    except OSError:
        return ""
    return f'<img alt="{html.escape(path.stem)}" src="data:image/png;base64,{data}">'


def png(picture: "Image.Image") -> bytes:
    """A Pillow image as PNG."""
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()
