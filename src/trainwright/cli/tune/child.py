"""The process in which batches are tried: if its memory runs out, only this one ends.

It reads what to try from standard input, and tells on standard output, a JSON object a line.
"""

import json
import signal
import sys
from pathlib import Path

from trainwright.cli.process import live
from trainwright.errors import TrainwrightError
from trainwright.own_process import end_with_parent


def main() -> None:
    """Try one size after another."""
    asked = json.loads(sys.stdin.buffer.read())
    end_with_parent(signal.SIGKILL)
    sys.path.append(str(Path.cwd()))
    from trainwright.config.compose import register_schema
    from trainwright.run.ranks.lead import plan_of
    from trainwright.run.tune.batch import Tried, doubled

    register_schema()
    try:
        for found in doubled(plan_of(asked), asked["first"], limit=asked["limit"]):
            told = found._asdict() if isinstance(found, Tried) else {"end": found}
            print(json.dumps(told), flush=True)
    except TrainwrightError as error:
        print(json.dumps({"error": str(error), "exit_code": error.exit_code}), flush=True)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    live(main)
