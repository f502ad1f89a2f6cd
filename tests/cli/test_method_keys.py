"""The keys of a command that a method takes, read from its source alone."""

import pytest

from trainwright.cli.terminal.keys import parse_keys
from trainwright.cli.terminal.method_keys import method_keys

SOURCE = '''
from typing import Annotated
from missing import Task

class Parent(Task):
    def generate(self, num=3, *, seed, sharp: Annotated[bool, "no blur"] = False,
                 size: "int | None" = None, how: float = 0.5): ...

class Child(Parent):
    """Draws as its parent does."""
'''


@pytest.fixture
def keys(tmp_path, monkeypatch):
    (tmp_path / "drawing.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(tmp_path)
    return method_keys("drawing.Child", "generate", besides=frozenset({"seed"}))


def test_they_are_those_of_the_class_it_is_derived_from_with_types_and_help(keys):
    assert [(key.name, key.help) for key in keys] == [
        ("sharp", "no blur (False)"),
        ("size", ""),
        ("how", "(0.5)"),
    ]
    assert parse_keys(["sharp=true", "size=7"], keys) == {"sharp": True, "size": 7, "how": None}


def test_a_class_that_is_not_found_has_none():
    assert method_keys("nowhere.Task", "generate", besides=frozenset()) == ()
