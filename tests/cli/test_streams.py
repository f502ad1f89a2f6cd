"""Whatever standard input, output and error are: no run ends for them, and no name stops a list."""

import json
import os
import select
import subprocess
import sys
from pathlib import Path

import pytest

from trainwright.files import append_line, write_text

BIN = Path(sys.executable).parent
FULL = Path("/dev/full")  # every write to it fails

SHORT = (
    "train --help",
    "train --version",
    "train --cfg job",
    "train --info",
    "train --shell-completion install=bash",
    "runs",
    "runs --version",
    "runs list --help",
    "runs --shell-completion install=zsh",
    "runs list",
)
SMOKE = "trainer=smoke trainer.plots=false model.widths=[4]"
LETTERS = "grün 模型 ± … \udcff é"


def shell(command, environment, **more):
    """Run a line of bash; PYTHONUNBUFFERED would hide what only fails when a buffer is emptied."""
    given = {**environment, "PATH": f"{BIN}:{os.environ['PATH']}", **more}
    given.pop("PYTHONUNBUFFERED", None)
    done = subprocess.run(
        ["bash", "-c", command], env=given, capture_output=True, check=False, timeout=120
    )
    return done.returncode, done.stdout.decode("latin-1"), done.stderr.decode("latin-1")


def python(body):
    return f"{sys.executable} -c '{body}'"


def says(body):
    return python(f"from trainwright.cli.process import live\ndef main():\n {body}\nlive(main)")


@pytest.fixture(scope="module")
def closed_pipe():
    """The end of a pipe that nobody reads from, to be handed down."""
    reading, writing = os.pipe()
    os.close(reading)
    os.set_inheritable(writing, True)
    yield writing
    os.close(writing)


@pytest.mark.parametrize("command", SHORT)
def test_a_short_output_that_nobody_reads_ends_as_sigpipe_would(
    command, empty, environment, closed_pipe
):
    done = subprocess.run(
        [BIN / command.split()[0], *command.split()[1:]],
        env={k: v for k, v in environment.items() if k != "PYTHONUNBUFFERED"},
        stdout=closed_pipe,
        stderr=subprocess.PIPE,
        check=False,
    )
    assert (done.returncode, done.stderr) == (141, b"")


@pytest.mark.skipif(not FULL.exists(), reason="no /dev/full")
@pytest.mark.parametrize("command", ["train --help", "train --cfg job", "runs list"])
def test_a_short_output_for_which_there_is_no_space_is_an_error(command, empty, environment):
    code, _, err = shell(f"{command} >/dev/full", environment)
    assert (code, err) == (6, "error: standard output: No space left on device\n")


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_stream_that_is_closed_is_nothing(closed, empty, environment):
    what = "import os, sys; sys.stdin.read(); print(1); print(2, file=sys.stderr)"
    check = "[os.fstat(n) for n in (0, 1, 2)]; open(str(os.getpid()), 'x')"
    program = says(f"{what}; {check}").replace("'x'", '"x"')
    assert shell(f"{program} {closed}", environment)[0] == 0
    assert len(list(empty.iterdir())) == 1, "it has come to the end"


def test_no_file_of_a_command_takes_the_place_of_a_closed_stream(empty, environment):
    says_it = says('open("kept", "w").write("kept"); import subprocess; subprocess.call(["echo"])')
    assert shell(f"{says_it} <&- >&- 2>&-", environment)[0] == 0
    assert (empty / "kept").read_text() == "kept"


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8", "utf-8:strict"])
def test_no_letter_is_too_much_for_an_encoding(encoding, empty, environment):
    what = f"import sys; print({LETTERS!a}); print({LETTERS!a}, file=sys.stderr)".replace("'", '"')
    code, out, err = shell(says(what), environment, PYTHONIOENCODING=encoding)
    assert code == 0, err
    assert out == err
    assert "Traceback" not in err
    shown = out.encode("latin-1").decode(encoding.partition(":")[0])
    name = encoding.partition(":")[0]
    expected = {"ascii": "gr\\xfcn \\u6a21\\u578b +/- ... \\udcff \\xe9"}.get(name)
    expected = expected or {"utf-8": "grün 模型 ± … \\udcff é"}.get(name)
    if expected is not None:
        assert shown == expected + "\n"


def test_files_are_utf_8_where_the_locale_is_not(empty, environment):
    more = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    what = 'from pathlib import Path; Path("kept").write_text("\\xfc")'
    assert shell(says(what), environment, **more)[0] == 0
    assert (empty / "kept").read_bytes() == "ü".encode()


def test_one_run_of_an_odd_name_does_not_hide_the_others(empty, environment):
    for name in ("grün", "plain", "\udcff"):
        (empty / "outputs" / name).mkdir(parents=True)
        (empty / "outputs" / name / "summary.json").write_text('{"status": "finished"}')
    code, out, err = shell("runs list", environment, PYTHONIOENCODING="ascii")
    assert (code, err) == (0, "")
    assert {line.split()[0] for line in out.splitlines()[1:]} == {"gr\\xfcn", "plain", "\\udcff"}


def test_a_file_tells_of_a_name_that_is_not_utf_8(tmp_path):
    write_text(tmp_path / "whole", "run.dir=\udcff\n")
    append_line(tmp_path / "lines", "run.dir=\udcff")
    for name in ("whole", "lines"):
        assert (tmp_path / name).read_bytes() == b"run.dir=\\udcff\n"


def test_who_reads_slowly_from_a_pipe_that_does_not_block_gets_all(empty, environment):
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    program = 'from trainwright.cli.process import live; live(lambda: print("x" * 1_000_000))'
    process = subprocess.Popen([sys.executable, "-c", program], stdout=writing, env=environment)
    os.close(writing)
    received = 0
    while select.select([reading], [], []) and (data := os.read(reading, 4096)):
        received += len(data)
    os.close(reading)
    assert (process.wait(), received) == (0, 1_000_001)


@pytest.mark.parametrize("broken", [">/dev/full", "2>/dev/full", "| true", "2>&1 | true"])
def test_what_outlives_its_readers_comes_to_its_end(broken, empty, environment):
    what = "import sys; from trainwright.streams import outlive_readers; outlive_readers()"
    loop = "[(print(n, flush=True), print(n, file=sys.stderr)) for n in range(9999)]"
    program = says(f'{what}; {loop}; open("end", "x"); sys.exit(3)')
    assert shell(f"set -o pipefail; {program} {broken}", environment)[0] == 3
    assert (empty / "end").exists()


BROKEN = (">&-", "2>&-", "<&- >&- 2>&-", ">/dev/full", "2>/dev/full", "| true", "| head -1")


@pytest.mark.slow
@pytest.mark.parametrize("broken", BROKEN)
def test_nothing_that_a_stream_does_stops_a_run(broken, empty, environment):
    code, _, err = shell(f"set -o pipefail; train {SMOKE} run.dir=run {broken}", environment)
    assert (code, err) == (0, "")
    assert json.loads((empty / "run" / "summary.json").read_text())["status"] == "finished"
    assert "test (best weights)" in (empty / "run" / "train.log").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("broken", ["<&- >&- 2>&-", ">/dev/full 2>/dev/full", "| head -1"])
@pytest.mark.parametrize("isolation", ["warm", "process"])
def test_nothing_that_a_stream_does_stops_a_sweep(broken, isolation, empty, environment):
    command = f"train -m {SMOKE} seed=1,2 sweep.isolation={isolation} sweep.dir=sweep {broken}"
    code, _, err = shell(f"set -o pipefail; {command}", environment)
    assert (code, err) == (0, "")
    rows = json.loads((empty / "sweep" / "sweep.json").read_text())
    assert rows
    states = [json.loads(p.read_text())["status"] for p in empty.glob("sweep/*/summary.json")]
    assert states == ["finished", "finished"]


@pytest.mark.slow
@pytest.mark.parametrize("command", ["train", "train -m seed=1,2"])
def test_a_gan_can_say_its_errors_in_ascii(command, empty, environment):
    more = "model=gan trainer=smoke model.width=4 trainer.score_samples=100 trainer.plots=false"
    code, out, err = shell(f"{command} {more}", environment, PYTHONIOENCODING="ascii")
    assert code == 0, err
    assert "Traceback" not in err
    assert out.isascii()
    logs = [*empty.rglob("*.log")]
    assert logs
    assert not [log for log in logs if "Traceback" in log.read_text()]
