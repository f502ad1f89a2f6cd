"""The documentation as a site: `make docs` writes it to build/site, and fails at any warning.

Pages are gathered in build/docs: those of docs/ and of the repository's root, the notebooks, and
the reference, which is made from the code. Zensical then checks every link and anchor between them.
"""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import notebooks
import reference

ROOT = Path(__file__).resolve().parents[2]
PAGES = ROOT / "build" / "docs"  # `docs_dir` of zensical.toml
SITE = ROOT / "build" / "site"
# Pages from outside of docs/, by where the site has them.
OTHERS = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "benchmarks/RESULTS.md": "benchmarks/results.md",
    "benchmarks/SWEEPS.md": "benchmarks/sweeps.md",
}
_LINK = re.compile(r"(!?)\[([^\]]*)\]\((?!https?:|mailto:|#)([^)#\s]+)(#[^)\s]*)?\)")
_FILE_BLOCK = re.compile(r"^```(\w+) ([\w./]+)$", re.MULTILINE)  # ```python mine.py


class SiteError(Exception):
    """A page that cannot be part of the site as it is."""


def place(source: str) -> str | None:
    """Where the site has a file of the repository; None where it has no place there."""
    if source in OTHERS:
        return OTHERS[source]
    path = Path(source)
    if path.suffix in (".png", ".css"):
        return source.removeprefix("docs/")
    if path.parts[0] == "docs" and path.suffix in (".md", ".ipynb"):
        return str(path.relative_to("docs").with_suffix(".md"))
    return None


def page(source: str, text: str) -> str:
    """A page of the repository as the site shows it: its links follow what has moved."""

    def moved(link: re.Match[str]) -> str:
        picture, words, end, anchor = link.groups()
        to = Path(os.path.normpath(Path(source).parent / end))
        if not (ROOT / to).exists():
            raise SiteError(f"{source}: [{words}]({end}) leads nowhere")
        there = place(str(to))
        if there is None:
            return words  # source code, which the site does not have
        here = Path(place(source) or "").parent
        return f"{picture}[{words}]({os.path.relpath(there, here)}{anchor or ''})"

    text = _LINK.sub(moved, text)
    return _FILE_BLOCK.sub(r'```\1 title="\2"', text)


def gather() -> Iterator[str]:
    """Write every page and picture to build/docs; yield the names of the pages."""
    shutil.rmtree(PAGES, ignore_errors=True)
    pictures = (ROOT / "benchmarks").glob("*.png")
    found = sorted([*(ROOT / "docs").rglob("*.*"), *(ROOT / name for name in OTHERS), *pictures])
    for source in (str(file.relative_to(ROOT)) for file in found):
        to = place(source)
        if to is None:
            continue
        path = PAGES / to
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix != ".md":
            shutil.copy(ROOT / source, path)
            continue
        text = (ROOT / source).read_text()
        if source.endswith(".ipynb"):
            text = notebooks.as_page(text, path)
        path.write_text(page(source, text))
        yield to
    for name, text in reference.pages():
        path = PAGES / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        yield name


def named(nav: object) -> Iterator[str]:
    """The pages that a navigation names."""
    if isinstance(nav, str):
        yield nav
    elif isinstance(nav, dict | list):
        for part in nav.values() if isinstance(nav, dict) else nav:
            yield from named(part)


def main() -> None:
    """Gather the pages, compare them with the navigation, and let Zensical build the site."""
    pages = set(gather())
    project = tomllib.loads((ROOT / "zensical.toml").read_text())["project"]
    listed = set(named(project["nav"]))
    if pages != listed:
        lost, gone = ", ".join(sorted(pages - listed)), ", ".join(sorted(listed - pages))
        raise SiteError(f"`nav` of zensical.toml lacks: {lost or '-'}; has no page: {gone or '-'}")
    shutil.rmtree(SITE, ignore_errors=True)
    zensical = Path(sys.executable).with_name("zensical")
    subprocess.run([zensical, "build", "--clean", "--strict"], cwd=ROOT, check=True)
    print(f"{len(pages)} pages: open {SITE / 'index.html'}")


if __name__ == "__main__":
    try:
        main()
    except (SiteError, subprocess.CalledProcessError) as error:
        sys.exit(str(error))
