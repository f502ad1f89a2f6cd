"""`runs show`, `diff` and `clean`: what is there, what differs, and what is to go."""

import io
import json
import re
import shutil
import sys
from datetime import UTC, datetime, timedelta

import pytest

from trainwright.cli.runs import main
from trainwright.cli.terminal.sparkline import sparkline
from trainwright.runs.lock import RunLock


def test_show_tells_of_a_real_run(call, real_root):
    code, out, _ = call("show", "mlp", f"--root={real_root}")
    assert code == 0
    assert "finished, 2 steps in" in out
    assert "optimizer.lr: 0.01" in out
    assert "model.widths: [16]" in out
    assert "validation/accuracy" in out
    assert "checkpoints/best.safetensors" in out
    plain = json.loads(call("show", "mlp", "--json", f"--root={real_root}")[1])
    folder = next(real_root.glob("*/*mlp*"))
    assert plain["summary"] == json.loads((folder / "summary.json").read_text())
    age = datetime.now(UTC) - datetime.fromisoformat(plain["summary"]["started"])
    assert timedelta() < age < timedelta(hours=1)  # and not what its name says
    assert plain["files"]["summary.json"] == (folder / "summary.json").stat().st_size
    assert plain["config"]["model"]["widths"] == [16]


def test_metrics_stand_side_by_side_with_their_standard_errors(call, tmp_path, write_run):
    best = {"step": 800, "metrics": {"frechet": 1.2345, "frechet_error": 0.0789, "loss": 0.5}}
    last = {"step": 1000, "metrics": {"loss": 0.25}}
    write_run(tmp_path / "a", best=best, last=last, test={"frechet": 2.0, "frechet_error": 0.1})
    write_run(tmp_path / "b", best={"step": 1, "metrics": {"frechet": 1.0}}, last=None)
    table = call("show", "a", f"--root={tmp_path}")[1].split("\n\n")[1]
    assert [re.split(r"\s{2,}", line.strip()) for line in table.splitlines()] == [
        ["metrics", "BEST, STEP 800", "LAST, STEP 1,000", "TEST"],
        ["frechet", "1.234 ± 0.079", "2.00 ± 0.10"],
        ["loss", "0.5", "0.25"],
    ]
    out = call("diff", "a", "b", f"--root={tmp_path}")[1]
    assert re.search(r"validation/frechet +1.234 ± 0.079 +1 +-0.2345\n", out)
    assert "frechet_error" not in out


def test_the_folder_that_one_stands_in_has_a_name(call, tmp_path, write_run, monkeypatch):
    write_run(tmp_path / "mine")
    monkeypatch.chdir(tmp_path / "mine")
    assert call("show", ".")[1].startswith("mine\n")


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ([0, 1, 2, 3, 4, 5, 6, 7], "▁▂▃▄▅▆▇█"),
        ([7, 0], "█▁"),
        ([2, 2, 2], "▄▄▄"),
        ([0, float("nan"), 7], "▁ █"),
        ([], ""),
        ([0, 0, 7, 7], "▁█"),
    ],
)
def test_sparklines(values, line):
    assert sparkline(values, width=8 if len(values) != 4 else 2) == line


@pytest.mark.parametrize("name", ["summary.json", "config.yaml", "metrics.jsonl"])
@pytest.mark.parametrize("content", [b"", b"[" * 400_000, b'{"a": 2020-01-01}', b"\xff\x00", None])
def test_a_damaged_run_is_shown_as_far_as_it_can_be_read(name, content, call, tmp_path, write_run):
    folder = tmp_path / "run"
    write_run(folder, accuracy=0.5)
    (folder / "checkpoints").mkdir()
    (folder / name).unlink(missing_ok=True)
    if content is not None:
        (folder / name).write_bytes(content)
    for form in ([], ["--json"]):
        code, out, err = call("show", folder, *form)
        assert (code, err) == (0, "")
        assert out
    if name == "summary.json" and content is not None:
        assert "summary.json" in call("show", folder)[1].split("folder")[1].split("config")[0]


def test_an_old_terminal_gets_digits_for_blocks(call, real_root, monkeypatch):
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", stream)
    with pytest.raises(SystemExit, match="0"):
        main(["show", "mlp", f"--root={real_root}"])
    stream.flush()
    assert b"train/loss" in stream.buffer.getvalue()


def test_diff_names_keys_metrics_and_code_that_differ(call, tmp_path, write_run):
    write_run(tmp_path / "a", lr=1e-3, accuracy=0.9, versions={"torch": "2.12", "python": "3.11"})
    write_run(tmp_path / "b", lr=1e-2, accuracy=0.95, versions={"torch": "2.13", "python": "3.11"})
    code, out, _ = call("diff", "a", "b", "--json", f"--root={tmp_path}")
    found = json.loads(out)
    assert code == 0
    assert found["config"] == {"optimizer.lr": [0.001, 0.01]}
    assert found["surroundings"] == {"version/torch": ["2.12", "2.13"]}
    assert found["metrics"]["validation/accuracy"] == [0.9, 0.95]
    text = call("diff", "a", "b", f"--root={tmp_path}")[1]
    assert [line.split() for line in text.splitlines() if line.startswith("optimizer.lr")] == [
        ["optimizer.lr", "0.001", "0.01"]
    ]
    assert "+0.05" in text
    same = call("diff", "a", "a", f"--root={tmp_path}")[1]
    assert "config: no difference" in same


def test_diff_tells_a_key_that_a_run_has_not_from_any_value(call, tmp_path, write_run):
    for name in ("a", "b"):
        write_run(tmp_path / name)
    with (tmp_path / "b" / "config.yaml").open("a") as file:
        file.write("run:\n  note: '-'\n  nothing: null\n")
    found = json.loads(call("diff", "a", "b", "--json", f"--root={tmp_path}")[1])
    assert found["config"] == {"run.note": [None, "-"], "run.nothing": [None, None]}
    text = call("diff", "a", "b", f"--root={tmp_path}")[1]
    assert [line.split() for line in text.splitlines() if line.startswith("run.")] == [
        ["run.note", "-", "-"], ["run.nothing", "-", "null"],
    ]  # fmt: skip


@pytest.fixture
def root(tmp_path, write_run):
    """Runs worth keeping, two that left nothing, one that is running."""
    day = tmp_path / "outputs" / "2026-01-02"
    write_run(day / "1-good", accuracy=0.9)
    write_run(day / "2-failed-early", status="failed", step=None)
    write_run(day / "3-failed-late", status="failed", step=500)
    write_run(tmp_path / "outputs" / "2026-01-03" / "4-stopped-early", status="stopped", step=None)
    write_run(day / "5-running", status="running", step=None)
    write_run(day / "7-killed-early", status="running", step=None)
    write_run(day / "6-failed-saved", status="failed", step=None)
    (day / "6-failed-saved" / "checkpoints").mkdir()
    (day / "6-failed-saved" / "checkpoints" / "last.safetensors").write_bytes(b"x")
    with RunLock(day / "5-running").acquire():
        yield tmp_path / "outputs"


def runs_of(root):
    return sorted(path.parent.name for path in root.rglob("summary.json"))


def test_clean_lists_runs_that_left_nothing_and_deletes_with_yes_alone(call, root):
    before = runs_of(root)
    code, out, _ = call("clean", f"--root={root}")
    assert code == 0
    assert "would free 3 runs" in out
    assert "nothing is deleted without --yes" in out
    assert runs_of(root) == before
    code, out, _ = call("clean", "--yes", f"--root={root}")
    assert code == 0
    assert "deleted 3 runs" in out
    assert runs_of(root) == ["1-good", "3-failed-late", "5-running", "6-failed-saved"]
    assert not (root / "2026-01-03").exists()  # it was empty
    assert "nothing to clean" in call("clean", "--yes", f"--root={root}")[1]


@pytest.mark.parametrize(
    ("answer", "deleted"), [("y", True), ("yes", True), ("n", False), ("", False)]
)
def test_clean_asks_on_a_terminal(answer, deleted, call, root, monkeypatch):
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda question: answer)
    call("clean", f"--root={root}")
    assert ("2-failed-early" not in runs_of(root)) == deleted


def test_clean_by_filter_never_touches_a_running_run(call, root):
    code, out, _ = call("clean", "status!=finished", "--yes", f"--root={root}")
    assert code == 0
    assert "1 running and left alone" in out
    assert runs_of(root) == ["1-good", "5-running"]


def test_clean_follows_no_link_and_stays_within_the_root(call, root, tmp_path, write_run):
    outside = tmp_path / "outside"
    write_run(outside / "run", status="failed", step=None)
    (outside / "dear.txt").write_text("keep")
    (root / "linked").symlink_to(outside / "run", target_is_directory=True)
    (root / "2026-01-02" / "2-failed-early" / "link").symlink_to(outside, target_is_directory=True)
    assert call("clean", "status=failed,stopped", "--yes", f"--root={root}")[0] == 0
    assert (outside / "dear.txt").read_text() == "keep"
    assert (outside / "run" / "summary.json").exists()
    assert "2-failed-early" not in runs_of(root)


def test_a_run_that_is_resumed_while_it_is_asked_about_is_left_alone(call, root, monkeypatch):
    locks = []

    def resume_and_agree(question):
        locks.append(RunLock(root / "2026-01-02" / "2-failed-early").acquire())
        return "y"

    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", resume_and_agree)
    code, out, _ = call("clean", f"--root={root}")
    locks[0].release()
    assert code == 0
    assert "left alone" in out
    assert "deleted 2 runs" in out
    assert "2-failed-early" in runs_of(root)
    assert "7-killed-early" not in runs_of(root)


def test_clean_refuses_a_filter_that_means_nothing(call, root):
    before = runs_of(root)
    code, _, err = call("clean", "statsu=failed", "--yes", f"--root={root}")
    assert code == 2
    assert "did you mean status?" in err
    assert call("clean", "failed", "--yes", f"--root={root}")[0] == 2
    code, _, err = call("clean", "age>30", "--yes", f"--root={root}")  # seconds, or days?
    assert code == 2
    assert "age: '30' must be a time such as 30m, 12h or 2d" in err
    for word in ("status!=finishd", "status=failed,finishd"):  # the first holds for every run
        code, _, err = call("clean", word, "--yes", f"--root={root}")
        assert code == 2
        assert "status=finishd: there is no such status; did you mean finished?" in err
    assert runs_of(root) == before
    assert call("clean", "status=kill*,unknown", f"--root={root}")[0] == 0


@pytest.mark.parametrize("filters", [[], ["status=unknown"], ["model!=mlp"]], ids=" ".join)
def test_clean_leaves_alone_what_another_program_has_written(filters, call, root):
    """A report of tests, say, in a project that is given as --root."""
    theirs = root.parent / "coverage"
    theirs.mkdir()
    (theirs / "summary.json").write_text('{"total": 93}')
    (theirs / "thesis.txt").write_text("keep")
    code, out, _ = call("clean", *filters, "--yes", f"--root={root.parent}")
    assert code == 0
    assert "1 left alone that may not be runs: coverage has no run's config" in out
    assert (theirs / "thesis.txt").read_text() == "keep"


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("model!=mpl", "; did you mean mlp?"),
        ("model!=mlp,cnn", ""),
        ("model!==mlp", "; did you mean mlp?"),
        ("name!=", ""),
        ("model.widths!=[512]", "; did you mean [512, 256]?"),
        ("seed!=zero", ""),
    ],
)
def test_clean_refuses_to_spare_what_is_not_there(word, meant, call, root):
    """Each of these would hold for every run."""
    before = runs_of(root)
    code, _, err = call("clean", word, "--yes", f"--root={root}")
    assert code == 2
    assert f"no run has that value{meant}\n" in err
    assert runs_of(root) == before
    assert call("clean", "model!=mlp", "status!=pruned", "--yes", f"--root={root}")[0] == 0
    assert runs_of(root) == before


def test_a_root_that_is_itself_a_run_is_not_deleted(call, root):
    folder = root / "2026-01-02" / "2-failed-early"
    assert "nothing to clean" in call("clean", "--yes", f"--root={folder}")[1]
    assert folder.exists()


def test_a_folder_that_cannot_be_deleted_ends_with_6_when_all_others_are(call, root):
    """Also by who may do everything: a lock that is no file cannot be had."""
    (root / "2026-01-02" / "2-failed-early" / ".lock").mkdir()
    code, out, err = call("clean", "--yes", f"--root={root}")
    assert code == 6
    assert "deleted 2 runs" in out
    assert "cannot write to the run folder" in err
    assert "go on" not in err
    assert runs_of(root) == ["1-good", "2-failed-early", "3-failed-late", "5-running",
                             "6-failed-saved"]  # fmt: skip


def test_every_command_that_only_reads_leaves_the_folder_as_it_is(call, real_root, tmp_path):
    folder = tmp_path / "copied"
    shutil.copytree(next(real_root.glob("*/*mlp*")), folder)
    before = {p: (p.stat().st_mtime_ns, p.stat().st_size) for p in folder.rglob("*")}
    for words in (["show", folder], ["diff", folder, folder], ["list", f"--root={tmp_path}"]):
        assert call(*words)[0] == 0
    assert {p: (p.stat().st_mtime_ns, p.stat().st_size) for p in folder.rglob("*")} == before
