"""summary.json: what a run is, how far it has come, and how it ended. All read it here."""

from pathlib import Path
from typing import Any

from trainwright.runs.stored import read_json_if_any


def read_summary(folder: Path) -> dict[str, Any]:
    """The summary of the run in a folder; empty where there is none that can be read."""
    return read_json_if_any(folder / "summary.json")
