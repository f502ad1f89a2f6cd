"""Sweeps from Python: planned, run and compared as `train -m` does; its table and its verdict."""

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainwright.api.failures import as_told, refuse_flags
from trainwright.api.results.history import Columns
from trainwright.api.results.notebook import html_text
from trainwright.api.run import Run
from trainwright.files import typed_path
from trainwright.runs.find import DEFAULT_ROOT
from trainwright.sweep.store import Store

if TYPE_CHECKING:
    from trainwright.sweep.verdict.verdict import Row, Verdict

PRINTED = 12  # digits of a value that was typed


class Sweep:
    """A sweep and its folder, which is read whenever something is asked for, also while it runs."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    @property
    def table(self) -> Columns:
        """A row a setting, from best to worst: its values, the metric's mean and sd over seeds.

        Or over folds, where these were repeated: the column that counts them says which.
        """
        with as_told():
            found = self._judged
            rows = []
            for setting in found.settings:
                row: dict[str, Any] = {key: _value(text) for key, text in setting.point.items()}
                for index, ranked in enumerate(found.ranking):
                    row[ranked.metric] = setting.mean(index)
                    row[f"{ranked.metric} sd"] = setting.sd(index)
                row[f"{found.repeated}s"] = len(setting.counted)
                row["seconds"] = setting.seconds
                row["status"] = ", ".join(dict.fromkeys(row.status for row in setting.rows))
                rows.append(row)
            return Columns(rows)

    @property
    def runs(self) -> list[Run]:
        """The runs of all jobs that have begun, from the best setting to the worst."""
        with as_told():
            return [self._run(row) for row in self._judged.rows if "folder" in row.state]

    @property
    def best(self) -> Run:
        """The best run of the best setting. Raises ConfigError while none has a value."""
        from trainwright.errors import ConfigError

        with as_told():
            bests = self._judged.bests
            if not bests:
                raise ConfigError(f"{self.path}: no job has a value yet")
            return self._run(bests[0].row)

    @property
    def verdict(self) -> str:
        """Which setting won, whether by more than luck, and the command that runs it again."""
        from trainwright.sweep.verdict.report import conclusion

        with as_told():
            return "\n".join(conclusion(self._judged, Store(self.path))).strip()

    @property
    def _judged(self) -> "Verdict":
        from trainwright.sweep.verdict.verdict import judge_sweep

        return judge_sweep(Store(self.path))

    def _run(self, row: "Row") -> Run:
        return Run(Store(self.path).run_folder(row.state))

    def __repr__(self) -> str:
        return f"Sweep({str(self.path)!r})"

    def _repr_html_(self) -> str:
        from trainwright.sweep.verdict.report import table

        with as_told():
            return html_text([*table(self._judged), "", *self.verdict.splitlines()])


def sweep(*words: str) -> Sweep:
    """Sweep as `train -m` does with these words, such as "optimizer.lr=1e-3,3e-4" and "seed=0,1".

    Jobs that fail do not end it: `sweep.table` says what has become of each. Ctrl-C lets running
    jobs save, and returns the sweep, which goes on when it is called again. Raises ConfigError for
    what is refused before any job begins.
    """
    from trainwright.api.training import find_own_modules
    from trainwright.cli.terminal.arguments import in_order
    from trainwright.config.compose import hydra_ready, register_schema

    with as_told(words):
        refuse_flags(words)
        find_own_modules()
        register_schema()
        from hydra._internal.callbacks import Callbacks
        from hydra.core.global_hydra import GlobalHydra
        from hydra.types import HydraContext, RunMode

        from trainwright.sweep.conduct import Conductor

        typed = [word for word in in_order([*words, "-m"]) if word != "-m"]
        with hydra_ready():
            hydra = GlobalHydra.instance().hydra
            assert hydra is not None
            master = hydra.compose_config(
                "train", typed, RunMode.MULTIRUN, with_log_configuration=False, from_shell=False
            )
            context = HydraContext(hydra.config_loader, callbacks=Callbacks())
            conductor = Conductor(context, _no_job, master, list(master.hydra.overrides.task))
        conductor.conduct()
        assert conductor.store is not None
        return Sweep(conductor.store.path)


def load_sweep(sweep: str | Path = "last", *, root: str | Path = DEFAULT_ROOT) -> Sweep:
    """The sweep that is meant: its folder, a piece of its name, or `last`. Raises ConfigError."""
    from trainwright.cli.commands.inspect.sweep import find_sweep

    with as_told():
        return Sweep(find_sweep(str(sweep), typed_path(str(root))).path)


def _no_job(config: Any) -> None:
    """What jobs are for launchers of Hydra's; ours have processes of their own."""


def _value(text: str) -> Any:
    """A value that was typed, as a number where it is one."""
    with contextlib.suppress(ValueError):
        return float(text)
    return text
