"""Weights & Biases: on its server, or offline in the run folder until `wandb sync` sends it."""

import json
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from trainwright.errors import ConfigError
from trainwright.hooks.loggers.logger import LoggedRun, Logger, final_scalars

if TYPE_CHECKING:
    import wandb


class WeightsAndBiases(Logger):
    """One W&B run for each run; a resumed run goes on in it, by the id that the folder keeps.

    W&B takes no second value for a step, so steps that a resumed run makes again keep their first.
    """

    name: ClassVar[str] = "wandb"
    _run: "wandb.Run"  # from `start` on

    def __init__(
        self,
        *,
        project: str = "trainwright",
        entity: str | None = None,
        group: str | None = None,
        tags: tuple[str, ...] = (),
        mode: Literal["online", "offline"] = "online",
    ) -> None:
        self._project, self._entity, self._group = project, entity, group
        self._tags = tags
        self._mode = mode

    def check(self) -> None:
        """Raise ConfigError where the package is missing, or nobody is logged in for `online`."""
        super().check()
        import wandb

        # wandb would ask on the terminal, in the middle of the run.
        if self._mode == "online" and not wandb.login(prompt=False, verify=False):
            raise ConfigError(
                "logger=wandb: not logged in to Weights & Biases\n"
                "  run `wandb login` once, or set WANDB_API_KEY\n"
                "  or keep it on this machine for now: logger.wandb.mode=offline"
            )

    def start(self, run: LoggedRun) -> None:
        """Open the run, under its old id where it is resumed."""
        import wandb

        known = run.recall(self.name)
        identity = known or secrets.token_hex(4)
        run.remember(self.name, identity)
        self._run = wandb.init(
            id=identity,
            # Offline nothing can be asked for; `wandb sync` appends to the run of that id.
            resume="allow" if known and self._mode == "online" else None,
            name=run.name,
            project=self._project,
            entity=self._entity,
            group=self._group,
            tags=list(self._tags) or None,
            mode=self._mode,
            dir=run.folder,
            config=json.loads(json.dumps(dict(run.config))),
            settings=wandb.Settings(silent=True, console="off", x_disable_stats=True),
        )

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        self._run.log(dict(values), step=step)

    def image(self, step: int, name: str, path: Path) -> None:
        import wandb

        self._run.log({name: wandb.Image(str(path))}, step=step)

    def finish(self, summary: Mapping[str, Any]) -> None:
        """Write the final numbers into W&B's summary and close the run."""
        self._run.summary.update({**final_scalars(summary), "status": summary.get("status")})
        self._run.finish(exit_code=1 if summary.get("status") == "failed" else 0)
