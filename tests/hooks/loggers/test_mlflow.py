"""What MLflow's own client reads back from a local database, against the run folder."""

import json

import pytest

mlflow = pytest.importorskip("mlflow", reason="mlflow is not installed")


@pytest.fixture
def client(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    monkeypatch.chdir(tmp_path)  # where artifacts of a local database go
    return mlflow.MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")


@pytest.mark.filterwarnings("ignore")  # of MLflow's own dependencies
def test_a_stopped_and_resumed_run_is_one_run_with_all_there_is(
    interrupt, rows_of, client, tmp_path
):
    folder = interrupt(
        tmp_path / "run",
        "logger=[mlflow]",
        f"logger.mlflow.tracking_uri=sqlite:///{tmp_path}/mlflow.db",
        "logger.mlflow.experiment=mine",
    )
    experiment = client.get_experiment_by_name("mine")
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.run_id == json.loads((folder / "loggers.json").read_text())["mlflow"]
    assert run.info.status == "FINISHED"
    assert run.info.run_name == "run"
    assert run.data.params["model.latent_dim"] == "8"
    rows = rows_of(folder)
    for name in rows[-1]:
        if name != "step":
            history = client.get_metric_history(run.info.run_id, name)
            logged = sorted({(point.step, point.value) for point in history})
            assert logged == [(row["step"], row[name]) for row in rows if name in row], name
    summary = json.loads((folder / "summary.json").read_text())
    assert run.data.metrics["test/sliced_wasserstein"] == summary["test"]["sliced_wasserstein"]
    names = {file.path for file in client.list_artifacts(run.info.run_id, "samples")}
    assert names == {"samples/000004.png", "samples/000008.png"}


@pytest.mark.filterwarnings("ignore")
def test_a_server_that_is_not_there_costs_the_logger_and_not_the_run(train, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    folder = train(
        tmp_path / "run",
        "trainer=smoke",
        "logger=mlflow",
        "logger.mlflow.tracking_uri=http://127.0.0.1:9",
    ).folder
    assert json.loads((folder / "summary.json").read_text())["status"] == "finished"
    assert "logger mlflow is given up" in (folder / "train.log").read_text()


@pytest.mark.filterwarnings("ignore")
def test_two_loggers_at_once_get_the_same_numbers(train, client, tmp_path):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    folder = train(
        tmp_path / "run",
        "trainer=smoke",
        "logger=[tensorboard,mlflow]",
        f"logger.mlflow.tracking_uri=sqlite:///{tmp_path}/mlflow.db",
    ).folder
    events = accumulator.EventAccumulator(str(folder / "tensorboard")).Reload()
    experiment = client.get_experiment_by_name("trainwright")
    (run,) = client.search_runs([experiment.experiment_id])
    history = client.get_metric_history(run.info.run_id, "train/loss")
    theirs = sorted((point.step, pytest.approx(point.value)) for point in history)
    assert [(event.step, event.value) for event in events.Scalars("train/loss")] == theirs
