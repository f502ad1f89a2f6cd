"""A run from Python is a run like any other, and says what the commands say."""

import csv
import json
import logging
import signal
import threading
import time

import numpy as np
import pytest
import torch
from PIL import Image

import trainwright as tw
from trainwright.cli.runs import main as runs_command
from trainwright.engine.checkpoint import checkpoint

FEW = ("trainer.threads=1", "trainer.plots=false", "data=digits", "data.limit=300")


def command(capsys, *words):
    """What `runs` prints."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        runs_command(list(words))
    assert stop.value.code == 0
    return capsys.readouterr().out


def weights(run):
    return checkpoint.load(run.path / "checkpoints" / "last.safetensors")[0]


def have_the_same_bits(one, other):
    mine, theirs = weights(one), weights(other)
    return mine.keys() == theirs.keys() and all(torch.equal(mine[k], theirs[k]) for k in mine)


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 255, (5, 8, 8), dtype=np.uint8)


def test_it_has_the_folder_that_the_command_makes(run, capsys):
    shown = json.loads(command(capsys, "show", "last", "--json"))
    assert (str(run.path), run.name, run.status) == (shown["path"], shown["name"], "finished")
    assert run.config == shown["config"]
    assert run.summary == shown["summary"]
    assert shown["overrides"] == [*FEW, "model=mlp", "model.widths=[16]", "trainer.steps=12"]


def test_its_history_is_what_was_logged(run):
    lines = [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]
    assert run.history["step"].tolist() == [line["step"] for line in lines]
    for name, column in run.history.items():
        assert column.tolist() == pytest.approx([r.get(name, np.nan) for r in lines], nan_ok=True)
    assert run.history["step"].dtype == np.int64


def test_it_predicts_arrays_images_and_paths_as_the_command_does(run, images, capsys):
    for number, image in enumerate(images):
        Image.fromarray(image).save(f"{number}.png")
    names = [f"{number}.png" for number in range(len(images))]
    told = command(capsys, "predict", str(run.path), *names, "--csv")
    rows = list(csv.DictReader(told.splitlines()))
    of_arrays = run.predict(images)
    assert of_arrays.labels.tolist() == [row["class"] for row in rows]
    wanted = [[float(row[name]) for name in of_arrays.classes] for row in rows]
    assert of_arrays.probabilities == pytest.approx(np.array(wanted), abs=1e-6)
    floats = images.astype(np.float64) / 255
    pictures = [Image.fromarray(image) for image in images]
    for same in (images[:, None], torch.tensor(images), floats, pictures, names, list(images)):
        assert np.array_equal(run.predict(same).probabilities, of_arrays.probabilities)


def test_it_explains_as_the_command_does(run, images, capsys):
    Image.fromarray(images[0]).save("0.png")
    told = json.loads(command(capsys, "explain", str(run.path), "0.png", "output=3", "--json"))
    (wanted,) = told["examples"]
    found, other = run.explain(images[:2], output="3")
    assert (found.explained, found.score) == ("3", wanted["score"])
    assert found.score_of_nothing == wanted["score_of_nothing"]
    assert set(found.values) == set(found.verdicts) == {"integrated gradients", "occlusion"}
    for name, values in found.values.items():
        assert values.shape == (8, 8)
        assert values.tolist() == wanted["methods"][name]["values"]
        assert found.verdicts[name] == told["methods"][name]["verdict"]
    assert other.score != found.score
    with pytest.raises(tw.ConfigError, match="no such output"):
        run.explain(images, output="x")


def test_rows_of_arrays_are_explained_beside_those_it_has_learned_from(program):
    draw = np.random.default_rng(0)
    rows = draw.normal(size=(200, 3)).astype(np.float32)
    data = (rows, (rows[:, 1] > 0).astype(int))
    words = (*FEW[:2], "trainer.steps=30", "optimizer.lr=0.1")
    run = tw.fit(*words, model=torch.nn.Linear(3, 2), data=data)
    (found,) = run.explain(rows[:1], output="1")
    (values,) = found.values.values()
    assert values.sum() == pytest.approx(found.score - found.score_of_nothing, abs=1e-4)
    assert np.abs(values).argmax() == 1


def test_what_cannot_be_used_is_named(run, images):
    Image.fromarray(images[0]).save("0.png")
    with pytest.raises(tw.DataError, match=r"1 of 2 examples cannot be used\n  none.png: "):
        run.predict(["0.png", "none.png"])
    with pytest.raises(tw.DataError, match="there are no examples"):
        run.predict(images[:0])
    with pytest.raises(tw.ConfigError, match=r"take \.labels"):
        run.predict(images).values  # noqa: B018
    with pytest.raises(tw.ConfigError, match="does not generate"):
        run.sample(3)


def test_its_model_and_what_goes_before_it_say_what_it_predicts(run, images):
    with torch.no_grad():
        said = run.model(run.preprocess(images)["inputs"]).softmax(dim=1).numpy()
    assert said == pytest.approx(run.predict(images).probabilities, abs=1e-6)
    assert not run.model.training


def test_it_is_measured_as_the_command_measures(run, capsys):
    told = json.loads(command(capsys, "evaluate", str(run.path), "resamples=20", "--json"))
    measured = run.evaluate(resamples=20)
    assert json.loads(json.dumps(measured.plain)) == {**told, "run": str(run.path)}
    assert measured.metrics["accuracy"] == told["metrics"]["accuracy"]["value"]
    assert measured.intervals["accuracy"] == tuple(told["metrics"]["accuracy"]["interval"])
    assert measured.confusion.tolist() == told["confusion"]


def test_the_table_is_that_of_the_command(run, capsys):
    told = json.loads(command(capsys, "list", "status=finished", "--sort=accuracy", "--json"))
    table = tw.runs("status=finished", sort="accuracy")
    assert table.rows == told
    assert [each.path for each in table] == [each.path for each in table[:]]
    assert table[0].name == told[0]["name"]
    assert "none of" in repr(tw.runs("status=failed"))
    with pytest.raises(tw.ConfigError, match="no run has such a key"):
        tw.runs("modle=mlp")


def test_a_notebook_is_shown_tables_and_pictures(run, images):
    found = run.predict(images)
    shown = (run, run.history, found, run.evaluate(resamples=0), tw.runs())
    for each, word in zip(shown, (run.name, "train/loss", "class", "CLASS", "MODEL"), strict=True):
        assert word in each._repr_html_()
    run.path.joinpath("plots", "curves.png").write_bytes(b"picture")
    assert "data:image/png;base64,cGljdHVyZQ==" in run._repr_html_()


def test_it_goes_on_and_is_forked(run):
    fork = run.fork("trainer.steps=2", "freeze=layers.1")
    assert fork.path != run.path
    assert fork.summary["lineage"]["name"] == run.summary["name"]
    assert fork.name in {each.name for each in tw.runs()}
    longer = tw.load(fork.path).resume("trainer.steps=4", "trainer.schedule_until=100%")
    assert (longer.path, longer.history["step"][-1]) == (fork.path, 4)
    assert longer.resume().history["step"][-1] == 4  # there is nothing left to do


def interrupt(run_folder):
    """Ctrl-C, as soon as the run has logged."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if any(path.stat().st_size for path in run_folder.glob("metrics.jsonl")):
            signal.raise_signal(signal.SIGINT)
            return
        time.sleep(0.01)


def test_ctrl_c_gives_the_run_back_and_it_goes_on_to_the_same_bits(program):
    words = [*FEW, "model=cnn", "trainer.log_every=1", "trainer.steps=400", "run.dir=stopped"]
    finger = threading.Thread(target=interrupt, args=(program / "stopped",))
    finger.start()
    stopped = tw.train(*words)
    finger.join()
    assert stopped.status == "stopped"
    step = stopped.summary["step"]
    assert 0 < step < 400
    end = step + 3
    on = stopped.resume(f"trainer.steps={end}", "trainer.schedule_until=400")
    whole = tw.train(
        *words[:-2], f"trainer.steps={end}", "trainer.schedule_until=400", "run.dir=whole"
    )
    assert on.status == whole.status == "finished"
    assert have_the_same_bits(on, whole)


def test_threads_take_turns_and_each_run_has_its_bits(program):
    words = [*FEW, "model=cnn", "model.dropout=0.3", "trainer.steps=10"]
    alone = [tw.train(*words, f"seed={seed}") for seed in (1, 2)]
    together = {}
    draws = torch.random.get_rng_state()

    def train(seed):
        together[seed] = tw.train(*words, f"seed={seed}")

    threads = [threading.Thread(target=train, args=(seed,)) for seed in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert have_the_same_bits(alone[0], together[1])
    assert have_the_same_bits(alone[1], together[2])
    assert not have_the_same_bits(*alone)
    assert torch.equal(draws, torch.random.get_rng_state())


def test_what_it_makes_up_is_an_array_that_shows_itself(program):
    words = ("model=mlp_gan", "data=digits", "trainer.steps=4", "task.score=none", *FEW[:2])
    gan = tw.train(*words, "trainer.batch_size=16")
    made = gan.sample(4, classes=[3, "5"], seed=1)
    assert np.asarray(made).shape == made.shape == (4, 1, 8, 8)
    assert made.classes.tolist() == [3, 5, 3, 5]
    assert np.array_equal(made.images, gan.sample(4, classes=[3, 5], seed=1).images)
    assert 0 <= made.images.min() <= made.images.max() <= 1
    assert made._repr_png_()[:8] == b"\x89PNG\r\n\x1a\n"
    with pytest.raises(tw.ConfigError, match="no such class"):
        gan.sample(classes="cat")
    with pytest.raises(tw.ConfigError, match="does not predict"):
        gan.predict(made.images)


def test_a_hook_may_use_another_run(run, program):
    (program / "looking.py").write_text(
        "import trainwright as tw\n"
        "from trainwright.engine.hook import Hook\n"
        "class Look(Hook):\n"
        "    def due(self, step, total):\n"
        "        return step == total\n"
        "    def __call__(self, state, metrics):\n"
        f"        self.found = tw.load({str(run.path.resolve())!r}).evaluate(resamples=0)\n"
        "        return {'other': self.found.metrics['accuracy']}\n"
    )
    looks = tw.train(*FEW, "trainer.steps=2", "+hooks.look={_target_: looking.Look}")
    assert looks.history["look/other"][-1] == run.metrics["test/accuracy"]


def test_a_hydra_app_keeps_its_own_config(program):
    from hydra import compose, initialize
    from hydra.core.global_hydra import GlobalHydra
    from hydra.core.hydra_config import HydraConfig

    HydraConfig.instance().cfg = None
    with initialize(version_base="1.3", config_path=None):
        theirs = compose(overrides=["+mine=1"], return_hydra_config=True)
        HydraConfig.instance().set_config(theirs)
        cfg, hydra = HydraConfig.instance().cfg, GlobalHydra.instance().hydra
        assert tw.train(*FEW, "trainer.steps=1").status == "finished"
        assert HydraConfig.instance().cfg is cfg
        assert GlobalHydra.instance().hydra is hydra
    HydraConfig.instance().cfg = None


def test_a_handler_of_the_programs_own_takes_what_is_printed(program, capsys):
    logger = logging.getLogger("trainwright")
    before, logger.handlers, level = logger.handlers, [logging.NullHandler()], logger.level
    logger.level = logging.NOTSET
    quiet = tw.train(*FEW, "trainer.steps=1")
    logger.handlers, logger.level = before, level
    assert capsys.readouterr().out == ""
    assert "test (best weights)" in (quiet.path / "train.log").read_text()
