"""One rank of a run on several: what `run/ranks/launch.py` starts as a process.

It reads what to run from standard input.
"""

import faulthandler
import json
import logging
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainwright.cli.process import live
from trainwright.cli.ranks.part import code_of, take_part
from trainwright.own_process import end_with_parent
from trainwright.run.ranks.launch import WHERE
from trainwright.streams import outlive_readers

if TYPE_CHECKING:
    from trainwright.engine.ranks.group import Meeting
    from trainwright.run.request import Request


def main() -> None:
    """Read what to run, do this rank's part of it, and exit with the run's code."""
    asked = json.loads(sys.stdin.buffer.read())
    end_with_parent(signal.SIGTERM)
    outlive_readers()
    from trainwright.cli.train import log_to_console
    from trainwright.config.compose import register_schema
    from trainwright.engine.ranks.group import Meeting

    register_schema()
    sys.path.append(str(Path.cwd()))
    log_to_console()
    notes, meeting = Path(asked["notes"]), Meeting(*asked["meeting"])
    if WHERE is not None:
        stands = (notes / f"{meeting.rank}.stands").open("w")  # as long as the process lives
        faulthandler.register(WHERE, file=stands, all_threads=False)
    if meeting.rank == 0:
        said = notes / "0" if asked["is_heard"] else None
        code = code_of(lambda: _lead(asked, meeting, notes), asked["overrides"], said=said)
    else:
        code = take_part(meeting, said=notes / str(meeting.rank))
    sys.exit(code)


def _lead(asked: dict[str, Any], meeting: "Meeting", notes: Path) -> int:
    """Run as `train` does, in a world of several; `notes` is told where."""
    from trainwright.engine.ranks.group import Ranks
    from trainwright.run.resume.resume import finished
    from trainwright.run.run import run

    request = _request(asked)
    if request.resume is not None and (message := finished(request)) is not None:
        logging.getLogger("trainwright").info(message)
        return 0
    world = Ranks(meeting)
    outcome = run(
        replace(
            request,
            world=world,
            began=lambda path: (notes / "folder").write_text(str(path)),
            notes=[asked["note"]] if "note" in asked else [],
        )
    )
    world.leave()
    return 0 if outcome.signal is None else 128 + outcome.signal


def _request(asked: dict[str, Any]) -> "Request":
    from omegaconf import DictConfig

    from trainwright.run.ranks.lead import plan_of
    from trainwright.run.request import Request
    from trainwright.run.resume.resume import resume_request

    if asked["resume"]:
        return resume_request(DictConfig(asked["config"]), asked["overrides"])
    return Request(plan_of({**asked, "allow": None}))


if __name__ == "__main__":
    live(main)
