"""summary.json: what a run is, how far it has come, and how it ended. All read it here."""

from pathlib import Path
from typing import Any

from trainwright.runs.stored import UnreadableError, read_json


def read_summary(folder: Path) -> dict[str, Any]:
    """The summary of the run in a folder; empty where there is none that can be read."""
    try:
        return read_json(folder / "summary.json")
    except (FileNotFoundError, UnreadableError):
        return {}
