"""One self-contained HTML page: data as JSON, scripts and styles inside, and no request ever."""

import base64
import hashlib
import html
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

ASSETS = Path(__file__).parent / "assets"
STYLES = ("uPlot.min.css", "page.css")
SCRIPTS = ("uPlot.iife.min.js", "dom.js", "tables.js", "charts.js", "sections.js", "page.js")

_PAGE = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
{refresh}<title>{title}</title>
<style>{style}</style>
</head>
<body>
<noscript>This page draws itself with the scripts inside it; it loads nothing.</noscript>
<script type="application/json" id="data">{data}</script>
<script>{script}</script>
</body>
</html>
"""


def render(report: Mapping[str, Any], *, refresh: int = 0) -> str:
    """The page of a report: `title`, `runs`, `sweep` or None, `version`, `made` (see story.py).

    Nothing in it is trusted: it goes in as JSON that cannot close its element, and the page's
    scripts make text of it, never markup. The policy lets those scripts run and no others, by
    their hash, and forbids every request. `refresh`: seconds after which a browser reads it again.
    """
    style, script = (_assets(names) for names in (STYLES, SCRIPTS))
    policy = (
        f"default-src 'none'; img-src data:; script-src '{_hash(script)}'; "
        f"style-src '{_hash(style)}'; base-uri 'none'; form-action 'none'"
    )
    return _PAGE.format(
        policy=policy,
        refresh=f'<meta http-equiv="refresh" content="{refresh}">\n' if refresh else "",
        title=html.escape(str(report["title"])),
        style=style,
        data=_json(report),
        script=script,
    )


def _json(value: Any) -> str:
    """JSON that holds no `<`, so that no text in it can end the element it stands in."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


@cache
def _assets(names: tuple[str, ...]) -> str:
    return "\n".join((ASSETS / name).read_text(encoding="utf-8") for name in names)


def _hash(text: str) -> str:
    """As a content security policy names an inline script or style."""
    digest = hashlib.sha256(text.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"
