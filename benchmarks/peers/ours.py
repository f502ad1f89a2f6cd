"""trainwright: the command that a user would type, in this process where it is to take turns."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gate import Gate
from works import Work


def overrides(work: Work, setting: str, mnist: Path | None) -> list[str]:
    """What stands after `train`: the network, the data and how long.

    As it comes, everything else is left to the defaults: precision, memory format, the learning
    rate's schedule, the averaged generator of a GAN; its game is the same for all. In the setting
    fp32 the arithmetic is that of the other sides: fp32, a constant learning rate, no average.
    """
    typed = [
        f"model={work.network}",
        f"trainer.batch_size={work.batch_size}",
        "trainer.epochs=null",
        f"trainer.steps={work.num_steps}",
    ]
    if mnist is None or work.shape[0] == 3:
        shape = ",".join(map(str, work.shape))
        typed += ["data=generated", f"data.num_images={work.num_images}", f"data.shape=[{shape}]"]
    else:
        typed += ["data=mnist", f"data.root={mnist.parent}", f"data.limit={work.num_images}"]
    if work.network == "mlp":
        typed += [f"model.widths=[{','.join(map(str, work.widths))}]"]
    if work.network == "gan":  # the game that all sides play
        typed += ["model.conditional=false", "task.relativistic=false", "task.r1=0"]
    if setting == "fp32":
        typed += ["trainer.precision=fp32", "schedule=constant", "trainer.ema=null"]
    return typed


def take_turns(work: Work, setting: str, mnist: Path | None, gate: Gate) -> None:
    """Run `train` without an end, its hooks on, until the gate has seen enough."""
    from trainwright.cli.train import main
    from trainwright.data.batches import Batches
    from trainwright.run import course

    at, fitting = Batches.at, course.fitting

    def counted(self: Batches, step: int) -> object:
        gate.step()
        return at(self, step)

    def counted_fitting(*arguments: Any) -> object:
        # Only now: the network that scores a GAN may have been trained before, with batches too.
        Batches.at = counted  # type: ignore[method-assign, assignment]
        return fitting(*arguments)

    course.fitting = counted_fitting  # type: ignore[assignment]
    main(_endless(overrides(work, setting, mnist), work))


def _endless(typed: Sequence[str], work: Work) -> list[str]:
    """The same run, with as many steps as it may take: what comes once an epoch stays so."""
    rest = [word for word in typed if not word.startswith("trainer.steps")]
    epoch = -(-work.num_images // work.batch_size)
    cadences = [f"trainer.{what}_every={epoch}" for what in ("evaluate", "sample", "save")]
    return [*rest, *cadences, f"trainer.steps={1000 * epoch}", "run.dir=endless"]
