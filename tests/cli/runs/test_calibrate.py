"""`runs calibrate`: the temperature is SciPy's, changes no answer, and is of one checkpoint."""

import csv
import io
import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from trainwright.data.sources.digits import load_digits_dataset
from trainwright.errors import DataError
from trainwright.inference.calibrate import fit_temperature
from trainwright.inference.export.example import example_script
from trainwright.inference.export.folder import describe, portable
from trainwright.inference.trained import load_trained

pytestmark = pytest.mark.numeric


@pytest.fixture
def outputs(real_root, tmp_path):
    """A copy of the real runs, of which one is to be calibrated."""
    return shutil.copytree(real_root, tmp_path / "outputs")


def drawn(sureness=3.0):
    """Logits that are `sureness` times too far apart for the classes drawn from them."""
    generator = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(400, 4, generator=generator, dtype=torch.float64)
    targets = torch.multinomial(logits.softmax(1), 1, generator=generator)[:, 0]
    return sureness * logits, targets


def test_the_temperature_has_the_least_log_loss_that_scipy_finds():
    logits, targets = drawn()

    def log_loss(temperature):
        said = log_softmax(logits.numpy() / temperature, axis=1)
        return -said[np.arange(len(said)), targets.numpy()].mean()

    least = minimize_scalar(log_loss, bounds=(0.5, 10), method="bounded", options={"xatol": 1e-9})
    # A search for the least of f sees no change below sqrt(2**-52) around it; the slope does.
    assert fit_temperature(logits, targets) == pytest.approx(least.x, rel=1e-6)


def test_logits_twice_as_far_apart_have_twice_the_temperature():
    logits, targets = drawn()
    once, twice = fit_temperature(logits, targets), fit_temperature(2 * logits, targets)
    assert twice == pytest.approx(2 * once, rel=1e-12)
    assert 2.5 < once < 3.5


@pytest.mark.parametrize("right", [True, False])
def test_no_temperature_is_made_up_where_all_is_right_or_wrong(right):
    logits = 5 * torch.eye(3, dtype=torch.float64)
    targets = torch.arange(3) if right else torch.tensor([1, 2, 0])
    with pytest.raises(DataError, match="all 3 validation" if right else "no better than chance"):
        fit_temperature(logits, targets)


def test_predict_evaluate_and_export_use_it_and_no_answer_changes(call, outputs, tmp_path):
    root = f"--root={outputs}"
    code, out, err = call("evaluate", "mlp", "resamples=0", "--json", root)
    assert code == 0, err
    before = json.loads(out)
    code, out, err = call("calibrate", "mlp", "--json", root)
    assert code == 0, err
    found = json.loads(out)
    code, out, err = call("evaluate", "mlp", "resamples=0", "--json", root)
    assert code == 0, err
    after, told = json.loads(out), found["splits"]["test"]
    assert f"temperature {found['temperature']:.3g}" in err
    assert after["confusion"] == before["confusion"]
    for which, measured in (("before", before), ("after", after)):
        error = measured["calibration"]["expected_calibration_error"]
        assert told[which]["calibration_error"] == pytest.approx(error, rel=1e-4, abs=1e-6)
        loss = measured["metrics"]["loss"]["value"]
        assert told[which]["log_loss"] == pytest.approx(loss, rel=1e-4)
    assert told["num_examples"] == 180
    ignored = call("evaluate", "mlp", "resamples=0", "--json", "calibration=ignore", root)[1]
    assert json.loads(ignored)["metrics"] == before["metrics"]

    image = load_digits_dataset().test.columns["inputs"][:1]
    Image.fromarray(image[0, 0].numpy()).save(tmp_path / "a.png")
    (row,) = csv.DictReader(
        io.StringIO(call("predict", "mlp", tmp_path / "a.png", "--csv", root)[1])
    )
    plain = load_trained(outputs / "2026-11-22/100000-mlp-digits/checkpoints/best.safetensors",
                         calibrated=False)  # fmt: skip
    with torch.no_grad():
        logits = portable(plain)(image)
        expected = (logits / found["temperature"]).softmax(1)[0]
        calibrated = load_trained(plain.path)
        torch.testing.assert_close(portable(calibrated)(image), logits / found["temperature"])
    np.testing.assert_allclose([float(row[str(c)]) for c in range(10)], expected, atol=2e-5)
    facts = describe(calibrated, portable(calibrated), "mlp", ["safetensors", "onnx"])
    divided = f"/ {found['temperature']!r}).softmax"
    assert divided in example_script(facts, "safetensors")
    assert divided not in example_script(facts, "onnx")


def test_a_calibration_of_other_weights_is_not_used_and_said_to_be(call, outputs):
    root, checkpoints = f"--root={outputs}", outputs / "2026-11-22/100000-mlp-digits/checkpoints"
    assert call("calibrate", "mlp", root)[0] == 0
    path = checkpoints / "best.calibration.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "checkpoint_sha256": "0" * 64}))
    code, _, err = call("evaluate", "mlp", "resamples=0", root)
    assert code == 0
    assert "made for other weights and is not used" in err
    assert "calibrated:" not in err


@pytest.mark.parametrize(
    "change",
    [{"temperature": 0.0}, {"temperature": "1"}, {"temperature": 1e9}, {"more": 1}, {"format": 2}],
)
def test_a_file_that_calibrate_has_not_written_is_refused(call, outputs, change):
    root, checkpoints = f"--root={outputs}", outputs / "2026-11-22/100000-mlp-digits/checkpoints"
    path = checkpoints / "best.calibration.json"
    good = {"temperature": 1.5, "num_examples": 9, "checkpoint_sha256": "0" * 64, "format": 1}
    path.write_text(json.dumps(good | change))
    code, _, err = call("evaluate", "mlp", root)
    assert code == 4
    assert "best.calibration.json" in err


def test_a_gan_has_no_temperature(call, real_root):
    code, _, err = call("calibrate", "gan", f"--root={real_root}")
    assert code == 2
    assert "cannot be calibrated: it is a GAN" in err
