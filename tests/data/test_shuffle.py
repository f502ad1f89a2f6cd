import pytest
import torch

from trainwright.data import batches as batches_module
from trainwright.data.batches import Batches
from trainwright.data.columns import Numbers
from trainwright.data.examples import Arrays
from trainwright.data.shuffle import shuffled


@pytest.mark.parametrize("num", [1, 2, 3, 4, 5, 63, 64, 65, 1000, 4097])
def test_every_number_is_at_one_place(num):
    assert shuffled(torch.arange(num), num, seed=1).sort().values.tolist() == list(range(num))


def test_numbers_are_within_billions():
    num = 5 * 10**9 + 1
    places = torch.randint(num, (10_000,), generator=torch.Generator().manual_seed(0)).unique()
    found = shuffled(places, num, seed=1)
    assert int(found.min()) >= 0
    assert int(found.max()) < num
    assert len(found.unique()) == len(places)


def test_an_order_looks_drawn():
    """Neighbours are as far apart as drawn ones, all over, and another seed's order is another."""
    num = 100_003
    order = shuffled(torch.arange(num), num, seed=1).double()
    expected, deviation = num / 3, num / 18**0.5  # of the distance of two drawn at random
    for gap in (1, 2, 64, 4096):
        distances = (order[gap:] - order[:-gap]).abs()
        off = (distances.mean() - expected) / deviation * len(distances) ** 0.5
        assert abs(off) < 5
    counts = torch.histc(order[: num // 10], bins=100, min=0, max=num)
    chi_square = ((counts - counts.mean()) ** 2 / counts.mean()).sum()
    assert chi_square < 99 + 5 * 198**0.5
    other = shuffled(torch.arange(num), num, seed=2).double()
    assert abs(torch.corrcoef(torch.stack([order, other]))[0, 1]) < 5 / num**0.5


def test_batches_of_very_many_examples_are_shuffled_passes_too(monkeypatch):
    monkeypatch.setattr(batches_module, "MOST_KEPT", 10)
    split = Arrays({"inputs": torch.arange(11.0)[:, None]})
    batches = Batches(
        split,
        {"inputs": Numbers(names=("a",))},
        batch_size=4,
        seed=3,
        device=torch.device("cpu"),
    )
    stream = torch.cat([batches.indices(step) for step in range(11)])
    passes = [part.sort().values.tolist() for part in stream.split(11)]
    assert passes == [list(range(11))] * 4
    assert torch.equal(batches.indices(5), batches.indices(5))
    assert len({tuple(part.tolist()) for part in stream.split(11)}) == 4
