"""Searching: stopped and gone on with, it is the search that was not; several share a study."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from trainwright.errors import ConfigError
from trainwright.sweep.identity import digest
from trainwright.sweep.job import Job
from trainwright.sweep.points.axes import Axis, Interval, Swept
from trainwright.sweep.settings import SweepSettings
from trainwright.sweep.store import Store
from trainwright.sweep.verdict.ranking import Ranked

pytest.importorskip("optuna", reason="the extra `sweep` is not installed")
from trainwright.sweep.schedule.search import Search, open_study

RATE = Axis("rate", interval=Interval(1e-4, 1.0, log=True))
KIND = Axis("kind", values=("a", "b"))
SEEDS = Axis("seed", values=("0", "1"))


def job(number, point, trial):
    return Job(digest(point), number, "run", point, (), {}, trial)


def end(source, job, values):
    """Let the run of a job end that has logged these values."""
    row = {"step": 1} | {f"validation/{i}": value for i, value in enumerate(values)}
    folder = source._store.folder(job)
    folder.mkdir(exist_ok=True)
    (folder / "metrics.jsonl").write_text(json.dumps(row))
    source.ended(job, {"status": "finished", "folder": folder.name})


def search(folder, num_trials, *, axes=(RATE, KIND), storage=None, sampler="tpe", higher=(True,)):
    store = Store(folder)
    store.prepare()
    settings = SweepSettings(kind="optuna", trials=num_trials, sampler=sampler, storage=storage)
    ranking = tuple(Ranked(f"validation/{i}", up) for i, up in enumerate(higher))
    return Search(Swept((), axes), store, settings, ranking, job, several_at_once=False)


def worth(point):
    return -abs(float(point["rate"]) - 0.01) - (point["kind"] == "b") + float(point.get("seed", 0))


def only_worth(point):
    return (worth(point),)


def run(source, at_most=100, worths=only_worth):
    points = []
    while len(points) < at_most and (found := source.next()) is not None:
        points.append(found.point)
        end(source, found, worths(found.point))
    return points


@pytest.mark.parametrize(
    "sampler", ["tpe", "random", "cmaes", pytest.param("gp", marks=pytest.mark.slow)]
)
def test_a_search_that_was_stopped_is_the_search_that_was_not(tmp_path, sampler):
    whole = run(search(tmp_path / "whole", 14, sampler=sampler))
    parts = tmp_path / "parts"
    first = run(search(parts, 14, sampler=sampler), at_most=12)
    interrupted = search(parts, 14, sampler=sampler).next()  # asked for, never told
    rest = run(search(parts, 14, sampler=sampler))
    assert rest[0] == interrupted.point
    assert first + rest == whole
    assert run(search(parts, 14, sampler=sampler)) == []


def test_a_search_goes_on_with_its_trials_where_its_folder_was_moved(tmp_path):
    (tmp_path / "before").mkdir()
    begun = search(tmp_path / "before" / "sweep", 3).next()
    (tmp_path / "before").rename(tmp_path / "after")
    points = run(search(tmp_path / "after" / "sweep", 3))
    assert points[0] == begun.point
    assert len(points) == 3


def test_a_setting_counts_by_its_mean_over_seeds_and_a_failed_one_does_not(tmp_path):
    source = search(tmp_path, 2, axes=(RATE, KIND, SEEDS))
    assert source.total == 4
    jobs = [source.next() for _ in range(2)]
    assert [found.point["seed"] for found in jobs] == ["0", "1"]
    for found, value in zip(jobs, (0.25, 0.75), strict=True):
        end(source, found, (value,))
    for _ in range(2):
        source.ended(source.next(), {"status": "failed"})
    assert source.next() is None
    study = open_study(Store(tmp_path), None, higher_is_better=[True])
    assert [(t.state.name, t.value) for t in study.trials] == [("COMPLETE", 0.5), ("FAIL", None)]


def test_it_finds_the_better_half(tmp_path):
    points = run(search(tmp_path, 30))
    assert max(map(worth, points)) > -0.01
    assert sum(point["kind"] == "a" for point in points[15:]) > 10


@pytest.mark.parametrize("sampler", ["tpe", pytest.param("gp", marks=pytest.mark.slow)])
def test_a_search_by_several_metrics_finds_their_front(tmp_path, sampler):
    """Schaffer's function (1985): x² and (x - 2)² are best between 0 and 2, and nowhere else."""
    axis = Axis("x", interval=Interval(-20.0, 20.0, log=False))

    def schaffer(point):
        x = float(point["x"])
        return x**2, (x - 2) ** 2

    source = search(tmp_path, 40, axes=(axis,), sampler=sampler, higher=(False, False))
    points = run(source, worths=schaffer)
    study = open_study(Store(tmp_path), None, higher_is_better=[False, False])
    assert [trial.values for trial in study.trials] == [[*schaffer(point)] for point in points]
    near = [-1 <= float(point["x"]) <= 3 for point in points]
    assert sum(near[20:]) >= 6  # of a tenth of the range; of twenty at random two would be there


@pytest.mark.slow
def test_several_processes_share_one_study(tmp_path):
    """In a database, from one folder: twelve trials in all, every one of them told once."""
    storage = f"sqlite:///{tmp_path / 'study.db'}"
    folder = tmp_path / "sweep"
    search(folder, 0, storage=storage)  # the tables are there before all come at once
    command = [sys.executable, __file__, folder, storage]
    processes = [subprocess.Popen(command) for _ in range(2)]
    assert [process.wait() for process in processes] == [0, 0]
    study = open_study(Store(folder), storage, higher_is_better=[True])
    assert [trial.state.name for trial in study.trials] == ["COMPLETE"] * 12


def test_a_database_that_cannot_be_used_is_a_mistake(tmp_path):
    with pytest.raises(ConfigError, match=r"sweep\.storage=nonsense"):
        search(tmp_path, 1, storage="nonsense")


if __name__ == "__main__":  # one of the processes that share a study
    run(search(Path(sys.argv[1]), 12, storage=sys.argv[2]))
