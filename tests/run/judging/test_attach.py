"""The judge of the digits, made as a run makes it, shown sets of images whose score is known."""

import dataclasses
import logging

import pytest
import torch
from rounding import rounding
from torch import nn

from trainwright.data.columns import Classes
from trainwright.data.sources.digits import load_digits_dataset
from trainwright.data.splits import make_dataset, split_arrays, split_of
from trainwright.errors import ConfigError
from trainwright.run.judging.attach import attach_judge, final_judge, judge_of
from trainwright.run.judging.network import Recipe, make_task, quarters, turned
from trainwright.run.judging.store import store_folder
from trainwright.score.judge import MIN_EXAMPLES, Judge

pytestmark = pytest.mark.numeric
# In another batch an image has other last digits: sums of a layer have some 1,000 products.
ANOTHER_BATCH = rounding(torch.float32, 1000)
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def digits():
    """The digits, with all that is held out for validation: the network is the usual one."""
    usual = load_digits_dataset()
    parts = (usual.validation, usual.test)
    held_out = split_of(
        *(torch.cat([p.columns[name] for p in parts]) for name in ("inputs", "targets"))
    )
    return make_dataset(
        "digits",
        train=usual.train,
        validation=held_out,
        test=usual.test,
        target="classes",
        class_names=usual.info.class_names,
    )


@pytest.fixture(scope="module")
def judge(digits):
    return judge_of(digits, "own", num_samples=500, device=CPU)


def figures_of(judge, images, asked=None):
    return judge.figures(judge.look(images), asked)


def test_the_network_reads_digits_that_it_has_never_seen(judge, digits):
    floor = judge.floor
    assert judge.num_floor == len(digits.validation) == 360
    assert floor["as_asked"].value > 0.95
    assert floor["confident"].value > 0.9
    right = (
        judge.look(digits.test.columns["inputs"]).probabilities.argmax(1)
        == digits.test.columns["targets"]
    )
    assert right.double().mean() > 0.95


def test_real_images_are_at_the_floor_and_worse_ones_further_off_the_worse_they_are(judge, digits):
    floor = judge.floor["frechet"].value
    images = digits.validation.columns["inputs"]
    generator = torch.Generator().manual_seed(0)

    def noisy(levels):
        noise = levels * torch.randn(images.shape, generator=generator)
        return (images + noise).round().clamp(0, 255).byte()

    distances = [figures_of(judge, noisy(levels))["frechet"] for levels in (20, 60, 120)]
    assert floor < distances[0].value < distances[1].value < distances[2].value
    assert distances[1].value - floor > 3 * distances[1].error


def test_a_missing_class_shows_in_recall_entropy_and_the_smallest_share(judge, digits):
    kept = digits.validation.columns["targets"] != 3
    images, classes = (
        digits.validation.columns["inputs"][kept],
        digits.validation.columns["targets"][kept],
    )
    figures = figures_of(judge, images, classes)
    assert figures["smallest_class"].value < 0.2
    assert figures["class_entropy"].value < judge.floor["class_entropy"].value - 0.02
    assert figures["recall"].value < judge.floor["recall"].value - 0.03
    assert figures["as_asked"].value > 0.95


def test_wrong_classes_show_where_classes_were_asked_for(judge, digits):
    asked = digits.validation.columns["targets"].clone()
    asked[::2] = (asked[::2] + 1) % 10
    value = figures_of(judge, digits.validation.columns["inputs"], asked)["as_asked"].value
    assert 0.45 < value < 0.55


def test_a_collapsed_generator_is_precise_and_covers_nothing(judge, digits):
    one = digits.train.columns["inputs"][:1].expand(300, -1, -1, -1)
    figures = figures_of(judge, one)
    assert figures["precision"].value == 1
    assert figures["recall"].value < 0.05
    assert figures["coverage"].value < 0.05
    assert figures["class_entropy"].value == 0
    assert figures["frechet"].value > 20 * judge.floor["frechet"].value


def test_memorised_images_are_told_from_new_ones(judge, digits):
    memorised = figures_of(judge, digits.train.columns["inputs"][:360])
    assert memorised["copying"].value == 1
    fresh = judge.floor["nearest"].value  # of the size of the features
    assert memorised["nearest"].value < ANOTHER_BATCH * fresh
    assert memorised["frechet"].value < 2 * judge.floor["frechet"].value  # all else is fine
    assert judge.floor["copying"].value == pytest.approx(0.5)
    again = final_judge(judge, digits, CPU).floor
    assert again["nearest"].value == pytest.approx(fresh, rel=0.2)


def test_groups_of_the_floors_size_are_compared_with_it(judge, digits):
    """With a floor of 180 images, 360 images get what their two halves get on average."""
    images, classes = digits.validation.columns["inputs"], digits.validation.columns["targets"]
    seen = judge.look(images)
    half = Judge(
        name="half",
        look=judge.look,
        reference=judge.reference,
        held_out=judge.held_out,
        num_samples=180,
    )
    grouped = half.grouped_figures(seen, classes)
    first = half.figures(judge.look(images[:180]), classes[:180])
    second = half.figures(judge.look(images[180:]), classes[180:])
    for name, figure in grouped.items():
        mean = (first[name].value + second[name].value) / 2
        assert figure.value == pytest.approx(mean, rel=ANOTHER_BATCH, abs=1e-6), name
        spread = abs(first[name].value - second[name].value) / 2
        assert figure.error == pytest.approx(spread, rel=1e-3, abs=1e-5), name
    whole = half.figures(seen, classes)["frechet"].value
    assert grouped["frechet"].value > whole  # fewer examples, a larger distance


def test_a_bad_class_is_found_by_its_own_distance(judge, digits):
    images, classes = (
        digits.validation.columns["inputs"].clone(),
        digits.validation.columns["targets"],
    )
    images[classes == 4] = images[classes == 4].flip(3)
    real = judge.class_distances(judge.look(digits.validation.columns["inputs"]), classes)
    worse = judge.class_distances(judge.look(images), classes)
    assert set(real) == set(range(10))
    assert worse[4].value > 5 * real[4].value
    assert all(worse[c] == pytest.approx(real[c], rel=1e-3) for c in range(10) if c != 4)


def test_the_network_is_kept_and_found_again_whatever_the_seed_and_threads(judge, digits, caplog):
    files = {path: path.read_bytes() for path in store_folder().glob("*.safetensors")}
    torch.manual_seed(99)
    again = judge_of(digits, "own", num_samples=500, device=CPU)
    assert again.name == judge.name
    assert again.floor == judge.floor
    assert {path: path.read_bytes() for path in store_folder().glob("*.safetensors")} == files


@pytest.mark.slow
def test_who_trains_the_network_sees_the_same_bits_as_who_finds_it(tmp_path, monkeypatch):
    monkeypatch.setenv("TRAINWRIGHT_DATA", str(tmp_path))
    small = load_digits_dataset(limit=300)
    first, again = (judge_of(small, "own", num_samples=100, device=CPU) for _ in range(2))
    images = small.test.columns["inputs"]
    assert torch.equal(first.look(images).features, again.look(images).features)


@pytest.mark.slow
def test_a_damaged_network_is_trained_again_to_the_same_one(tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("TRAINWRIGHT_DATA", str(tmp_path))
    small = load_digits_dataset(limit=300)
    first = judge_of(small, "own", num_samples=100, device=CPU)
    (network,) = tmp_path.glob("score/network-*.safetensors")
    network.write_bytes(network.read_bytes()[:-7] + b"damaged")
    torch.manual_seed(5)
    torch.set_num_threads(2)
    try:
        with caplog.at_level(logging.WARNING, logger="trainwright"):
            again = judge_of(small, "own", num_samples=100, device=CPU)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)
    assert again.name == first.name
    assert "made again" in caplog.text


@pytest.mark.slow
def test_other_data_has_a_network_of_another_name(judge, digits):
    other = make_dataset(
        "digits",
        train=split_of(digits.train.columns["inputs"].flip(3), digits.train.columns["targets"]),
        validation=digits.validation,
        test=digits.test,
        target="classes",
        class_names=digits.info.class_names,
    )
    assert judge_of(other, "own", num_samples=100, device=CPU).name != judge.name


@pytest.mark.slow
@pytest.mark.parametrize("num_classes", [0, 1])
def test_without_classes_the_network_learns_which_way_up_an_image_is(digits, num_classes):
    """Of one class, such as a folder in which all images lie in one, it would learn nothing."""
    images = torch.cat([digits.train.columns["inputs"], digits.validation.columns["inputs"]])
    targets = torch.zeros(len(images), dtype=torch.int64) if num_classes else None
    unlabelled = split_arrays("plain", images, targets, validation=0.3, test=0.1)
    judge = judge_of(unlabelled, "own", num_samples=300, device=CPU)
    assert judge.name.startswith("plain-turns-")
    assert {"frechet", "kid", "precision", "copying"} <= set(judge.floor)
    assert not {"confident", "as_asked", "class_entropy"} & set(judge.floor)
    held_out = unlabelled.validation.columns["inputs"]
    upside_down = figures_of(judge, torch.rot90(held_out, 1, (2, 3)))
    assert upside_down["frechet"].value > 5 * judge.floor["frechet"].value
    memorised = figures_of(judge, unlabelled.train.columns["inputs"][:300])
    assert memorised["copying"].value == 1


@pytest.mark.parametrize(("classes", "outputs"), [((), 4), (("face",), 4), (("a", "b"), 2)])
def test_the_network_has_something_to_tell_apart(digits, classes, outputs):
    targets = {"targets": Classes(classes)} if classes else {}
    columns = {"inputs": digits.info.input, **targets}
    info = dataclasses.replace(digits.info, columns=columns, targets=tuple(targets))
    assert make_task(info, Recipe()).model(torch.zeros(2, 1, 8, 8)).shape == (2, outputs)


def test_turned_images_have_their_turn_for_a_class(digits):
    images = torch.arange(24, dtype=torch.uint8).view(8, 1, 1, 3)
    split = turned(split_of(images, None), digits.info)  # a quarter turn would change their shape
    assert quarters((1, 1, 3)) == (0, 2)
    assert torch.equal(split.columns["inputs"][:4], images[:4])
    assert torch.equal(split.columns["inputs"][4:], images[:4].flip(3))
    assert split.columns["targets"].tolist() == [0] * 4 + [1] * 4
    square = turned(
        split_of(torch.arange(16, dtype=torch.uint8).view(4, 1, 2, 2), None), digits.info
    )
    assert square.columns["inputs"][:, 0].tolist() == [
        [[0, 1], [2, 3]], [[1, 3], [0, 2]], [[3, 2], [1, 0]], [[2, 0], [3, 1]]
    ]  # fmt: skip


class Halves(nn.Module):
    """Features of a network of one's own: the mean brightness of each quarter of the image."""

    def forward(self, images):
        assert images.min() >= 0
        assert images.max() <= 1
        return nn.functional.adaptive_avg_pool2d(images, 2).flatten(1)


def test_a_network_of_ones_own_judges_by_its_features(digits):
    judge = judge_of(digits, Halves(), num_samples=400, device=CPU)
    assert judge.name.startswith("Halves-")
    expected = digits.train.columns["inputs"].float().div(255)
    quarters = torch.stack([expected[..., a, b].mean((1, 2, 3)) for a in (slice(0, 4), slice(4, 8))
                            for b in (slice(0, 4), slice(4, 8))], dim=1)  # fmt: skip
    order = judge.reference.indices
    torch.testing.assert_close(judge.reference.seen.features, quarters[order])
    dark = figures_of(judge, digits.validation.columns["inputs"] // 2)
    assert dark["frechet"].value > 10 * judge.floor["frechet"].value


class TaskStub:
    """What `attach_judge` asks of a task."""

    def __init__(self, features):
        self.score_features = features
        self.judge = None

    def be_judged_by(self, judge):
        self.judge = judge


def attached(dataset, features, num_samples=200):
    tasks = [TaskStub(features), TaskStub(features)]
    judge = attach_judge(tasks, dataset, num_samples=num_samples, device=CPU)
    assert all(task.judge is judge for task in tasks)
    return judge


def test_who_wants_no_score_gets_no_judge(digits):
    assert attached(digits, None) is None
    assert attached(digits, "own", num_samples=0) is None


def test_too_few_images_get_no_score_and_a_line(digits, caplog):
    few = load_digits_dataset(validation=MIN_EXAMPLES - 1)
    with caplog.at_level(logging.INFO, logger="trainwright"):
        assert attached(few, "own") is None
    assert "score: none" in caplog.text


def test_too_few_samples_are_refused(digits):
    with pytest.raises(ConfigError, match=r"score_samples=7: .* at least 50"):
        attached(digits, "own", num_samples=7)


@pytest.mark.parametrize("network", [nn.Identity(), nn.Linear(3, 5)])
def test_a_network_that_makes_no_features_is_refused_with_what_it_did(digits, network):
    with pytest.raises(ConfigError, match=r"task\.score: .* makes no features") as error:
        attached(digits, network)
    assert len(str(error.value).splitlines()) <= 5
