"""The documentation as a site: every page has its place, every link its end, every key its row."""

import re
import subprocess
import sys
import tomllib
from html.parser import HTMLParser
from pathlib import Path

import pytest

from trainwright.cli.runs import COMMANDS
from trainwright.config_folder import GROUPS, group_options

ROOT = Path(__file__).parents[2]
SITE = ROOT / "build" / "site"
PROJECT = tomllib.loads((ROOT / "zensical.toml").read_text())["project"]


def pages_of(nav):
    """The pages that a navigation names, in its order."""
    if isinstance(nav, str):
        return [nav]
    parts = nav.values() if isinstance(nav, dict) else nav
    return [page for part in parts for page in pages_of(part)]


def test_every_page_of_docs_stands_in_the_navigation_once():
    listed = pages_of(PROJECT["nav"])
    written = [*(ROOT / "docs").rglob("*.md"), *(ROOT / "docs").rglob("*.ipynb")]
    expected = {str(page.relative_to(ROOT / "docs").with_suffix(".md")) for page in written}
    assert expected <= set(listed), "add it to `nav` of zensical.toml"
    assert len(listed) == len(set(listed))


class Ends(HTMLParser):
    """What a page links to and loads, and the ids to which one may link."""

    def __init__(self, text):
        super().__init__()
        self.links, self.loads, self.ids = [], [], set()
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.ids.add(given.get("id"))
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        elif tag in ("img", "script", "link") and (end := given.get("src") or given.get("href")):
            self.loads.append(end)


@pytest.fixture(scope="module")
def built():
    pytest.importorskip("zensical")
    done = subprocess.run(
        [sys.executable, ROOT / "docs" / "site" / "make.py"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return {path: Ends(path.read_text()) for path in SITE.rglob("*.html")}


@pytest.mark.slow
def test_every_link_and_picture_of_the_built_site_is_there(built):
    for path, ends in built.items():
        if path.name == "404.html":  # its links are those of the site's root
            continue
        for end in (*ends.links, *ends.loads):
            if end.startswith("data:"):  # a picture inside of the page
                continue
            if re.match(r"https?:|mailto:", end):
                assert end in ends.links, f"{path.name} loads {end} from elsewhere"
                continue
            file, _, anchor = end.partition("#")
            to = (path.parent / file).resolve() if file else path
            to = to / "index.html" if to.is_dir() else to
            assert to.is_file(), f"{path.name} leads to {end}"
            if anchor and to in built:
                assert anchor in built[to].ids, f"{path.name} leads to {end}"


@pytest.mark.slow
def test_the_reference_has_every_option_and_every_command(built):
    for group in GROUPS:
        text = (SITE / "reference" / "keys" / f"{group}.html").read_text()
        assert all(f"{group}={option}<" in text for option in group_options(group))
    commands = (SITE / "reference" / "commands.html").read_text()
    assert all(f"runs {name}<" in commands for name in COMMANDS)
    rows = (SITE / "reference" / "keys" / "trainer.html").read_text()
    row = rows[rows.index("trainer.max_skips") :].partition("</tr>")[0]
    assert "10" in row
    assert "more than 0" in row
    assert "skip leaves out" in row
