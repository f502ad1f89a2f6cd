"""MLflow: a tracking server, a folder, or a local database."""

import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from trainwright.hooks.loggers.logger import LoggedRun, Logger, final_scalars, flat

if TYPE_CHECKING:
    from mlflow import MlflowClient

MAX_VALUE = 6000  # characters of a parameter's value that MLflow stores
MAX_PARAMS = 100  # that it takes in one call
STATUSES = {"finished": "FINISHED", "stopped": "KILLED", "running": "RUNNING"}


class MLflow(Logger):
    """One MLflow run for each run; a resumed run goes on in it, by the id that the folder keeps."""

    name: ClassVar[str] = "mlflow"
    _client: "MlflowClient"  # from `start` on
    _id: str

    def __init__(self, *, experiment: str = "trainwright", tracking_uri: str | None = None) -> None:
        self._experiment = experiment
        self._tracking_uri = tracking_uri

    def start(self, run: LoggedRun) -> None:
        """Open the run, or the old one where it is resumed; the config becomes its parameters."""
        from mlflow import MlflowClient

        self._client = MlflowClient(self._tracking_uri)
        known = run.recall(self.name)
        if known is not None:
            self._id = known
            self._client.update_run(known, status="RUNNING")
            return
        tags = {"mlflow.source.name": "trainwright", "trainwright.folder": str(run.folder)}
        created = self._client.create_run(self._experiment_id(), run_name=run.name, tags=tags)
        self._id = created.info.run_id
        run.remember(self.name, self._id)
        self._log_config(run.config)

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        metrics = [Metric(metric_name(name), value, now, step) for name, value in values.items()]
        self._client.log_batch(self._id, metrics=metrics)

    def image(self, step: int, name: str, path: Path) -> None:
        """Send a picture, as an artifact."""
        self._client.log_artifact(self._id, str(path), name)

    def finish(self, summary: Mapping[str, Any]) -> None:
        final = final_scalars(summary)
        self.scalars(int(final.pop("step", 0)), final)
        self._client.log_dict(self._id, dict(summary), "summary.json")
        status = STATUSES.get(str(summary.get("status")), "FAILED")
        self._client.set_terminated(self._id, status)

    def _log_config(self, config: Mapping[str, Any]) -> None:
        from mlflow.entities import Param

        params = [Param(key, str(value)[:MAX_VALUE]) for key, value in flat(config).items()]
        for start in range(0, len(params), MAX_PARAMS):
            self._client.log_batch(self._id, params=params[start : start + MAX_PARAMS])

    def _experiment_id(self) -> str:
        found = self._client.get_experiment_by_name(self._experiment)
        if found is not None:
            return str(found.experiment_id)
        return str(self._client.create_experiment(self._experiment))


def metric_name(name: str) -> str:
    """A metric's name as MLflow takes it, which refuses all of a step for one `class_share/C++`."""
    return re.sub(r"[^\w/.\- :]", "_", name)
