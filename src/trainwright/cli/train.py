"""`train`: the Hydra app. Everything that needs torch is imported only when a job really runs."""

import contextlib
import logging
import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from trainwright import __version__
from trainwright.cli.completion.shells import ASK, INSTALL, answer, completion_script
from trainwright.cli.terminal.colour import painted
from trainwright.cli.terminal.help import help_text
from trainwright.config_folder import config_folder
from trainwright.errors import TrainwrightError
from trainwright.run.ranks.places import place_among_others
from trainwright.streams import is_quiet, outlive_readers, spoken, tell, tells_events

if TYPE_CHECKING:
    from omegaconf import DictConfig

_FLAG_FOR_TRACEBACKS, _FLAG_FOR_QUIET = "--debug", "--quiet"
_WANTS_EVENTS = "trainer.events=json"


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command and exit with its code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments[:1] == ["help"] or {"--help", "-h"} & set(arguments):
        sys.exit(_print(_help, arguments))
    if "--version" in arguments:
        print(f"trainwright {__version__}")
        return
    if arguments[:1] == [ASK]:
        from trainwright.cli.completion.train_completion import offered

        answer(arguments[1:], offered)
        return
    if arguments[:1] in ([INSTALL], ["-sc"]):  # Hydra's short name for it
        # Without Hydra, because shells evaluate it whenever they start.
        sys.exit(_print(partial(completion_script, "train"), arguments[1:]))
    if arguments[:1] == ["init"]:
        from trainwright.cli.init import init

        sys.exit(_print(init, arguments[1:]))
    debug = _FLAG_FOR_TRACEBACKS in arguments
    tunes = arguments[:1] == ["tune"]
    quiet = _FLAG_FOR_QUIET in arguments
    arguments = [a for a in arguments if a not in (_FLAG_FOR_TRACEBACKS, _FLAG_FOR_QUIET)]
    with spoken(quiet=quiet):
        sys.exit((_tune if tunes else _train)(arguments, debug=debug))


def _tune(arguments: list[str], *, debug: bool) -> int:
    """What suits a run, instead of the run."""
    from trainwright.cli.terminal.failure import explain
    from trainwright.cli.tune.tune import parted

    try:
        tuning, words = parted(arguments[1:])
    except TrainwrightError as error:
        return explain(error, arguments, debug=debug)
    return train(words, debug=debug, work=tuning)


def _train(arguments: list[str], *, debug: bool) -> int:
    try:
        place = place_among_others()
        if place is not None and place[0] > 0:
            # What is typed is rank 0's to understand; of what it only prints there is no part.
            from trainwright.cli.ranks.part import take_part

            is_printed = any(argument.startswith("-") for argument in arguments)
            return 0 if is_printed else take_part(place)
        return train(arguments, debug=debug)
    except KeyboardInterrupt:  # before Hydra was there to be interrupted
        return _stopped_at_once()


def _stopped_at_once() -> int:
    print("stopped at once", file=sys.stderr)
    tell("failure", error="stopped at once", exit_code=130)
    return 130


def _help(words: Sequence[str]) -> str:
    """What is asked for: an option's keys, all keys, or the command."""
    named = [word for word in words if not word.startswith("-") and word != "help"]
    if not named:
        return help_text()
    from trainwright.cli.terminal.option_help import option_help

    sys.path.append(str(Path.cwd()))  # where a class of the user's own has its source
    return option_help(named) or help_text()


def _print(told: Callable[[Sequence[str]], str], words: Sequence[str]) -> int:
    try:
        print(told(words))
    except TrainwrightError as error:
        from trainwright.cli.terminal.failure import explain

        return explain(error, words, debug=False)
    return 0


def train(
    arguments: list[str],
    *,
    debug: bool,
    config_name: str = "train",
    work: "Callable[[DictConfig], float] | None" = None,
) -> int:
    """Give the command line to Hydra; turn whatever goes wrong into a message and a code.

    `config_name`: of the config that is composed; `work`: what to do with it, if not to train.
    """
    # Modules of the user's own lie in the working directory; last, so that they shadow nothing.
    sys.path.append(str(Path.cwd()))
    # Hydra then lets exceptions through instead of printing and exiting with 1.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    import hydra

    from trainwright.cli.sweep_folder import SweepFolder
    from trainwright.cli.terminal.arguments import in_order
    from trainwright.cli.terminal.failure import explain, was_interrupted
    from trainwright.cli.torch_library import begin_loading
    from trainwright.config.compose import register_schema

    register_schema()
    jobs = _Jobs(arguments, debug=debug, work=work)
    app = hydra.main(config_path=str(config_folder()), config_name=config_name, version_base="1.3")(
        jobs.run
    )
    if not any(argument.startswith("-") for argument in arguments):  # it will train, if it can
        begin_loading()
    with spoken(events=_WANTS_EVENTS in arguments):
        try:
            sys.argv = [sys.argv[0], *in_order(arguments)]
            app()
        except KeyboardInterrupt:
            return _stopped_at_once()
        except SystemExit as stop:
            return stop.code if isinstance(stop.code, int) else 1
        except Exception as error:
            if was_interrupted(error):
                return _stopped_at_once()
            jobs.codes.append(explain(error, arguments, debug=debug, composing=True))
        finally:
            SweepFolder.remove_if_unused()
    return jobs.codes[0] if jobs.codes else 0


class _Jobs:
    """The jobs that Hydra runs: one, or those of a sweep, in which a bad one sinks no other."""

    def __init__(
        self,
        arguments: Sequence[str],
        *,
        debug: bool,
        work: "Callable[[DictConfig], float] | None" = None,
    ) -> None:
        self.codes: list[int] = []  # of the jobs that failed
        self._arguments = arguments
        self._debug = debug
        self._work = work

    def run(self, config: "DictConfig") -> float:
        """Run one job. Returns the objective for sweepers, not a number where it has failed."""
        from omegaconf import OmegaConf

        from trainwright.cli.job import job_label, run_job
        from trainwright.cli.terminal.failure import explain, was_interrupted

        outlive_readers()
        log_to_console()
        with spoken(events=OmegaConf.select(config, "trainer.events") == "json"):
            try:
                return (self._work or run_job)(config)
            except Exception as error:
                if was_interrupted(error):
                    raise KeyboardInterrupt from error
                code = explain(error, self._arguments, debug=self._debug, job=job_label())
                self.codes.append(code)
                return float("nan")


def log_to_console() -> None:
    """Lines of ours go to standard output, above the progress bar where there is one.

    A program that has given the logger a handler has them go where it likes.
    """
    logger = logging.getLogger("trainwright")
    if not logger.handlers:
        logger.addHandler(_Console())
        logger.propagate = False
    if logger.level == logging.NOTSET:
        logger.setLevel(logging.INFO)  # train.log is to have them


class _Console(logging.Handler):
    """Where a person looks; to one who wants quiet, only what a run of that name has come to."""

    def emit(self, record: logging.LogRecord) -> None:
        from tqdm import tqdm

        text, stream = self.format(record), sys.stderr if tells_events() else sys.stdout
        if is_quiet():
            if tells_events() or not hasattr(record, "result_of"):
                return
            text = f"{record.result_of}: {text}"
        elif record.levelno >= logging.WARNING:
            text = painted(text, "yellow", stream)
        with contextlib.suppress(OSError):  # of a stream that is not ours; train.log has it all
            tqdm.write(text, file=stream)
            stream.flush()
