"""A run under way in its folder: trained, tested, drawn; however it ends, its summary says so."""

import contextlib
import logging
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from trainwright.config.stored import resume_command
from trainwright.engine.hook import Hook
from trainwright.engine.trainer import Training, fitting
from trainwright.errors import DiskError, TrainwrightError
from trainwright.hooks.crowded import Crowded
from trainwright.hooks.evaluate import Evaluate
from trainwright.hooks.health import HealthCheck
from trainwright.hooks.log import Log
from trainwright.hooks.own import Own
from trainwright.hooks.progress import Progress
from trainwright.hooks.samples import Samples
from trainwright.hooks.save import Save
from trainwright.hooks.send import Send
from trainwright.report.plots.drawing import Drawing
from trainwright.run.announce import report
from trainwright.run.assemble.assemble import Assembly
from trainwright.run.finish import draw_so_far, finish
from trainwright.run.ranks.lead import share_state
from trainwright.run.records import Summary, facts, progress
from trainwright.run.request import Outcome, Request
from trainwright.run.resume.changes import begin_anew
from trainwright.run.resume.legs import Legs
from trainwright.run.resume.recover import newest_step
from trainwright.run.resume.rollback import Rollback
from trainwright.run.signals import StopRequests
from trainwright.run.translate import in_our_words
from trainwright.runs.folder import RunFolder
from trainwright.runs.record import numbers
from trainwright.runs.summary import read_summary
from trainwright.streams import tell

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Course:
    """All that happens between the first step of a run and its last word.

    `summary` is what has been said of the run so far; it grows.
    """

    request: Request
    assembly: Assembly
    folder: RunFolder
    stopping: Sequence[Hook]
    summary: Summary
    legs: Legs

    def run(self, send: Send, signals: StopRequests) -> Training[Outcome]:
        """Train, test once with the best weights, draw. Raises what a person is to be told."""
        folder, summary = self.folder, self.summary
        try:
            yield from self._train(send)
            self._note_time()
            if signals.received is not None:
                folder.write_summary({**summary, "status": "stopped"})
                saved = f"saved step {self.assembly.state.step}; {self._go_on}"
                log.info("%s", saved, extra=self._result)
                signals.leave_at_once()
                self.assembly.state.world.tell("over")
                self._draw_so_far()
                self._tell_end()
                return Outcome(folder.path, None, signals.received)
            if self.request.prune is not None and self.request.prune.has_stopped:
                self.assembly.state.world.tell("over")
                folder.write_summary({**summary, "status": "pruned"})
                self._draw_so_far()
                self._tell_end()
                return Outcome(folder.path, self._objective)
            signals.leave_at_once()  # there is nothing left to save
            self._finish()
            return Outcome(folder.path, self._objective)
        except KeyboardInterrupt:
            self._note_time()
            folder.write_summary({**summary, "status": "stopped"})
            step = newest_step(folder)
            saved = "nothing was saved" if step is None else f"step {step} is saved; {self._go_on}"
            log.info(saved, extra=self._result)
            if signals.received in (None, signal.SIGINT):
                raise
            self._tell_end()
            return Outcome(folder.path, None, signals.received)
        except Exception as error:
            failure = self.explained(error)
            self._note_time()
            with contextlib.suppress(DiskError):  # of two failures the first is told
                folder.write_summary({**summary, "status": "failed", "error": str(failure)})
            if failure is error:
                raise
            raise failure from error

    def explained(self, error: Exception) -> Exception:
        """The error with what a person needs to go on, where there is more to say."""
        command = resume_command(self.folder.path, self.request.plan.kept)
        return in_our_words(error, self.assembly, self.folder, command) or error

    def _train(self, send: Send) -> Training[None]:
        """Train until the end or a stop, and note in the summary how far that was."""
        assembly, settings, folder = self.assembly, self.assembly.settings, self.folder
        state, clock = assembly.state, assembly.state.clock
        crowded = Crowded(state.step, lowers=settings.threads == "auto")
        save, bar = self._save(crowded), self._bar()
        for hook in self.stopping:
            if isinstance(hook, Own):
                hook.begin(folder)
        hooks: list[Hook] = [
            Evaluate(
                assembly.make_batches(assembly.dataset.validation),
                every=clock.steps(settings.evaluate_every),
                batch_size=settings.evaluate_batch_size,
                further={
                    name: assembly.make_batches(split)
                    for name, split in assembly.dataset.measured_with("validation")
                },
            ),
            *self.stopping,
            *([] if self.request.prune is None else [self.request.prune]),
            Log(
                folder.metrics,
                every=clock.steps(settings.log_every),
                evaluate_every=clock.steps(settings.evaluate_every),
            ),
            Samples(folder, every=clock.steps(settings.sample_every)),
            send,
            crowded,
            save,
            bar,
        ]
        self.legs.begin(state.step)

        def train() -> Training[None]:
            yield from fitting(state, assembly.train, hooks, settings)
            # Stopped between two saves, or never asked to save: what there is must not be lost.
            is_unfinished = state.step < clock.total_steps or state.to_be_done is not None
            if is_unfinished or not folder.best.exists():
                save.save(state)

        if state.world.is_shared and settings.max_restarts and not folder.last.exists():
            save.save(state)  # so that there is always something to go on from
        try:
            yield from Rollback(
                state,
                self.stopping,
                folder,
                save,
                settings,
                partial(share_state, assembly, folder),
            ).fit(train)
        finally:
            bar.close()
            self.summary.update(self.legs.summary(state.step, clock.batch_size))
        self.summary.update(progress(assembly))
        if crowded.changes:
            earlier = self.summary.get("threads_changed", [])
            self.summary["threads_changed"] = [*earlier, *crowded.changes]
        for hook in self.stopping:
            if isinstance(hook, HealthCheck):
                self.summary["health"] = hook.course

    def _tell_end(self) -> None:
        """As summary.json has it, without what is no number."""
        told = read_summary(self.folder.path)
        facts = {key: told.get(key) for key in ("status", "step", "best", "last", "seconds")}
        test = numbers(told.get("test")) or None
        tell("finish", folder=str(self.folder.path), **facts, test=test)

    def _note_time(self) -> None:
        self.summary["total_seconds"] = self.legs.total_seconds(self.assembly.state.step)

    def _save(self, crowded: Crowded) -> Save:
        request, assembly = self.request, self.assembly
        settings, clock = assembly.settings, assembly.state.clock
        known = facts(request.plan, assembly)
        return Save(
            self.folder,
            {**known, "resumed": self._resumed()},
            self.stopping,
            self.legs,
            every=clock.steps(settings.save_every),
            evaluate_every=clock.steps(settings.evaluate_every),
            step_of_last=None if request.resume is None else assembly.state.step,
            step_of_best=None if assembly.state.best is None else assembly.state.best.step,
            keep=settings.keep,
            crowded=crowded,
        )

    def _resumed(self) -> dict[str, Any] | None:
        """Where a run went on and what began anew there, for who replays it."""
        resume = self.request.resume
        if resume is None:
            return None
        return {"step": resume.found.step, "anew": sorted(begin_anew(resume.changes))}

    def _bar(self) -> Progress:
        state, info = self.assembly.state, self.assembly.dataset.info
        return Progress(
            batch_size=state.clock.batch_size * (info.num_tokens or 1),
            start=state.step,
            total=state.clock.total_steps,
            unit="tokens" if info.num_tokens else "images" if info.is_image else "examples",
        )

    def _finish(self) -> None:
        """Test, draw and sum up a run that has come to its end."""
        test = finish(self.assembly, self.folder, self._drawing())
        self.assembly.state.world.tell("over")
        self._note_time()
        self.summary.update(status="finished", test=test)
        self.folder.write_summary(self.summary)
        report(self.assembly, self.folder, self.summary)
        self._tell_end()

    def _draw_so_far(self) -> None:
        """Draw what there is of a run that ends before its end; that it is whole matters more."""
        drawing = self._drawing()
        if drawing is not None:
            with contextlib.suppress(OSError, TrainwrightError):
                draw_so_far(self.folder, drawing)

    def _drawing(self) -> Drawing | None:
        """What draws; None where no pictures are wanted."""
        draws = self.request.draws
        wanted = self.assembly.settings.plots and (draws is None or draws())
        return Drawing(self.request.artist) if wanted else None

    @property
    def _result(self) -> dict[str, Any]:
        """What marks the line of the log that is the result."""
        return {"result_of": self.folder.path}

    @property
    def _go_on(self) -> str:
        return f"go on: {resume_command(self.folder.path, self.request.plan.kept)}"

    @property
    def _objective(self) -> float | None:
        best = self.assembly.state.best
        return None if best is None else best.metrics[self.assembly.state.task.objective.metric]
