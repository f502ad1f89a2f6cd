"""A folder that someone has filled with junk is a row of a listing, and breaks no other."""

import json

import pytest
import yaml

from trainwright.cli.runs import main

SUMMARY = {
    "status": "finished", "name": "mlp-digits", "started": "2026-11-22T10:00:00+00:00",
    "objective": "accuracy", "higher_is_better": True, "parameters": {"model": 100},
    "steps": 200, "step": 200, "seconds": 1.5, "best": {"step": 9, "metrics": {"accuracy": 0.9}},
    "last": {"step": 9, "metrics": {"accuracy": 0.8}}, "test": {"accuracy": 0.7},
}  # fmt: skip
CONFIG = {"model": {"widths": [8]}, "trainer": {"steps": 200}, "optimizer": {"lr": 0.1}}
TEXT = yaml.safe_dump(CONFIG)
COMMANDS = (
    ["list"], ["list", "trainer.steps=200"], ["list", "trainer.steps>100"],
    ["list", "--sort=trainer.steps"], ["list", "--sort=-accuracy"], ["list", "--json"],
    ["list", "--csv"], ["list", "age<99999d"], ["list", "optimizer.lr!=0.2"],
    ["list", "--columns=model.widths,test/accuracy", "steps>=1"], ["list", "--sort=age"],
)  # fmt: skip
IN_SUMMARY = {
    "a number of 400 digits": 10**400,
    "infinity": float("inf"),
    "no number": float("nan"),
    "a list": [[]],
    "an object": {"metrics": {"accuracy": 10**400}},
    "half a pair of letters": "\ud800",
    "the first year": "0001-01-01T00:00:00+23:59",
    "the last year": "9999-12-31T23:59:59-23:59",
}
IN_CONFIG = {
    "a number in base sixty": "1" + ":59" * 200_000,
    "a number of 400 digits": "1" * 400,
    "a date": "2001-01-01",
    "bytes": "!!binary aGVsbG8=",
    "a set": "!!set {a, b}",
    "no number": ".nan",
    "infinity": "-.inf",
    "an object of Python": "!!python/object:os.system x",
    "a list of itself": "&a [*a]",
}


def write_run(folder, *, summary=SUMMARY, config=TEXT):
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "summary.json").write_text(json.dumps(summary))
    (folder / "config.yaml").write_text(config)


def list_all(root, capsys):
    for words in COMMANDS:
        with pytest.raises(SystemExit) as ended:
            main([*words, f"--root={root}"])
        assert ended.value.code == 0
        out, err = capsys.readouterr()
        assert "good" in out, words
        assert err == ""


def set_in(place, value):
    summary = json.loads(json.dumps(SUMMARY))
    *path, last = place.split("/")
    node = summary
    for key in path:
        node = node[key]
    node[last] = value
    return summary


@pytest.mark.parametrize("junk", IN_SUMMARY)
def test_junk_in_a_summary_breaks_no_listing(junk, tmp_path, capsys):
    write_run(tmp_path / "good")
    places = [*SUMMARY, "best/step", "best/metrics", "best/metrics/accuracy", "test/accuracy"]
    for number, place in enumerate(places):
        write_run(tmp_path / f"bad-{number}", summary=set_in(place, IN_SUMMARY[junk]))
    list_all(tmp_path, capsys)


@pytest.mark.parametrize("junk", IN_CONFIG)
@pytest.mark.timeout(60)
def test_junk_in_a_config_breaks_no_listing(junk, tmp_path, capsys):
    write_run(tmp_path / "good")
    for number, value in enumerate(("200", "0.1", "[8]")):
        bad = TEXT.replace(value, IN_CONFIG[junk]).replace("\n  - 8", " " + IN_CONFIG[junk])
        write_run(tmp_path / f"bad-{number}", config=bad)
    list_all(tmp_path, capsys)
