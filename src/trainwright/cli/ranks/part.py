"""The part of a process in a run that several share, and its exit code."""

import contextlib
import io
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trainwright.engine.ranks.group import Meeting
    from trainwright.run.ranks.places import Place


def take_part(place: "Place | Meeting", *, said: Path | None = None) -> int:
    """Be a rank that follows. What goes wrong is printed, or `said` in a file."""

    def work() -> int:
        from trainwright.engine.ranks.group import Meeting, Ranks
        from trainwright.run.ranks.follow import follow

        world = Ranks(Meeting(*place))
        follow(world)
        world.leave()
        return 0

    if str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))
    return code_of(work, [], said=said)


def code_of(work: Callable[[], int], overrides: list[str], *, said: Path | None = None) -> int:
    """The exit code of what is done; what went wrong is printed, or `said` in a file.

    That another rank has ended is not: who looks after them says which.
    """
    from trainwright.cli.terminal.failure import explain, was_interrupted
    from trainwright.engine.ranks.world import RankLostError

    try:
        return work()
    except KeyboardInterrupt:
        print("stopped at once", file=sys.stderr)
        return 130
    except RankLostError as error:
        return error.exit_code
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 1
    except Exception as error:
        if was_interrupted(error):
            return 130
        if said is None:
            return explain(error, overrides, debug=False)
        text = io.StringIO()
        with contextlib.redirect_stderr(text):
            code = explain(error, overrides, debug=False)
        said.write_text(text.getvalue())
        said.with_suffix(".kind").write_text(type(error).__name__)
        return code
