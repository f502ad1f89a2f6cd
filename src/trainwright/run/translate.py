"""What goes wrong in the middle of a run and is the user's to mend, with the way out of it."""

import contextlib
import traceback

from trainwright.engine.device.memory import is_out_of_memory
from trainwright.errors import (
    OWN_CODE,
    ConfigError,
    DiskError,
    OutOfMemoryError,
    TrainwrightError,
    own_code_failed,
    own_line,
)
from trainwright.files import append_line
from trainwright.run.assemble.assemble import Assembly
from trainwright.run.resume.recover import newest_step
from trainwright.runs.folder import RunFolder


def in_our_words(
    error: Exception, assembly: Assembly, folder: RunFolder, go_on: str
) -> TrainwrightError | None:
    """The error of a run under way with what a person needs; None where there is no more to say.

    `go_on` is the command that goes on with the run.
    """
    if isinstance(error, DiskError):
        mend = "free some space" if "No space" in str(error) else "see that it can be written"
        step = newest_step(folder)
        if step is None:
            return DiskError(f"{error}\n  no step was saved; {mend}, then start it anew")
        return DiskError(f"{error}\n  the last good step is {step}; {mend}, then go on: {go_on}")
    settings = assembly.settings
    if is_out_of_memory(error):
        size = settings.batch_size
        parts = settings.accumulate * 2
        hint = (
            f", or compute each in parts: trainer.accumulate={parts}" if size % parts == 0 else ""
        )
        evaluated = settings.evaluate_batch_size
        return OutOfMemoryError(
            f"out of memory with trainer.batch_size={size}, "
            f"trainer.evaluate_batch_size={evaluated}\n"
            f"  make the batches smaller{hint}\n"
            f"  last checkpoint: {folder.last if folder.last.exists() else 'none yet'}"
        )
    if settings.compile and _is_of_the_compiler(error):
        first = str(error).strip().partition("\n")[0]
        return ConfigError(
            f"trainer.compile=true: the model cannot be compiled\n  {first[:300]}\n"
            "  leave trainer.compile out to train it as it is written"
        )
    if "Expected more than 1 value per channel" in str(error):
        return ConfigError(
            f"trainer.batch_size={settings.batch_size}: batch normalisation needs more than one "
            "value per channel at a time\n  make the batch larger, or choose another model norm"
        )
    if not isinstance(error, TrainwrightError) and own_line(error) is not None:
        _keep_traceback(error, folder)
        return own_code_failed(OWN_CODE, error)
    return None


def _keep_traceback(error: Exception, folder: RunFolder) -> None:
    """Write it to the run's log: to see it again would take another run."""
    with contextlib.suppress(DiskError):
        append_line(folder.log, "".join(traceback.format_exception(error)).rstrip())


def _is_of_the_compiler(error: Exception) -> bool:
    """Whether torch.compile has failed, or is not up to what is asked of it."""
    is_compilers = type(error).__module__.startswith(("torch._dynamo", "torch._inductor"))
    return is_compilers or "does not currently support double backward" in str(error)
