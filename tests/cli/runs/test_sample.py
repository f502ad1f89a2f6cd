"""`runs sample`: what the generator of a run draws, from its checkpoint alone."""

import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from trainwright.engine.checkpoint import checkpoint
from trainwright.report.plots.animation import animate
from trainwright.tasks.generated.draw import slerp

pytestmark = pytest.mark.numeric


def files_of(folder):
    return {p: (p.stat().st_mtime_ns, p.read_bytes()) for p in folder.rglob("*") if p.is_file()}


@pytest.fixture
def gan(real_root, tmp_path, monkeypatch) -> Path:
    """A copy of the GAN's run alone, elsewhere, that cannot be written to."""
    folder = tmp_path / "copied"
    shutil.copytree(real_root / "2026-11-22" / "110000-gan-digits", folder)
    for path in [*folder.rglob("*"), folder]:
        path.chmod(path.stat().st_mode & ~0o222)
    monkeypatch.chdir(tmp_path)
    yield folder
    for path in [folder, *folder.rglob("*")]:
        path.chmod(path.stat().st_mode | 0o200)


@pytest.fixture
def array(call, gan, tmp_path):
    """Call `runs sample ... format=npy` and return the images."""

    def sample(*words: str) -> np.ndarray:
        code, _, err = call("sample", gan, *words, "format=npy", "out=sample.npy")
        assert code == 0, err
        return np.load(tmp_path / "sample.npy", allow_pickle=False)

    return sample


def test_a_grid_is_written_beside_and_the_run_is_not_touched(call, gan, tmp_path):
    before = files_of(gan)
    code, out, _ = call("sample", gan)
    assert code == 0
    _, metadata = checkpoint.load(gan / "checkpoints" / "best.safetensors")
    step = metadata["progress"]["step"]
    assert out == f"samples-copied/step{step}-n64-seed0.png\n"
    with Image.open(tmp_path / out.strip()) as picture:
        assert picture.size == (10 * (48 + 2) + 2, 7 * (48 + 2) + 2)  # a column a class
    assert files_of(gan) == before


def test_the_images_are_those_of_the_averaged_generator(array, gan):
    tensors, metadata = checkpoint.load(gan / "checkpoints" / "best.safetensors")
    drawn = array("n=12", "class=3", "seed=5")
    # The same by hand: another way to build the network, the averages, and the seed's latents.
    from trainwright.nn.conv_gan import conv_gan
    from trainwright.seeds import generator_for

    arguments = {k: v for k, v in metadata["config"]["model"].items() if k != "_target_"}
    model = conv_gan(**arguments, input_shape=(1, 8, 8), num_classes=10)
    generator = model.generator.eval()
    averaged = checkpoint.under("averaged.generator", tensors)
    trained = checkpoint.under("task.model.generator", tensors)
    assert any(not torch.equal(averaged[name], trained[name]) for name in averaged)
    generator.load_state_dict(averaged)
    latents = torch.randn(12, model.latent_dim, generator=generator_for(5, "sample"))
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=bf16()):
        expected = (generator(latents, torch.full((12,), 3)).float() + 1) / 2
    np.testing.assert_allclose(drawn, expected.numpy(), atol=2e-2 if bf16() else 1e-5)
    generator.load_state_dict(trained)
    with torch.no_grad():
        other = (generator(latents, torch.full((12,), 3)).float() + 1) / 2
    assert np.abs(drawn - other.numpy()).mean() > 10 * np.abs(drawn - expected.numpy()).mean()


def bf16():
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


@pytest.mark.slow
def test_sampling_imports_neither_compiler_nor_plots_nor_datasets(gan, tmp_path, imported_by):
    """Each of them takes as long to import as torch itself."""
    heavy = {"torch._dynamo", "sympy", "matplotlib", "sklearn", "scipy"}
    ((_, imported),) = imported_by(["sample", gan], among=heavy)
    assert imported == []


def test_a_seed_gives_the_same_images_and_another_others(array):
    first, again, other = array("seed=1"), array("seed=1"), array("seed=2")
    assert first.shape == (64, 1, 8, 8)
    assert first.dtype == np.float32
    assert first.min() >= 0
    assert first.max() <= 1
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_classes_are_taken_in_turn_and_named_or_numbered(call, gan, tmp_path):
    code, _, _ = call("sample", gan, "n=5", "class=3,7", "format=npy,images", "out=here")
    assert code == 0
    classes = np.load(next((tmp_path / "here").glob("*-classes.npy")))
    assert classes.tolist() == [3, 7, 3, 7, 3]
    folder = next(p for p in (tmp_path / "here").iterdir() if p.is_dir())
    names = sorted(p.name for p in folder.iterdir())
    assert names == [f"{i}-class{c}.png" for i, c in enumerate([3, 7, 3, 7, 3])]
    images = np.load(next(p for p in (tmp_path / "here").glob("*.npy") if "classes" not in p.name))
    for number, name in enumerate(names):
        with Image.open(folder / name) as picture:
            assert picture.size == (8, 8)
            pixels = np.asarray(picture)[:, :, 0] / 255
        assert np.abs(pixels - images[number, 0]).max() <= 0.5 / 255 + 1e-6


def test_strips_go_from_one_latent_to_another(array):
    strips = array("interpolate=9", "n=3").reshape(3, 9, 8, 8)
    steps = np.abs(np.diff(strips, axis=1)).mean(axis=(0, 2, 3))
    whole = np.abs(strips[:, 0] - strips[:, -1]).mean()
    assert (steps > 0).all()
    assert steps.max() < whole  # many small steps


def test_the_way_between_two_latents_keeps_to_the_sphere():
    start, end = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])
    middle = math.sqrt(0.5)
    torch.testing.assert_close(slerp(start, end, 0.5), torch.tensor([[middle, middle]]))
    third = torch.tensor([[math.cos(math.pi / 6), math.sin(math.pi / 6)]])
    torch.testing.assert_close(slerp(start, end, 1 / 3), third)
    torch.testing.assert_close(slerp(start, end, 0.0), start)
    torch.testing.assert_close(slerp(start, 2 * start, 0.5), 1.5 * start)  # the same direction


@pytest.mark.parametrize("kind", ["gif", "webp"])
def test_progress_shows_the_grids_in_the_order_of_their_steps(kind, tmp_path):
    (tmp_path / "samples").mkdir()
    for step, level in ((1000, 200), (20, 100), (3, 0)):
        Image.new("RGB", (20, 10), (level,) * 3).save(tmp_path / f"samples/{step:06d}.png")
    path = tmp_path / f"moving.{kind}"
    assert animate(tmp_path / "samples", path) == 3
    with Image.open(path) as picture:
        assert picture.n_frames == 3
        levels = []
        for frame in range(3):
            picture.seek(frame)
            levels.append(picture.convert("RGB").getpixel((5, 5))[0])
    assert levels == [0, 100, 200]


def test_progress_of_a_run(call, gan, tmp_path):
    code, out, _ = call("sample", gan, "progress=gif")
    assert code == 0
    with Image.open(tmp_path / out.strip()) as picture:
        assert picture.n_frames == len(list((gan / "samples").glob("*.png"))) == 2


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["sed=4"], 2, "sed: there is no such key; did you mean seed?"),
        (["n=0"], 2, "n=0: it must be a whole number, from 1"),
        (["n=4", "n=5"], 2, "n is given twice"),
        (["class=ten"], 2, "class=ten: there is no such class"),
        (["class=10"], 2, "classes are: 0, 1, 2"),
        (["format=jpg"], 2, "one or more of png, images, npy"),
        (["format=png,npy", "out=x.png"], 2, "name a folder"),
        (["out=x.jpg"], 2, "pictures are written as .png, .gif or .webp"),
        (["out=x.npy"], 2, "the output is a .png file"),
        (["n=10001"], 2, "a grid holds at most"),
        (["interpolate=1"], 2, "interpolate=1"),
        (["progress=gif", "seed=3"], 2, "seed=... has no effect with progress=gif"),
        (["device=warp"], 2, "device=warp"),
        (["grid"], 2, "write key=value"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_mistakes_are_named_and_nothing_is_written(words, code, said, call, gan, tmp_path):
    result = call("sample", gan, *words)
    assert result[0] == code
    assert said in result[2]
    assert [p.name for p in tmp_path.iterdir()] == ["copied"]


def test_a_classifier_has_nothing_to_sample(call, real_root):
    code, _, err = call("sample", "mlp", f"--root={real_root}")
    assert code == 2
    assert "runs predict" in err


def test_a_damaged_checkpoint_and_none_end_with_4(call, real_root, tmp_path):
    folder = tmp_path / "copied"
    shutil.copytree(real_root / "2026-11-22" / "110000-gan-digits", folder)
    for path in (folder / "checkpoints").iterdir():
        content = path.read_bytes()
        path.write_bytes(content[:-9] + bytes([content[-9] ^ 1]) + content[-8:])
    assert call("sample", folder)[0] == 4
    shutil.rmtree(folder / "checkpoints")
    code, _, err = call("sample", folder)
    assert code == 4
    assert "has no checkpoint" in err


@pytest.mark.parametrize(
    "change",
    [
        {"inputs": {"size": [1, 10**6, 10**6]}},
        {"inputs": {"size": []}},
        {"inputs": {"mean": []}},
        {"inputs": {"std": [0.0]}},
        {"inputs": {"mean": [10**400]}},
        {"inputs": {"kind": "other"}},
        {"targets": {"names": 7}},
        {"targets": {"names": []}},
        None,
    ],
    ids=str,
)
def test_facts_that_do_not_fit_are_refused(change, call, real_root, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "copied"
    shutil.copytree(real_root / "2026-11-22" / "110000-gan-digits", folder)
    path = folder / "checkpoints" / "best.safetensors"
    tensors, metadata = checkpoint.load(path)
    metadata.pop("format")
    if change is None:
        metadata["data"] = None
    for column, fields in (change or {}).items():
        metadata["data"]["columns"][column] |= fields
    checkpoint.save([path], tensors, metadata)
    code, _, err = call("sample", folder)
    assert code == 4, err
    assert json.loads((folder / "summary.json").read_text())["status"] == "finished"


def test_a_class_that_is_not_ours_is_built_only_when_trusted(call, real_root, tmp_path):
    folder = tmp_path / "copied"
    shutil.copytree(real_root / "2026-11-22" / "110000-gan-digits", folder)
    path = folder / "checkpoints" / "best.safetensors"
    tensors, metadata = checkpoint.load(path)
    metadata.pop("format")
    metadata["config"]["model"] = {"_target_": "os.system", "command": f"touch {tmp_path}/canary"}
    checkpoint.save([path], tensors, metadata)
    code, _, err = call("sample", folder)
    assert code == 2
    assert "trust=[os.system]" in err
    code, _, err = call("sample", folder, "trust=os.system")  # is no module either
    assert code == 2
    assert not (tmp_path / "canary").exists()
