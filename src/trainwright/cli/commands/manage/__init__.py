"""Commands that go on with runs, copy them or delete them."""
