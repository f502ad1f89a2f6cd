"""The command: it says where it is, logs, ends as it is asked to, and finishes what was asked."""

import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import Client

pytestmark = pytest.mark.slow
RUNS = Path(sys.executable).with_name("runs")


@pytest.fixture
def start(tmp_path):
    """Start `runs serve`; its port, the process, and the file of its log."""
    with contextlib.ExitStack() as stack:

        def begin(*words):
            log = stack.enter_context((tmp_path / "log").open("w+"))
            process = subprocess.Popen(
                [RUNS, "serve", *words, "port=0"],
                stdout=log, stderr=subprocess.PIPE, text=True, cwd=tmp_path,
                env={**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive"},
            )  # fmt: skip
            stack.enter_context(process)
            stack.callback(process.kill)
            told = []
            while not told or "Ctrl-C" not in told[-1]:
                told.append(process.stderr.readline())
                assert told[-1], told
            client = Client(int(told[0].rstrip("/\n").rpartition(":")[2]))
            stack.callback(client.close)
            return client, process, log

        yield begin


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGHUP, 129)]
)
def test_a_signal_lets_a_text_end_and_takes_no_other(folders, start, number, code):
    client, process, log = start(folders["gpt"])
    stream = http.client.HTTPConnection("127.0.0.1", client.port, timeout=120)
    body = json.dumps({"prompt": "To be", "max_tokens": 3000})
    how = {"Content-Type": "application/json", "Accept": "text/event-stream"}
    stream.request("POST", "/generate", body, how)
    answer = stream.getresponse()
    assert answer.readline().startswith(b"data: ")
    process.send_signal(number)
    written = answer.read().decode()
    stream.close()
    facts = json.loads(written.rpartition("event: end\ndata: ")[2])
    assert facts["tokens"] == 3000
    assert process.wait(60) == code
    assert process.stderr.read() == "stopped\n"
    with pytest.raises(ConnectionError):
        client("GET", "/health")
    log.seek(0)
    lines = [json.loads(line) for line in log]
    assert [(line["path"], line["status"]) for line in lines] == [("/generate", 200)]
    assert {"time", "client", "method", "ms", "in", "out"} <= set(lines[0])


def test_what_is_said_is_what_runs_predict_says(folders, start, tmp_path):
    table = "age,job,since,income\n20,cook,2020-01-11,\n70,pilot,2020-05-11,0.5\n"
    (tmp_path / "two.csv").write_text(table)
    words = [RUNS, "predict", folders["people"], "checkpoint=last", tmp_path / "two.csv", "--jsonl"]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    expected = [json.loads(line) for line in done.stdout.splitlines()]
    client, process, _ = start(folders["digits"], folders["people"], "checkpoint=last")
    said = client("POST", "/people/predict", table.encode(), "text/csv").json
    assert said == [{k: v for k, v in one.items() if k not in ("file", "line")} for one in expected]
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 143
