"""`runs compress`: the folder, what onnxruntime itself says of it, and what is refused."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from PIL import Image
from rounding import rounding

from trainwright.inference.other_data import load_data
from trainwright.inference.trained import load_trained

pytestmark = pytest.mark.numeric
SMOKE = ("trainer=smoke", "trainer.steps=60", "trainer.ema=null", "trainer.precision=fp32")


@pytest.fixture(scope="module")
def root(train, tmp_path_factory):
    """An outputs folder with a network of convolutions on digits, and one for a table's values."""
    root = tmp_path_factory.mktemp("compressed")
    cnn = ("model=cnn", "model.channels=[8,8]", "model.dense=[16]", "optimizer.lr=0.01")
    train(root / "cnn", *SMOKE, *cnn)
    train(root / "values", *SMOKE, "model=mlp", "model.widths=[32]", "data=diabetes")
    return root


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def said_by(path, inputs):
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(None, {"inputs": inputs})[0]


@pytest.fixture(scope="module")
def known(root):
    """Of the digits' test split: pixels, classes, and the network's own logits."""
    trained = load_trained(root / "cnn" / "checkpoints" / "best.safetensors", device="cpu")
    split = load_data(trained, []).test
    stored = split.take(torch.arange(len(split)))
    batch = {"inputs": trained.info.input.preparation(torch.device("cpu"))(stored["inputs"])}
    with torch.no_grad():
        logits = trained.task.outputs(batch).numpy()
    return stored["inputs"].numpy(), stored["targets"].numpy(), logits


@pytest.mark.slow  # an export takes seconds
def test_int8_is_measured_as_onnxruntime_itself_answers(call, root, known):
    code, out, _ = call("compress", "cnn", "out=small", "--json", f"--root={root}")
    assert code == 0
    first, full, last = json.loads(out)["forms"]
    assert [row["form"] for row in (first, full, last)] == ["torch", "onnx", "int8 (static)"]
    pixels, classes, logits = known
    found = said_by("small/model.onnx", pixels)
    assert found.dtype == np.float32
    assert last["metric"]["value"] == pytest.approx((found.argmax(1) == classes).mean())
    assert last["agreement"] == pytest.approx((found.argmax(1) == logits.argmax(1)).mean())
    assert first["metric"]["value"] == pytest.approx((logits.argmax(1) == classes).mean())
    assert (first["agreement"], full["agreement"]) == (1, 1)
    # 8 bits: a step is 1/255 of an activation's range, and a few layers add a few of them.
    assert 0 < np.abs(found - logits).max() < 0.1 * np.ptp(logits)
    import onnx

    kinds = {
        w.data_type for w in onnx.load("small/model.onnx").graph.initializer if len(w.dims) > 1
    }
    assert onnx.TensorProto.INT8 in kinds
    assert len(json.loads(Path("small/model.json").read_text())["compression"]) == 3


@pytest.mark.slow  # an export takes seconds
def test_bf16_weights_are_the_run_s_own_to_eight_bits(call, root, known):
    code, out, err = call("compress", "cnn", "to=bf16", "out=small", f"--root={root}")
    assert (code, err) == (0, "")
    assert out.splitlines()[3].startswith("bf16 weights")
    pixels, _, logits = known
    difference = np.abs(said_by("small/model.onnx", pixels) - logits).max()
    assert 0 < difference < rounding(torch.bfloat16, 9 * 8 * 3, size=float(np.abs(logits).max()))


@pytest.mark.slow  # an export takes seconds
def test_of_values_too_and_what_loses_too_much_leaves_nothing_behind(call, root, tmp_path):
    code, out, err = call("compress", "values", "max_drop=1", "out=small", f"--root={root}")
    assert (code, err) == (0, "")
    assert "int8 (dynamic)" in out
    assert [path.name for path in tmp_path.iterdir()] == ["small"]
    code, out, err = call("compress", "values", "max_drop=0", "out=other", f"--root={root}")
    if code == 0:  # by luck it is not worse at all
        return
    assert (code, out) == (2, "")
    assert "max_drop=0: int8 (dynamic) loses" in err
    assert [path.name for path in tmp_path.iterdir()] == ["small"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("to=fp32",), "makes nothing smaller by itself"),
        (("epochs=3",), "has no effect without prune"),
        (("to=bf16", "calibration=9"), "has no effect with to=bf16"),
        (("prune=1.5",), "a number from 0.01 to 0.99"),
        (("out=taken",), "exists already"),
    ],
)
def test_what_cannot_be_done_is_said_before_anything_is_made(call, root, tmp_path, words, told):
    (tmp_path / "taken").mkdir()
    code, out, err = call("compress", "cnn", *words, f"--root={root}")
    assert (code, out) == (2, "")
    assert told in err
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


def test_a_gan_is_said_by_name_not_to_be_compressed(call, real_root):
    code, _, err = call("compress", "gan-digits", f"--root={real_root}")
    assert code == 2
    assert "it is a GAN" in err


@pytest.mark.slow
def test_a_pruned_network_is_trained_by_a_fork_and_its_example_runs(call, root, tmp_path):
    digit = np.zeros((8, 8), dtype=np.uint8)
    digit[1:7, 4] = 255
    Image.fromarray(digit).save("one.png")
    code, out, err = call("compress", "cnn", "prune=0.5", "out=small", f"--root={root}")
    assert code == 0, err
    assert "pruned, int8 (static)" in out
    code, out, _ = call("show", "small/run")
    assert code == 0
    small = load_trained(tmp_path / "small/run/checkpoints/best.safetensors", device="cpu")
    assert small.task.model.features[0].out_channels == 4
    command = [sys.executable, "small/example.py", "one.png"]
    said = subprocess.run(command, capture_output=True, text=True, check=True)
    assert len(said.stdout.splitlines()) == 3
