"""`runs list`: the runs that are asked for, in the order that is asked for, whatever they hold."""

import csv
import io
import json
import os
import time

import pytest

from trainwright.runs.lock import RunLock


@pytest.fixture
def root(tmp_path, write_run):
    """Four runs whose numbers are known: two finished, one running, one failed."""
    day = tmp_path / "outputs" / "2026-01-02"
    write_run(day / "030405-mlp-mnist", model="mlp", data="mnist", lr=1e-3, accuracy=0.981)
    write_run(day / "030406-cnn-mnist", model="cnn", data="mnist", lr=3e-4, accuracy=0.995)
    write_run(day / "030407-mlp-digits", model="mlp", data="digits", lr=1e-1, status="failed")
    write_run(day / "030408-sweep-1" / "0-mlp-mnist", model="mlp", data="mnist", lr=1e-2,
              accuracy=0.97, status="running")  # fmt: skip
    return tmp_path / "outputs"


def names(out):
    return [row["name"].rpartition("/")[2] for row in json.loads(out)]


def test_tells_of_real_runs_what_their_folders_say(call, real_root):
    code, out, _ = call("list", "--json", f"--root={real_root}")
    assert code == 0
    gan, mlp = json.loads(out)
    assert (gan["model"], gan["data"]) == ("gan", "digits")
    assert (mlp["model"], mlp["data"]) == ("mlp", "digits")
    summary = json.loads((real_root / mlp["name"] / "summary.json").read_text())
    assert mlp["status"] == gan["status"] == "finished"
    assert mlp["best"] == summary["best"]["metrics"]["accuracy"]
    assert (mlp["step"], mlp["steps"], mlp["seconds"]) == (2, 2, summary["seconds"])


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ([], ["0-mlp-mnist", "030407-mlp-digits", "030406-cnn-mnist", "030405-mlp-mnist"]),
        (["model=cnn"], ["030406-cnn-mnist"]),
        (["model=cnn,mlp", "data=digits"], ["030407-mlp-digits"]),
        (["validation/accuracy>0.98"], ["030406-cnn-mnist", "030405-mlp-mnist"]),
        (["accuracy>=0.981", "accuracy<0.99"], ["030405-mlp-mnist"]),
        (["optimizer.lr=0.001"], ["030405-mlp-mnist"]),
        (["optimizer.lr<=1e-3"], ["030406-cnn-mnist", "030405-mlp-mnist"]),
        (["status!=finished"], ["0-mlp-mnist", "030407-mlp-digits"]),
        (["name=*sweep*"], ["0-mlp-mnist"]),
        (["optimizer.fused=null", "data=digits"], ["030407-mlp-digits"]),
        (["model=resnet"], []),
        (["model.widths=[512,256]", "data=digits"], ["030407-mlp-digits"]),
        (["model.widths=[64],[ 512, 256 ]", "data=digits"], ["030407-mlp-digits"]),
        (["model.widths!=[512,256]"], []),
        (["model.widths=[512]"], []),
        (["model.widths=[512,256,128]"], []),
        (["name=*[0]*"], []),
        (["model.residual=False", "data=digits"], ["030407-mlp-digits"]),
        (["model.residual!=False"], []),
    ],
    ids=" ".join,
)
def test_filters(filters, expected, call, root):
    code, out, _ = call("list", *filters, "--json", f"--root={root}")
    assert code == 0
    assert names(out) == expected


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("validation/accuracy", ["030406-cnn-mnist", "030405-mlp-mnist", "0-mlp-mnist"]),
        ("-accuracy", ["0-mlp-mnist", "030405-mlp-mnist", "030406-cnn-mnist"]),
        ("loss", ["030406-cnn-mnist", "030405-mlp-mnist", "0-mlp-mnist"]),
        ("optimizer.lr", ["030406-cnn-mnist", "030405-mlp-mnist", "0-mlp-mnist"]),
    ],
)
def test_sorts_metrics_with_the_best_first_and_runs_without_last(key, expected, call, root):
    code, out, _ = call("list", f"--sort={key}", "--json", f"--root={root}")
    assert code == 0
    assert names(out)[:3] == expected or names(out) == [*expected, "030407-mlp-digits"]


def test_what_a_private_run_has_spent_stands_beside_its_best(call, root, write_run):
    write_run(root / "private", accuracy=0.9, privacy={"epsilon": 2.4968, "delta": 1e-5})
    assert "accuracy 0.9, epsilon 2.497" in call("list", f"--root={root}")[1]
    rows = list(csv.DictReader(io.StringIO(call("list", "--csv", f"--root={root}")[1])))
    spent = {row["name"].rpartition("/")[2]: row["epsilon"] for row in rows}
    assert spent["private"] == "2.4968"
    assert spent["030405-mlp-mnist"] == ""


def test_a_run_that_nobody_works_on_any_more_was_killed(call, root):
    def statuses():
        rows = json.loads(call("list", "name=*0-mlp*", "--json", f"--root={root}")[1])
        return [row["status"] for row in rows]

    assert statuses() == ["killed"]
    with RunLock(root / "2026-01-02" / "030408-sweep-1" / "0-mlp-mnist").acquire():
        assert statuses() == ["running"]


@pytest.mark.parametrize(
    ("typed", "name", "data"),
    [
        (["experiment=mnist_cnn"], "cnn-mnist", "digits"),
        (["model=cnn", "data=mnist"], "mine", "digits"),
        (["seed=3"], "mine", "mnist"),
    ],
)
def test_model_and_data_are_found_however_the_run_was_started(
    typed, name, data, call, tmp_path, write_run
):
    write_run(tmp_path / "run", name=name, data=data)
    (tmp_path / "run" / "overrides.txt").write_text("\n".join(typed))
    [row] = json.loads(call("list", "--json", f"--root={tmp_path}")[1])
    model = "mlp" if typed == ["seed=3"] else "cnn"  # the config has the target of mlp
    assert (row["model"], row["data"]) == (model, "mnist")


def test_age_is_counted_from_when_a_run_began(call, tmp_path, write_run):
    for name, seconds in (("new", 60), ("old", 3 * 86400)):
        began = time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(time.time() - seconds))
        write_run(tmp_path / name, started=began)
    assert names(call("list", "age<2d", "--json", f"--root={tmp_path}")[1]) == ["new"]
    assert names(call("list", "age>50s", "age<=1.5h", "--json", f"--root={tmp_path}")[1]) == ["new"]
    table = call("list", f"--root={tmp_path}")[1].splitlines()
    assert table[1].split()[-2:] == ["1", "min"]
    assert table[2].split()[-2:] == ["3", "d"]


def test_csv_has_the_same_rows_and_the_columns_that_were_asked_for(call, root):
    columns = "--columns=optimizer.lr,seed"
    rows = list(csv.DictReader(io.StringIO(call("list", "--csv", columns, f"--root={root}")[1])))
    assert [row["optimizer.lr"] for row in rows] == ["0.01", "0.1", "0.0003", "0.001"]
    assert rows[2]["best"] == "0.995"
    assert rows[1]["best"] == ""


def test_the_table_says_how_many_runs_are_left_out(call, root):
    _, out, _ = call("list", "model=mlp", "-n", "1", f"--root={root}")
    assert "0-mlp-mnist" in out
    assert out.splitlines()[-1] == "1 of 4 runs"
    _, out, _ = call("list", "model=resnet", "data=mnist", f"--root={root}")
    assert out.splitlines() == ["none of 4 runs matches", "  model is cnn, mlp"]
    assert "no runs in" in call("list", f"--root={root / 'nowhere'}")[1]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["optimizer.rl=1"], "did you mean optimizer.lr?"),
        (["lr=1"], "did you mean optimizer.lr?"),
        (["--sort=acuracy"], "acuracy: no run has such a key; did you mean"),
        (["gan"], "it is not a filter"),
        (["accuracy>high"], "must be a number"),
        (["--jsn"], "did you mean --json?"),
        (["--columns=a,,b"], "words with commas"),
        (["--limit=few"], "--limit=few: it must be a whole number, at least 1"),
        (["-n", "0"], "--limit=0: it must be a whole number, at least 1"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_mistakes_are_named_with_what_would_be_right(arguments, said, call, root):
    code, out, err = call("list", *arguments, f"--root={root}")
    assert code == 2
    assert out == ""
    assert said in err


HOSTILE_FILES = {
    "torn": ("summary.json", b'{"status": "fini'),
    "no object": ("summary.json", b"[1, 2]"),
    "deep": ("summary.json", b"[" * 100_000),
    "huge number": ("summary.json", b'{"step": ' + b"9" * 5000 + b"}"),
    "endless": ("summary.json", b'{"status": "running", "seconds": 1e999, "steps": NaN, '
                b'"best": {"step": Infinity, "metrics": {"accuracy": NaN}}, "started": "9999"}'),
    "wrong types": ("summary.json", b'{"status": {}, "best": 7, "steps": [], "seconds": "x", '
                    b'"step": "a", "objective": 4, "test": [], "choices": 3, "started": 1e400}'),
    "bytes": ("summary.json", bytes(range(256))),
    "deep config": ("config.yaml", b"[" * 400_000),
    "deep blocks": ("config.yaml", b"- " * 400_000),
    "aliases": ("config.yaml", b"a: &a [1,1,1,1,1,1,1,1]\n" + b"".join(
        b"%c: &%c [*%c,*%c,*%c,*%c,*%c,*%c,*%c,*%c]\n" % ((97 + i, 97 + i) + (96 + i,) * 8)
        for i in range(1, 24))),
    "object": ("config.yaml", b"!!python/object/apply:os.system ['touch canary']"),
}  # fmt: skip


@pytest.mark.parametrize("damage", HOSTILE_FILES)
def test_a_damaged_or_hostile_run_hides_no_other(damage, call, root, tmp_path, write_run):
    name, content = HOSTILE_FILES[damage]
    bad = root / "2026-01-02" / "999999-bad"
    write_run(bad, accuracy=0.5)
    (bad / name).write_bytes(content)
    for arguments in ([], ["--json"], ["optimizer.lr>=0"], ["--sort=optimizer.lr"]):
        code, out, err = call("list", *arguments, f"--root={root}")
        assert (code, err) == (0, "")
        assert "030406-cnn-mnist" in out
    assert not (tmp_path / "canary").exists()


def test_pipes_devices_and_links_are_not_waited_for(call, root, tmp_path, write_run):
    bad = root / "bad"
    write_run(bad)
    (bad / "summary.json").unlink()
    os.mkfifo(bad / "summary.json")
    (root / "round").symlink_to(root, target_is_directory=True)
    (bad / "config.yaml").unlink()
    (bad / "config.yaml").symlink_to("/dev/zero")
    code, out, _ = call("list", "optimizer.lr>=0", "--json", f"--root={root}")
    assert code == 0
    assert len(names(out)) == 4


def test_what_a_name_holds_is_shown_and_not_obeyed(call, root, write_run):
    write_run(root / "\x1b[2Jgone\r\u202e", model="\x1b]0;title\x07", accuracy=0.1)
    _, out, _ = call("list", f"--root={root}")
    assert not {"\x1b", "\r", "\x07", "\u202e"} & set(out)
    assert "\\x1b[2Jgone" in out
    code, _, err = call("list", "\x1b[2J=1", f"--root={root}")
    assert code == 2
    assert "\x1b" not in err


def test_a_thousand_runs_are_listed_without_torch(tmp_path, write_run, imported_by):
    for number in range(1000):
        name = f"{number // 60:04d}{number % 60:02d}-mlp-mnist"
        write_run(tmp_path / "outputs" / "2026-01-02" / name, accuracy=number / 1000)
    words = ("list", "optimizer.lr>0", "--sort=accuracy")
    ((lines, heavy),) = imported_by(words, cwd=tmp_path)
    assert heavy == []
    assert len(lines) == 1001
    assert "accuracy 0.999" in lines[1]
    assert "accuracy 0 " in lines[-1]
