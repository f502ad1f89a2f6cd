"""Pictures are drawn of runs that were the best when they ended."""

import json

from trainwright.sweep.verdict.incumbent import takes_the_lead
from trainwright.sweep.verdict.ranking import Ranked

LOSS = Ranked("validation/loss", False)


def ended(folder, name, value, ranked=LOSS):
    run = folder / name
    run.mkdir(exist_ok=True)
    (run / "metrics.jsonl").write_text(json.dumps({"step": 1, ranked.metric: value}) + "\n")
    return takes_the_lead(name, run, ranked=ranked, path=folder / "leaders.jsonl")


def test_who_is_better_than_all_before_takes_the_lead(tmp_path):
    values = {"a": 3.0, "b": 4.0, "c": 2.0, "d": 2.0, "e": 2.5, "f": 1.0}
    leads = {name: ended(tmp_path, name, value) for name, value in values.items()}
    assert [name for name, lead in leads.items() if lead] == ["a", "c", "f"]


def test_a_job_that_was_interrupted_while_it_drew_still_leads(tmp_path):
    assert ended(tmp_path, "a", 3.0)
    assert ended(tmp_path, "a", 3.0)
    assert not ended(tmp_path, "b", 3.0)


def test_who_led_by_another_metric_does_not_count(tmp_path):
    assert ended(tmp_path, "a", 0.1)
    assert ended(tmp_path, "b", 9.0, Ranked("validation/mae", False))
    assert not ended(tmp_path, "c", 0.2)


def test_a_line_that_a_kill_has_torn_swallows_no_other(tmp_path):
    assert ended(tmp_path, "a", 3.0)
    with (tmp_path / "leaders.jsonl").open("a") as file:
        file.write('\n{"id": "b", "va')
    assert ended(tmp_path, "c", 2.0)
    assert not ended(tmp_path, "d", 2.5)
