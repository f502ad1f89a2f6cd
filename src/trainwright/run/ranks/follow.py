"""The ranks after the first: each makes its part of every step, and does what rank 0 tells it."""

import logging
import signal
from pathlib import Path
from types import FrameType
from typing import ClassVar

from torch import Tensor

from trainwright.data.batches import Batches
from trainwright.engine.checkpoint import checkpoint
from trainwright.engine.evaluate import answer
from trainwright.engine.hook import Hook
from trainwright.engine.ranks.world import Message, World
from trainwright.engine.state import TrainState
from trainwright.engine.trainer import fit
from trainwright.errors import NonFiniteError
from trainwright.run.assemble.assemble import Assembly, assemble
from trainwright.run.logfile import logged_to
from trainwright.run.ranks.lead import alike, plan_of
from trainwright.stop_signals import taken_by

log = logging.getLogger(__name__)


def follow(world: World) -> None:
    """Take part in the run of rank 0, until it says that it is over."""
    with taken_by(_Asked(world).receive):
        message = world.hear()
        if message.what == "over":  # there was nothing to do
            return
        told = message.plain
        assembly = assemble(plan_of(told["plan"]), again=told["again"], world=world)
        world.answer(alike(assembly))
        world.wait_at_most(assembly.settings.rank_timeout)
        _Follower(world, assembly).work()


class _Asked:
    """A signal to this process is one to the whole run: the next step tells all of it."""

    def __init__(self, world: World) -> None:
        self._world = world

    def receive(self, number: int, frame: FrameType | None) -> None:
        if self._world.asked is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self._world.asked = number


class _Follower(Hook):
    """The only hook of a rank that follows: where rank 0 may say something, it listens."""

    always_looks: ClassVar[bool] = False
    is_rank_0s: ClassVar[bool] = True

    def __init__(self, world: World, assembly: Assembly) -> None:
        self._world, self._assembly = world, assembly
        self._is_over = False
        self._pieces: dict[str, Tensor] = {}  # of a sharded state, until all have been told
        self._named: dict[str, Tensor] = {}  # of which rank 0 asks for one after the other
        dataset = assembly.dataset
        self._splits: dict[str, Batches] = {
            name: assembly.make_batches(split) for name, split in dataset.splits.items()
        }
        world.on_signal = self._stop

    def work(self) -> None:
        """Train and listen in turns."""
        state, assembly = self._assembly.state, self._assembly
        while (first := self._world.hear()).what != "state":  # to begin with
            self._take(first)
        with logged_to(_log_of(self._world, Path(first.plain["folder"]))):
            log.info(
                "rank %d of %d: %s", self._world.rank, self._world.size, state.placement.describe()
            )
            self._take(first)
            self._listen()
            while not self._is_over:
                try:
                    fit(state, assembly.train, [self], assembly.settings)
                except NonFiniteError as error:  # rank 0 has the same, and knows what follows
                    log.warning("%s", error)
                self._listen()

    def due(self, step: int, total: int) -> bool:
        """Where rank 0 has said so with the step."""
        return self._world.listening

    def __call__(self, state: TrainState, metrics: dict[str, Tensor]) -> None:
        """Listen."""
        self._listen()

    def _listen(self) -> None:
        """Do what rank 0 says, until that is to go on or to stop."""
        while not self._is_over:
            message = self._world.hear()
            if message.what in ("go on", "stop"):
                self._assembly.state.stop_reason = (
                    "rank 0 stops" if message.what == "stop" else None
                )
                break
            self._take(message)
        self._named = {}
        self._world.listening = False

    def _take(self, message: Message) -> None:
        state, told = self._assembly.state, message.plain
        if message.what != "gather":
            self._named = {}
        if message.what == "over":
            self._is_over = True
        elif message.what == "state":
            self._restore(message)
            state.to_be_done = None  # rank 0 sees to that
        elif message.what == "weights":
            checkpoint.restore_evaluated(state, {**message.tensors, **self._pieces})
            self._pieces = {}
        elif message.what == "open":
            state.open()
        elif message.what == "piece":
            assert state.shards is not None
            self._pieces[told] = state.shards.cut(told, message.tensors[told])
        elif message.what == "gather":
            assert state.shards is not None
            self._named = self._named or checkpoint.named_tensors(state)
            state.shards.put_together(self._named[told])
        else:
            assert message.what == "evaluate", message.what
            answer(
                state.evaluated_task,
                self._splits[told["split"]],
                batch_size=told["batch_size"],
                most=told["most"],
                placement=state.placement,
                seed=state.seed,
                world=self._world,
            )

    def _restore(self, message: Message) -> None:
        """Be where rank 0 is; of what is sharded it has told, if it was put back itself."""
        state, progress = self._assembly.state, message.plain["progress"]
        tensors, self._pieces = {**message.tensors, **self._pieces}, {}
        if not tensors:
            checkpoint.restore_progress(state, progress)
            return
        has_averages = any(name.startswith("averaged.") for name in tensors)
        checkpoint.restore(state, tensors, progress, anew=() if has_averages else ("averages",))

    def _stop(self, number: int) -> None:
        self._assembly.state.stop_reason = signal.Signals(number).name


def _log_of(world: World, folder: Path) -> Path:
    path = folder / "ranks" / f"{world.rank}.log"
    path.parent.mkdir(exist_ok=True)
    return path
