"""Which jobs the folder of a sweep knows of, however often its command was typed."""

import json
import os
import re
import time

import pytest

from trainwright.errors import ConfigError, DiskError
from trainwright.runs.stored import read_lines
from trainwright.sweep.job import Job, short
from trainwright.sweep.store import Store
from trainwright.sweep.verdict.ranking import Ranked
from trainwright.sweep.verdict.report import report
from trainwright.sweep.verdict.verdict import judge_sweep
from trainwright.sweep.workers.attempt import work
from trainwright.sweep.workers.tasks import death, job_task


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path / "sweep")
    store.prepare()
    return store


def job(job_id, **point):
    return Job(job_id, 0, "run", point, (), {})


def ids(store):
    return [line.id for line in store.jobs()]


def test_a_job_is_known_once_however_often_it_is_planned(store):
    for seeds in ("01", "012", "1"):
        store.add([job(f"id{seed}", seed=seed) for seed in seeds])
    assert ids(store) == ["id0", "id1", "id2"]
    assert len(list(read_lines(store.inner / "jobs.jsonl"))) == 3


def test_what_was_planned_before_a_config_file_changed_makes_room(store):
    """Otherwise each seed would count twice, once with the old config."""
    store.add([job("old0", lr="1", seed="0"), job("old1", lr="1", seed="1")])
    store.add([job("new0", lr="1", seed="0"), job("new2", lr="1", seed="2")])
    assert ids(store) == ["new0", "old1", "new2"]
    store.add([job("old0", lr="1", seed="0")])  # the file was changed back
    assert ids(store) == ["old0", "old1", "new2"]


def test_a_job_that_comes_with_another_key_is_at_one_point(store):
    """`lr=1,2` and then `lr=1,2 depth=3,4` where 3 is the default."""
    store.add([job("a", lr="1"), job("b", lr="2")])
    store.add([job("a", lr="1", depth="3"), job("c", lr="1", depth="4")])
    assert {line.id: line.point for line in store.jobs()} == {
        "a": {"lr": "1", "depth": "3"},
        "b": {"lr": "2"},
        "c": {"lr": "1", "depth": "4"},
    }


@pytest.mark.parametrize("content", ["", '{"status": "fini', "\0" * 40])
def test_a_job_whose_state_is_damaged_is_to_be_done(content, store):
    """Nothing is lost: the job looks into its run folder, and sees if there is nothing to do."""
    (store.states / "a.json").write_text(content)
    assert store.state("a") == {"status": "planned"}


def test_long_whole_numbers_are_shown_in_full():
    """Two such seeds were both shown as 2.026e+09, also in the list of failures."""
    shown = ["0.00031622776601683794", "2026112200", "-123456789", "a/long/path", "1e-05"]
    assert list(map(short, shown)) == ["0.0003162", "2026112200", "-123456789", "a/long/path",
                                       "1e-05"]  # fmt: skip


def test_a_sweep_in_a_folder_that_may_only_be_read_is_judged_all_the_same(store, capsys):
    """Also by who may do everything: what is a folder can neither be replaced nor locked."""
    store.add([job("a", lr="1"), job("b", lr="2")])
    store.write_plan({"command": "train -m lr=1,2", "ranked": None})
    ended = {"objective": "loss", "higher_is_better": False, "folder": "run-a"}
    ended |= {"status": "finished", "seconds": 1.0, "best": {"metrics": {"loss": 0.25}}}
    store.write_state("a", ended)
    store.write_state("b", {"status": "running", "seconds": 1.0, "folder": "run-b"})
    store.lock("b").mkdir()
    (store.path / "sweep.csv").mkdir()
    with pytest.raises(DiskError, match=r"sweep\.csv"):
        report(store)
    out = capsys.readouterr().out
    assert re.search(r"^1  1 +0\.25 +1\.0 s +finished\n2  2 +- +1\.0 s +running$", out, re.M)
    assert "again: train" in out


def test_while_nothing_has_ended_the_objective_is_what_the_runs_say(store):
    """Without a rehearsal it was taken to be the loss."""
    store.add([job("a", lr="1")])
    store.write_plan({"command": "train -m lr=1,2", "ranked": None})
    store.write_state("a", {"status": "stopped", "seconds": 1.0, "folder": "run-a"})
    assert judge_sweep(store).ranking == (Ranked("validation/loss", False),)
    (store.path / "run-a").mkdir()
    summary = {"objective": "accuracy", "higher_is_better": True}
    (store.path / "run-a" / "summary.json").write_text(json.dumps(summary))
    (store.path / "run-a" / "metrics.jsonl").write_text('{"step": 1, "validation/accuracy": 0.5}')
    verdict = judge_sweep(store)
    assert verdict.ranking == (Ranked("validation/accuracy", True),)
    assert verdict.settings[0].mean() == 0.5


def test_the_time_of_an_attempt_that_was_killed_counts_too(store):
    """Whether the sweep noted its death or was killed with it, and the next attempt finds it."""
    planned = Job("a", 0, "run", {"lr": "1"}, (), {"trainer": {"threads": 1}})
    store.add([planned])
    before = {"status": "running", "seconds": 2.0, "attempts": 2}
    store.write_state("a", {**before, "since": time.time() - 100})
    died = {"status": "failed", "error": death(-9), "code": 1}
    noted = store.note(planned, **died)
    assert 102 <= noted["seconds"] < 160
    assert store.note(planned, **died)["seconds"] == noted["seconds"]  # once

    store.write_state("a", {**before, "since": 1000.0, "folder": "run"})
    folder = store.folder(planned)
    folder.mkdir()
    (folder / "metrics.jsonl").write_text("")
    os.utime(folder / "metrics.jsonl", (1030.0, 1030.0))  # the last that was heard of it
    (folder / "summary.json").write_text('{"status": "finished"}')
    assert work(job_task(planned, store, threads=1, pruning=None)) == 0
    ended = store.state("a")
    assert (ended["status"], ended["attempts"]) == ("finished", 3)
    assert 32 <= ended["seconds"] < 92


@pytest.mark.parametrize("junk", ["[" * 100_000, "[]", "\0", '{"status": 1' + "0" * 5000])
def test_junk_in_the_files_of_a_sweep_is_left_out(junk, store):
    for path in ("jobs/x.json", "jobs.jsonl", "plan.json"):
        (store.inner / path).write_text(junk)
    assert store.state("x") == {"status": "planned"}
    with pytest.raises(ConfigError, match="is not the folder of a sweep"):
        store.plan()
    (store.inner / "jobs.jsonl").write_text(f'{junk}\n{{"id": 1}}\n')
    assert store.jobs() == []
    store.add([job("a", seed="1")])
    assert ids(store) == ["a"]
