"""What `precision=auto` chooses on a CPU that multiplies bf16."""

import pytest

from trainwright.engine.device import device
from trainwright.engine.settings import TrainerSettings

SMALL_MLP, LARGE_MLP = 784 * 64 + 64 * 64 + 64 * 10, 784 * 512 + 512 * 256 + 256 * 10


@pytest.mark.parametrize(
    ("settings", "facts", "expected"),
    [
        ({}, {"num_weights": LARGE_MLP}, "bf16"),
        ({}, {"num_weights": SMALL_MLP}, "fp32"),
        ({"batch_size": 512}, {"num_weights": SMALL_MLP}, "bf16"),
        ({"batch_size": 512, "accumulate": 8}, {"num_weights": SMALL_MLP}, "fp32"),
        ({}, {"num_weights": SMALL_MLP, "has_convolutions": True}, "bf16"),
        ({}, {"num_weights": LARGE_MLP, "num_values": 64}, "fp32"),
        ({"batch_size": 1}, {"num_weights": SMALL_MLP, "num_tokens": 1025}, "bf16"),
        ({"batch_size": 1}, {"num_weights": SMALL_MLP, "num_tokens": 65}, "fp32"),
        ({}, {"num_weights": LARGE_MLP, "wants_fp32": True}, "fp32"),
        ({"precision": "bf16"}, {"num_weights": SMALL_MLP}, "bf16"),
    ],
)
def test_auto_casts_where_there_is_much_to_multiply(settings, facts, expected, monkeypatch):
    monkeypatch.setattr(device, "multiplies_bf16", lambda device_type: True)
    given = {"wants_fp32": False, "has_convolutions": False, "num_values": 784, **facts}
    options = TrainerSettings(**{"device": "cpu", "batch_size": 64, **settings})
    assert device.place(options, **given).precision == expected
