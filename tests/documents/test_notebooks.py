"""The notebooks of docs/ run from their first cell to their last, and look as they are shown."""

import sys
from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")

NOTEBOOKS = sorted((Path(__file__).parents[2] / "docs" / "notebooks").glob("*.ipynb"))


def kinds(book):
    """What each cell shows, by its kinds: a picture, a table, words."""
    return [{kind for o in cell.get("outputs", ()) for kind in o.get("data", ())} for cell in book]


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_and_shows_what_it_is_stored_with(path, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", ":".join(part for part in sys.path if part))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    stored = nbformat.read(path, as_version=4)
    book = nbformat.read(path, as_version=4)
    settings = {"resources": {"metadata": {"path": str(tmp_path)}}}
    nbclient.NotebookClient(book, timeout=600, kernel_name="python3", **settings).execute()
    assert len(NOTEBOOKS) == 2
    assert all(
        here <= now for here, now in zip(kinds(stored.cells), kinds(book.cells), strict=True)
    )
