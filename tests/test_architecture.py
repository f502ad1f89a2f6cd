"""Imports point one way, read from the source itself; files stay small and say what they are."""

import ast
from pathlib import Path

import pytest

import trainwright

PACKAGE = Path(trainwright.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))

# From the shell inwards: each may import itself and what comes after it.
LAYERS = (
    "cli",
    "sweep",
    "stack",
    "export",
    "inference",
    "run",
    "scoring",
    "config",
    "hooks",
    "engine",
    "tasks",
    "nn",
)
# What anyone may call, and which calls nothing but each other's foundations.
LEAVES = {"catalogue", "data", "loggers", "report", "score"}
FOUNDATIONS = {
    "config_folder",
    "errors",
    "files",
    "intervals",
    "lock",
    "runfolder",
    "seeds",
    "wording",
    "__init__",
}

HYDRA = {"hydra", "omegaconf", "pydantic", "yaml"}
MAY_IMPORT_HYDRA = {"cli", "sweep", "inference", "run", "config"}


def imports(path):
    """Every module that a file imports, wherever in it, as a dotted name."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            assert node.module is not None
            yield node.module


def part_of(path):
    """The folder or module of the package that a file belongs to."""
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def own_imports(path):
    """The parts of the package that a file imports."""
    for name in imports(path):
        first, *rest = name.split(".")
        if first == "trainwright":
            yield rest[0] if rest else "__init__"


def test_every_part_of_the_package_has_a_place_in_these_rules():
    parts = {part_of(path) for path in FILES}
    assert parts == set(LAYERS) | LEAVES | FOUNDATIONS


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_inwards(path):
    part = part_of(path)
    if part in FOUNDATIONS:
        allowed = FOUNDATIONS
    elif part in LEAVES:
        allowed = FOUNDATIONS | {part}
    else:
        allowed = set(LAYERS[LAYERS.index(part) :]) | LEAVES | FOUNDATIONS
    assert set(own_imports(path)) <= allowed


@pytest.mark.parametrize("path", sorted((PACKAGE / "engine").glob("*.py")), ids=lambda p: p.name)
def test_the_engine_knows_no_particular_task(path):
    of_tasks = {name for name in imports(path) if name.startswith("trainwright.tasks")}
    assert of_tasks <= {"trainwright.tasks.task", "trainwright.tasks.health"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_only_what_reads_configs_imports_hydra(path):
    found = {name.split(".")[0] for name in imports(path)} & HYDRA
    if path == PACKAGE / "engine" / "settings.py":
        assert found <= {"pydantic"}
    elif path == PACKAGE / "catalogue" / "stored.py":
        assert found <= {"yaml"}  # only the safe loader: it reads a stored config
    elif part_of(path) not in MAY_IMPORT_HYDRA:
        assert found == set()


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_file_is_about_one_thing(path):
    assert path.stem not in {"utils", "util", "helpers", "base", "common", "misc"}
    assert len(path.read_text().splitlines()) <= 300
    assert ast.get_docstring(ast.parse(path.read_text())), "says first what it is"
