"""`runs report` from the command line: one run, several, a folder of runs, and what it refuses."""

import json

import pytest

from trainwright.cli.runs import main


def data_of(path):
    text = path.read_text()
    start = text.index('id="data">') + len('id="data">')
    return json.loads(text[start : text.index("</script>", start)])


@pytest.fixture
def outputs(train, tmp_path, monkeypatch):
    """Two short runs below ./outputs, which is all there is."""
    monkeypatch.chdir(tmp_path)
    for name, width in (("a-run", 4), ("b-run", 8)):
        train(tmp_path / "outputs" / "day" / name, "trainer=smoke", f"model.widths=[{width}]")
    return tmp_path


def call(*words):
    try:
        main(["report", *words])
    except SystemExit as stop:
        return stop.code
    return 0


def files_of(folder):
    return {p: p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_one_run_several_and_a_folder(outputs, capsys):
    before = files_of(outputs / "outputs")
    assert call("a-run") == 0
    assert capsys.readouterr().out == "report-a-run.html\n"
    (told,) = data_of(outputs / "report-a-run.html")["runs"]
    summary = json.loads((outputs / "outputs/day/a-run/summary.json").read_text())
    assert told["test"]["accuracy"] == summary["test"]["accuracy"]
    assert told["confusion"] == summary["test"]["confusion"]
    assert told["class_names"] == [str(digit) for digit in range(10)]
    assert call("a-run", "b-run", "out=both.html") == 0
    assert data_of(outputs / "both.html")["title"] == "a-run and b-run"
    assert call("outputs/day", "out=all.html") == 0
    sweep = data_of(outputs / "all.html")["sweep"]
    assert sweep["settings"] == ["model.widths"]
    assert sorted(row["settings"]["model.widths"] for row in sweep["rows"]) == [[4], [8]]
    assert files_of(outputs / "outputs") == before


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["no-such-run"], "there is no such run"),
        (["out=x.html"], "name one RUN"),
        (["a-run", "oat=x"], "did you mean out?"),
    ],
)
def test_what_is_wrong_is_said(outputs, capsys, words, named):
    assert call(*words) == 2
    error = capsys.readouterr().err
    assert named in error
    assert len(error.strip().splitlines()) <= 5
