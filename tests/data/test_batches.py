import mmap
import random

import pytest
import torch
from sklearn.preprocessing import StandardScaler

from trainwright.data.batches import Batches, Normalisation
from trainwright.data.dataset import DataInfo, Split
from trainwright.data.images.augment import make_augment
from trainwright.data.sources.digits import load_digits_dataset
from trainwright.data.sources.tabular import load_tabular
from trainwright.data.splits import make_dataset, split_indices

pytestmark = pytest.mark.numeric
CPU = torch.device("cpu")
AS_IS = Normalisation(scale=(1.0,), shift=(0.0,))


def numbered(num_examples, **options):
    """Batches of examples that each hold their own number."""
    split = Split(torch.arange(float(num_examples))[:, None], torch.arange(num_examples))
    settings = {"batch_size": 7, "seed": 0, "device": CPU, **options}
    return Batches(split, AS_IS, **settings)


def stream(batches, num_steps):
    return [i for step in range(num_steps) for i in batches.at(step).targets.tolist()]


@pytest.mark.parametrize(("num_examples", "batch_size"), [(20, 7), (21, 7), (7, 7), (100, 33)])
def test_every_pass_holds_every_example_once_in_batches_of_one_size(num_examples, batch_size):
    batches = numbered(num_examples, batch_size=batch_size)
    num_steps = 6 * num_examples // batch_size
    assert {len(batches.at(step).inputs) for step in range(num_steps)} == {batch_size}
    seen = stream(batches, num_steps)
    orders = []
    for start in range(0, len(seen) - num_examples + 1, num_examples):
        window = seen[start : start + num_examples]
        assert sorted(window) == list(range(num_examples))
        orders.append(tuple(window))
    assert len(orders) >= 5
    assert len(set(orders)) == len(orders)  # each pass is shuffled anew


def test_inputs_and_targets_stay_together():
    batches = numbered(50)
    for step in range(20):
        inputs, targets = batches.at(step)
        assert inputs[:, 0].long().equal(targets)


def test_a_batch_is_a_function_of_seed_and_step_in_whatever_order_it_is_asked():
    dataset = load_digits_dataset(limit=100)
    augment = make_augment({"shift": 2, "rotate": 10}, input_shape=(1, 8, 8))

    def fresh():
        normalisation = Normalisation.standard(dataset.info)
        options = {"batch_size": 32, "seed": 5, "device": CPU, "augment": augment}
        return Batches(dataset.train, normalisation, **options)

    forwards = fresh()
    expected = {step: forwards.at(step) for step in range(15)}
    shuffled = fresh()
    for step in random.Random(0).sample(range(15), 15):
        torch.rand(3)  # what others draw must not matter
        batch = shuffled.at(step)
        assert torch.equal(batch.inputs, expected[step].inputs)
        assert torch.equal(batch.targets, expected[step].targets)
    assert torch.equal(fresh().at(11).inputs, expected[11].inputs)


def test_augmentation_is_drawn_anew_for_every_step_and_seed():
    """All examples are one image, so that only the draws can tell batches apart."""
    image = torch.arange(64, dtype=torch.uint8).view(1, 1, 8, 8)
    split = Split(image.repeat(16, 1, 1, 1), None)
    augment = make_augment({"shift": 3}, input_shape=(1, 8, 8))
    streams = [
        Batches(split, AS_IS, batch_size=16, seed=seed, device=CPU, augment=augment)
        for seed in (0, 1)
    ]
    drawn = [batches.at(step).inputs for batches in streams for step in range(4)]
    for first in range(len(drawn)):
        for second in range(first):
            assert not torch.equal(drawn[first], drawn[second])


@pytest.mark.parametrize("is_mapped", [False, True])
def test_a_batch_is_made_of_its_material_to_the_bit(tmp_path, is_mapped):
    """Where all examples are at hand that is their indices, else they themselves as stored."""
    images = torch.randint(256, (40, 3, 8, 8), dtype=torch.uint8)
    path = tmp_path / "images.bin"
    path.write_bytes(images.numpy().tobytes())
    with path.open("r+b") as file:
        mapping = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    inputs = torch.frombuffer(mapping, dtype=torch.uint8).view_as(images)
    split = Split(inputs, torch.arange(40), mapping if is_mapped else None)
    batches = Batches(
        split,
        Normalisation(scale=(1.0, 2.0, 3.0), shift=(0.0, 1.0, 2.0)),
        batch_size=7,
        seed=0,
        device=CPU,
        memory_format=torch.channels_last,
        augment=make_augment({"shift": 2, "flip": True}, input_shape=(3, 8, 8)),
    )
    generator = batches.reseeded(None, 0)
    for step in (0, 3, 11):  # the last runs on from one pass into the next
        material = batches.material(step)
        assert [t.shape for t in material] == ([(7, 3, 8, 8), (7,)] if is_mapped else [(7,)])
        made = batches.made_of(material, batches.reseeded(generator, step))
        expected = batches.at(step)
        assert torch.equal(made.inputs, expected.inputs)
        assert made.inputs.stride() == expected.inputs.stride()
        assert torch.equal(made.targets, expected.targets)


def flipped_in(batches, num_steps):
    """For each step which examples came mirrored, as pairs of their number and that."""
    found = []
    for step in range(num_steps):
        inputs, targets = batches.at(step)
        first, last = inputs[:, 0, 0, 0], inputs[:, 0, 0, -1]  # 0 and 1 as stored
        assert ((first == 1) ^ (last == 1)).all()
        found.append(list(zip(targets.tolist(), (first == 1).tolist(), strict=True)))
    return found


def alternating(seed=3, num_examples=50):
    images = torch.zeros(num_examples, 1, 2, 4, dtype=torch.uint8)
    images[..., -1] = 1
    augment = make_augment({"flip": "alternating"}, input_shape=(1, 2, 4))
    split = Split(images, torch.arange(num_examples))
    return Batches(split, AS_IS, batch_size=7, seed=seed, device=CPU, augment=augment)


def test_alternating_flips_show_every_example_both_ways_in_any_two_passes():
    """Batches run on from one pass into the next, and each example is flipped by its own pass."""
    seen = [pair for step in flipped_in(alternating(), 29) for pair in step]
    passes = [dict(seen[start : start + 50]) for start in (0, 50, 100, 150)]
    assert all(len(one) == 50 for one in passes)
    assert 10 < sum(passes[0].values()) < 40  # a coin for each
    assert passes[1] == {number: not flipped for number, flipped in passes[0].items()}
    assert passes[2] == passes[0]
    assert passes[3] == passes[1]


def test_alternating_flips_are_a_function_of_seed_and_step_in_whatever_order_they_are_asked():
    whole = flipped_in(alternating(), 20)
    fresh = alternating()
    backwards = {step: fresh.at(step) for step in reversed(range(20))}
    for step, pairs in enumerate(whole):
        inputs, targets = backwards[step]
        flips = (inputs[:, 0, 0, 0] == 1).tolist()
        assert list(zip(targets.tolist(), flips, strict=True)) == pairs
    coins = [dict(pair for step in flipped_in(alternating(s), 7) for pair in step) for s in (3, 4)]
    assert coins[0] != coins[1]


def test_another_seed_is_another_order():
    assert stream(numbered(50, seed=0), 7) != stream(numbered(50, seed=1), 7)


@pytest.mark.parametrize("batch_size", [1, 7, 20, 64])
def test_in_order_yields_everything_once_as_stored(batch_size):
    batches = list(numbered(20).in_order(batch_size))
    assert [i for batch in batches for i in batch.targets.tolist()] == list(range(20))
    assert all(len(batch.inputs) <= batch_size for batch in batches)


@pytest.mark.parametrize("batch_size", [3, 13, 64])
@pytest.mark.parametrize("limit", [1, 4, 13, 19, 20, 30])
def test_so_many_in_order_are_spread_over_a_split_that_may_be_sorted(batch_size, limit):
    batches = list(numbered(20).in_order(batch_size, limit=limit))
    found = [i for batch in batches for i in batch.targets.tolist()]
    assert len(found) == len(set(found)) == min(limit, 20)
    for start in (0, 5, 10, 15):  # of a sorted split each quarter has its share
        share = sum(start <= i < start + 5 for i in found)
        assert abs(share - len(found) / 4) < 1


def everything(dataset, normalisation):
    settings = {"batch_size": 8, "seed": 0, "device": CPU}
    batches = Batches(dataset.train, normalisation, **settings).in_order(500)
    return torch.cat([batch.inputs for batch in batches]).double()


@pytest.mark.usefixtures("doubles")
def test_standard_normalisation_of_a_table_is_scikit_learn_s_scaler():
    dataset = load_tabular(name="breast_cancer")
    ours = everything(dataset, Normalisation.standard(dataset.info))
    theirs = StandardScaler().fit_transform(dataset.train.inputs.double().numpy())
    torch.testing.assert_close(ours, torch.from_numpy(theirs))


def colours():
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 200, (90, 3, 6, 5), generator=generator, dtype=torch.uint8)
    images[:, 1] //= 3
    split = Split(images, None)
    return make_dataset("colours", train=split, validation=split, test=split, target="none")


@pytest.mark.usefixtures("doubles")
def test_standard_normalisation_of_images_gives_each_channel_mean_0_and_std_1():
    for dataset in (colours(), load_digits_dataset()):
        pixels = everything(dataset, Normalisation.standard(dataset.info))
        zeros = torch.zeros(pixels.shape[1], dtype=torch.float64)
        torch.testing.assert_close(pixels.mean((0, 2, 3)), zeros)
        std = pixels.std((0, 2, 3), correction=0)
        torch.testing.assert_close(std, zeros + 1)


@pytest.mark.usefixtures("doubles")
def test_symmetric_normalisation_spans_minus_1_to_1():
    images = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16)
    info = DataInfo("ramp", (1, 16, 16), "none", (), (0.5,), (0.3,))
    batches = Batches(
        Split(images, None), Normalisation.symmetric(info), batch_size=1, seed=0, device=CPU
    )
    expected = torch.linspace(-1, 1, 256, dtype=torch.float64)
    torch.testing.assert_close(batches.at(0).inputs.flatten(), expected)


AUGMENTS = [{"shift": 3}, {"rotate": 40}, {"scale": 0.5}, {"cutout": 4}]


@pytest.mark.parametrize("model", [["model=mlp"], ["model=mlp_gan", "task.score=none"]])
def test_black_stays_black_under_augmentation(assembled, model):
    """What comes in at the border is the background of the normalised images, not grey."""
    assembly = assembled(*model, "data.limit=100", "trainer.batch_size=50")
    black = assembly.state.task.normalisation.shift[0]
    split = Split(torch.zeros(100, 1, 8, 8, dtype=torch.uint8), torch.zeros(100).long())
    for augment in AUGMENTS:
        inputs = assembly.make_batches(split, augment).at(0).inputs
        torch.testing.assert_close(inputs, torch.full_like(inputs, black))


def test_channels_last_changes_the_layout_and_no_value():
    dataset = colours()
    plain, last = (
        Batches(dataset.train, Normalisation.standard(dataset.info), batch_size=8, seed=0,
                device=CPU, memory_format=memory_format)
        for memory_format in (torch.contiguous_format, torch.channels_last)
    )  # fmt: skip
    assert torch.equal(plain.at(3).inputs, last.at(3).inputs)
    assert last.at(3).inputs.is_contiguous(memory_format=torch.channels_last)
    assert last.at(3).targets is None


def test_no_digit_is_in_two_splits():
    dataset = load_digits_dataset()
    parts = (dataset.train, dataset.validation, dataset.test)
    indices = split_indices(
        1797, validation=0.1, test=0.1, seed=0, classes=_digits_in_source_order()
    )
    together = torch.cat(indices)
    assert len(together.unique()) == len(together) == 1797
    # The stored images are those of the indices, and share memory with no other split.
    assert [len(part) for part in parts] == [len(part) for part in indices]
    pointers = [part.inputs.untyped_storage().data_ptr() for part in parts]
    assert len(set(pointers)) == 3
    contents = [{tuple(i.flatten().tolist()) for i in part.inputs} for part in parts]
    for first in range(3):
        for second in range(first):
            assert len(contents[first] & contents[second]) <= _num_duplicates()


def _digits_in_source_order():
    from sklearn.datasets import load_digits

    return torch.from_numpy(load_digits().target).long()


def _num_duplicates():
    """How many images of the source are there more than once."""
    from sklearn.datasets import load_digits

    images = load_digits().images.reshape(1797, -1)
    return 1797 - len({tuple(image) for image in images})
