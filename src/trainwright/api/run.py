"""A run: what it is and how it went, and what can be done with what it has learned."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from trainwright.api.failures import as_told
from trainwright.api.results.notebook import html_picture, html_table
from trainwright.runs.find import DEFAULT_ROOT
from trainwright.runs.record import Record
from trainwright.wording import format_number

if TYPE_CHECKING:
    from torch import Tensor, nn

    from trainwright.api.results.evaluation import Evaluation
    from trainwright.api.results.explanations import Explanation
    from trainwright.api.results.history import Columns
    from trainwright.api.results.predictions import Predictions
    from trainwright.api.results.samples import Samples
    from trainwright.inference.trained import Trained
    from trainwright.run.assemble.given import Given

Checkpoint: TypeAlias = str  # best, last; best-2 and so on of trainer.keep
Precision = Literal["auto", "fp32", "bf16", "fp16"]


@dataclass(frozen=True)
class Opened:
    """How what a run has learned is opened, and what a program gives for names in its config."""

    checkpoint: Checkpoint = "best"
    device: str = "auto"
    precision: Precision | None = None
    trust: Sequence[str] = ()
    given: "Given | None" = None


@dataclass(frozen=True)
class Run:
    """A run and its folder, which is read whenever something is asked for.

    `trainwright.train` and `trainwright.load` give one.
    """

    path: Path
    _root: Path | None = None
    _opened: Opened = Opened()
    _cache: "dict[object, Trained]" = field(default_factory=dict, repr=False, compare=False)

    @property
    def name(self) -> str:
        """Its folder, as `runs list` calls it."""
        return self._record.name

    @property
    def status(self) -> str:
        """`running`, `finished`, `stopped`, `pruned`, `failed`, `killed` or `unknown`."""
        return self._record.status

    @property
    def config(self) -> dict[str, Any]:
        """All settings, resolved, section by section."""
        return self._record.config

    @property
    def metrics(self) -> dict[str, float]:
        """`validation/...` of the best checkpoint, `last/...`, and `test/...`."""
        return self._record.metrics

    @property
    def summary(self) -> dict[str, Any]:
        """What summary.json holds: times, versions, how it ended (docs/design.md)."""
        return self._record.summary

    @property
    def history(self) -> "Columns":
        """What was logged, a row each time: step, epoch, train/loss, validation/accuracy, ..."""
        from trainwright.api.results.history import Columns
        from trainwright.runs.metrics import read_rows

        return Columns(read_rows(self.path))

    @property
    def model(self) -> "nn.Module":
        """The torch module with its trained weights, in evaluation mode; of a GAN both players."""
        task = self._trained.task
        module: nn.Module = getattr(task, "model", task)
        return module

    @property
    def preprocess(self) -> "Callable[[Any], dict[str, Tensor]]":
        """What goes before the model: what `predict` takes becomes a batch by the inputs' names.

        `run.model(run.preprocess(images)["inputs"])` are raw outputs.
        """
        from trainwright.inference.given import prepared

        trained = self._trained

        def preprocess(given: Any) -> "dict[str, Tensor]":
            with as_told():
                return prepared(trained, given)

        return preprocess

    def predict(self, given: Any) -> "Predictions":
        """What the run says of examples.

        `given`: an array or tensor (N, ...); Pillow images, paths or texts, one or a list; a pandas
        table, or a mapping of columns; for a run that has learned rows the path of a CSV file.
        Raises DataError that names what cannot be used, ConfigError where nothing is predicted.
        """
        from trainwright.api.results.predictions import predictions_of

        with as_told():
            return predictions_of(self._trained, given)

    def explain(self, given: Any, output: str | None = None) -> "list[Explanation]":
        """Why the run says what it says of examples, given as to `predict`, as `runs explain` does.

        `output`: another class or value than the likeliest, by name or number. Rows of a table are
        explained beside training rows, for which the run's own data are read. Raises DataError for
        what cannot be used, ConfigError where nothing is explained.
        """
        from trainwright.api.results.explanations import explanations_of
        from trainwright.api.turns import alone
        from trainwright.run.assemble.given import giving

        with as_told():
            trained, data = self._trained, self._opened.given
            with alone(), giving(data and data.copied()):
                return explanations_of(trained, given, output)

    def sample(
        self,
        num: int | None = None,
        *,
        classes: str | int | Sequence[str | int] = (),
        seed: int = 0,
        interpolate: int | None = None,
        **options: Any,
    ) -> "Samples":
        """`num` examples that the run makes up (64 images, of a language model one text).

        `classes`: by name or number, in turn. `interpolate`: instead `num` strips of so many images
        from one to another. `options`: what else `runs sample` takes for it, such as `prompt`.
        Raises ConfigError for a run that makes up nothing.
        """
        from trainwright.api.results.samples import Samples
        from trainwright.errors import ConfigError

        with as_told():
            for name, value, least in (("num", num, 1), ("seed", seed, 0)):
                if value is not None and (not isinstance(value, int) or value < least):
                    raise ConfigError(f"{name}={value!r}: it must be a whole number from {least}")
            trained = self._trained
            from trainwright.inference.generate import class_indices, make_up, require_generator

            require_generator(trained)
            named = [classes] if isinstance(classes, str | int) else classes
            numbers = class_indices([str(name) for name in named], trained) if named else []
            made = make_up(
                trained, num, frames=interpolate, seed=seed, classes=numbers, options=options
            )
        return Samples(made)

    def evaluate(
        self,
        *overrides: str,
        split: str = "test",
        resamples: int = 1000,
        group: str | None = None,
        likelihood: bool = False,
        membership: bool = False,
    ) -> "Evaluation":
        """The metrics on a split of the run's own data, or of those that `data=...` describes.

        `resamples`: of the bootstrap for the 95 % intervals; 0: none. The others add to it what
        they do for `runs evaluate`. Raises DataError and others.
        """
        import warnings

        from trainwright.api.failures import refuse_flags
        from trainwright.api.results.evaluation import Evaluation
        from trainwright.api.turns import alone
        from trainwright.cli.commands.apply.evaluate import lines_of, measured
        from trainwright.run.assemble.given import giving

        with as_told(overrides):
            refuse_flags(overrides)
            trained = self._trained
            with alone(), giving(self._opened.given):
                evaluated, plain = measured(
                    trained,
                    list(overrides),
                    split,
                    resamples=resamples,
                    tell=lambda text: warnings.warn(text, stacklevel=2),
                    group=group,
                    likelihood=likelihood,
                    membership=membership,
                )
            return Evaluation(evaluated, plain, lines_of(self.name, trained, plain, evaluated))

    def resume(self, *overrides: str) -> "Run":
        """Go on with the run in its folder, exactly or with changes, as `runs resume` does."""
        from trainwright.api.training import trained
        from trainwright.command_line import listing, override

        trust = [listing("trust", self._opened.trust)] if self._opened.trust else []
        words = [override("trainer.resume", self._record.meant), *trust, *overrides]
        given = self._opened.given and self._opened.given.copied()
        return Run(*trained(words, given=given), replace(self._opened, given=given))

    def fork(self, *words: str) -> "Run":
        """Train a new run that begins with the weights of this one, as `runs fork` does."""
        from trainwright.api.training import compose_fork, trained

        own = [f"checkpoint={self._opened.checkpoint}"]
        composed = compose_fork(self._record, [*own, *words], self._root or DEFAULT_ROOT)
        given = self._opened.given and self._opened.given.copied()
        return Run(*trained(words, composed=composed, given=given), Opened(given=given))

    @property
    def _record(self) -> Record:
        return Record(self.path, root=self._root)

    @property
    def _trained(self) -> "Trained":
        """What it has learned, read once for each state of the checkpoint."""
        import warnings

        from trainwright.engine.checkpoint.calibration import calibration_file

        with as_told():
            how = self._opened
            file = self._record.checkpoint(how.checkpoint)
            beside = calibration_file(file)
            times = [p.stat().st_mtime_ns for p in (file, beside) if p.exists()]
            known = (file, *times, how.given)
            if known not in self._cache:
                from trainwright.api.turns import alone
                from trainwright.inference.trained import load_trained
                from trainwright.run.assemble.given import giving

                with alone(), giving(how.given and how.given.copied()):
                    found = load_trained(
                        file, trust=how.trust, device=how.device, precision=how.precision
                    )
                for note in found.notes:
                    warnings.warn(note, stacklevel=3)
                self._cache.clear()
                self._cache[known] = found
            return self._cache[known]

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r}, {self.status})"

    def _repr_html_(self) -> str:
        cells = [[name, format_number(value)] for name, value in self.metrics.items()]
        table = html_table([self.name, self.status], cells)
        return table + html_picture(self.path / "plots" / "curves.png")
