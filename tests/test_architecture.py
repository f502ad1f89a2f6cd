"""Imports point one way, read from the source itself; files stay small and say what they are."""

import ast
from pathlib import Path

import pytest

import trainwright

PACKAGE = Path(trainwright.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))

# From the shell inwards: each may import itself and what comes after it.
LAYERS = (
    "__main__",
    "api",  # the same for programs: it calls the commands' own functions, and prints nothing
    "cli",
    "sweep",
    "stack",
    "inference",
    "run",
    "config",
    "hooks",
    "engine",
    "tasks",
    "score",
    "nn",
    "data",
    "report",
    "runs",
)
# What all may import, and which import nothing but each other.
FOUNDATIONS = {
    "command_line",
    "config_folder",
    "cores",
    "errors",
    "files",
    "own_process",
    "progress",
    "seeds",
    "stop_signals",
    "streams",
    "targets",
    "wording",
    "__init__",
}

HYDRA = {"hydra", "omegaconf", "pydantic", "yaml"}
MAY_IMPORT_HYDRA = {"api", "cli", "sweep", "inference", "run", "config"}


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
    assert parts == set(LAYERS) | FOUNDATIONS


def places(part):
    """What the files of a part may import of the package."""
    if part == "__init__":  # whose names are fetched from there when they are asked for
        return FOUNDATIONS | {"api"}
    if part in FOUNDATIONS:
        return FOUNDATIONS
    return set(LAYERS[LAYERS.index(part) :]) | FOUNDATIONS


def of_hydra(path):
    """What a file may import of Hydra and what comes with it."""
    checked = ("settings.py", "checkpoint/metadata.py", "checkpoint/calibration.py")
    if path in [PACKAGE / "engine" / name for name in checked]:
        return {"pydantic"}
    if path == PACKAGE / "runs" / "stored.py":
        return {"yaml"}  # only the safe loader: it reads a stored config
    return HYDRA if part_of(path) in MAY_IMPORT_HYDRA else set()


def refused(found_and_allowed):
    """The files in which something is found that is not allowed in them, each with what it is."""
    found = {str(path.relative_to(PACKAGE)): set(f) - a for path, f, a in found_and_allowed}
    return {name: what for name, what in found.items() if what}


def test_imports_point_inwards():
    assert refused((path, own_imports(path), places(part_of(path))) for path in FILES) == {}


@pytest.mark.parametrize("part", ["engine", "stack"])
def test_who_makes_steps_knows_no_particular_task(part):
    allowed = {f"trainwright.tasks.{name}" for name in ("task", "health", "metrics.metric")}
    of_tasks = {
        path: [name for name in imports(path) if name.startswith("trainwright.tasks")]
        for path in (PACKAGE / part).rglob("*.py")
    }
    assert of_tasks
    assert refused((path, found, allowed) for path, found in of_tasks.items()) == {}


def test_only_what_reads_configs_imports_hydra():
    def found(path):
        return {name.split(".")[0] for name in imports(path)} & HYDRA

    assert refused((path, found(path), of_hydra(path)) for path in FILES) == {}


def test_a_file_is_about_one_thing_and_says_first_what_it_is():
    vague = {"utils", "util", "helpers", "base", "common", "misc"}
    assert [path for path in FILES if path.stem in vague] == []
    assert [path for path in FILES if len(path.read_text().splitlines()) > 300] == []
    assert [path for path in FILES if not ast.get_docstring(ast.parse(path.read_text()))] == []


def test_a_public_method_says_what_it_does_or_overrides_one_that_says_it():
    classes = {}
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef):
                classes.setdefault(node.name, []).append(node)

    def described(node):
        """The methods with a docstring, of a class and those that it derives from."""
        yield from (m.name for m in methods_of(node) if ast.get_docstring(m))
        for base in node.bases:
            name = ast.unparse(base).partition("[")[0].rpartition(".")[2]
            for other in classes.get(name, ()) if name != node.name else ():
                yield from described(other)

    silent = {
        f"{name}.{method.name}"
        for name, nodes in classes.items()
        for node in nodes
        if not name.startswith("_")
        for method in methods_of(node)
        if not method.name.startswith("_") and method.name not in described(node)
    }
    assert silent == set()


def methods_of(node):
    """The functions in the body of a class."""
    return [found for found in node.body if isinstance(found, ast.FunctionDef)]


def test_a_folder_has_at_most_a_dozen_files():
    folders = {path.parent for path in FILES}
    full = {f: len([p for p in f.glob("*.py") if not p.stem.startswith("__")]) for f in folders}
    assert {str(f.relative_to(PACKAGE)): n for f, n in full.items() if n > 12} == {}


def test_no_files_import_each_other_in_a_circle():
    names = {path: module_of(path) for path in FILES}
    paths = {name: path for path, name in names.items()}
    arrows = {
        path: {paths[name] for name in imports_at_once(path) if name in paths} for path in FILES
    }
    done, on_the_way = set(), []

    def visit(path):
        assert path not in on_the_way, " -> ".join(names[p] for p in [*on_the_way, path])
        if path not in done:
            on_the_way.append(path)
            for other in sorted(arrows[path] - {path}):
                visit(other)
            done.add(on_the_way.pop())

    for path in FILES:
        visit(path)


def module_of(path):
    return ".".join(("trainwright", *path.relative_to(PACKAGE).with_suffix("").parts))


def imports_at_once(path):
    """The modules of ours that a file imports, and `from a import b` as `a.b` too."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
