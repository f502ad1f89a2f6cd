"""In a notebook: a bar while it trains, tables and pictures, and a stop button."""

import sys

import pytest

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")

CELLS = (
    "import trainwright as tw\n"
    "words = ['trainer.threads=1', 'trainer.plots=false', 'run.dir=stopped']",
    "import os, signal, threading, time\n"
    "from pathlib import Path\n"
    "def press_stop():\n"
    "    while not Path('stopped/metrics.jsonl').exists():\n"
    "        time.sleep(0.01)\n"
    "    time.sleep(1)  # the bar is drawn four times in it\n"
    "    os.kill(os.getpid(), signal.SIGINT)  # as the button does\n"
    "threading.Thread(target=press_stop).start()\n"
    "run = tw.train(*words, 'trainer.steps=1000000', 'trainer.log_every=1')",
    "run",
    "run.resume(f'trainer.steps={run.summary[\"step\"] + 1}').status",
    "tw.train('model=mlp_gan', 'trainer.steps=2', 'task.score=none', *words[:2]).sample(4)",
    "tw.train('trainer.epoch=3')",
)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_notebook_trains_stops_goes_on_and_shows(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", ":".join(path for path in sys.path if path))
    cells = [nbformat.v4.new_code_cell(cell) for cell in CELLS]
    book = nbformat.v4.new_notebook(cells=cells)
    settings = {"resources": {"metadata": {"path": str(tmp_path)}}, "allow_errors": True}
    nbclient.NotebookClient(book, timeout=200, kernel_name="python3", **settings).execute()
    _, trains, shows, resumes, makes_up, fails = (cell.outputs for cell in book.cells)
    printed = "".join(output.text for output in trains if output.output_type == "stream")
    assert "saved step" in printed
    assert [output for output in trains if output.output_type == "display_data"]  # the bar
    assert "stopped" in shows[-1].data["text/html"]
    assert resumes[-1].data["text/plain"] == "'finished'"
    assert "image/png" in makes_up[-1].data
    assert fails[-1].ename == "ConfigError"
    assert fails[-1].traceback == [f"ConfigError: {fails[-1].evalue}"]
    assert "did you mean trainer.epochs?" in fails[-1].evalue
