"""docs/api.md does what it says: its blocks are executed, from top to bottom, by one program."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "api.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)
ENVIRONMENT = {**os.environ, "MPLBACKEND": "agg", "OMP_NUM_THREADS": "1"}


@pytest.mark.slow
def test_every_block_runs(tmp_path):
    assert len(BLOCKS) > 10
    (tmp_path / "page.py").write_text("\n".join(BLOCKS))
    command = [sys.executable, "page.py"]
    done = subprocess.run(
        command, cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "did you mean trainer.epochs?" in done.stdout
    assert (tmp_path / "threes.png").stat().st_size > 0


@pytest.mark.slow
def test_a_process_that_was_forked_after_a_training_trains(tmp_path):
    (tmp_path / "forks.py").write_text(
        "import os, signal, trainwright as tw\n"
        "words = ['model=cnn', 'trainer.steps=5', 'trainer.plots=false']\n"
        "run = tw.train(*words, 'trainer.threads=2')\n"
        "if os.fork() == 0:\n"
        "    signal.alarm(100)  # OpenMP would wait for threads that are not there\n"
        "    assert tw.train(*words).status == run.resume().status == 'finished'\n"
        "    assert tw.load('last').evaluate(resamples=0).metrics\n"
        "    try:\n"
        "        tw.train(*words, 'trainer.threads=2')\n"
        "    except tw.ConfigError as error:\n"
        "        print(error)\n"
        "        os._exit(0 if 'one thread' in str(error) else 1)\n"
        "assert os.wait()[1] == 0\n"
    )
    environment = {k: v for k, v in ENVIRONMENT.items() if not k.startswith("OMP_")}
    done = subprocess.run(
        [sys.executable, "forks.py"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_sigterm_lets_the_run_save_and_ends_the_program(tmp_path):
    (tmp_path / "ends.py").write_text(
        "import os, signal, threading, time, trainwright as tw\n"
        "from pathlib import Path\n"
        "def end():\n"
        "    while not Path('here/metrics.jsonl').exists():\n"
        "        time.sleep(0.01)\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "threading.Thread(target=end).start()\n"
        "tw.train('trainer.steps=1000000', 'trainer.threads=1', 'trainer.log_every=1',\n"
        "         'trainer.plots=false', 'run.dir=here')\n"
        "print('still here')\n"
    )
    done = subprocess.run(
        [sys.executable, "ends.py"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == -15
    assert "still here" not in done.stdout
    assert '"status": "stopped"' in (tmp_path / "here" / "summary.json").read_text()
