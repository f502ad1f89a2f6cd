"""Which jobs the folder of a sweep knows of, however often its command was typed."""

import pytest

from trainwright.sweep.job import Job
from trainwright.sweep.lines import read_lines
from trainwright.sweep.store import Store


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
