"""What a `_target_` takes, read from its source: nothing is imported, so that it costs little.

The annotations say what a value may be, in `--help` and where the command line is read.
"""

import ast
import importlib.util
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

Definition = ast.ClassDef | ast.FunctionDef
# What is told to these sections, as dataclasses; the others are what their `_target_` takes.
SETTINGS = {
    "run": "trainwright.engine.settings.RunSettings",
    "trainer": "trainwright.engine.settings.TrainerSettings",
    "federated": "trainwright.engine.settings.FederatedSettings",
    "fork": "trainwright.engine.settings.ForkSettings",
    "sweep": "trainwright.sweep.settings.SweepSettings",
}
MOST_ALIASES = 20  # that are followed on the way to a definition or a type


@dataclass(frozen=True)
class Parameter:
    """An argument, or a field of a dataclass: its type, with aliases written out, and default."""

    annotation: ast.expr | None
    default: ast.expr | None


@dataclass(frozen=True)
class _Module:
    """A module's source, taken apart; what it defines, and where the rest comes from."""

    name: str
    is_package: bool
    tree: ast.Module

    def definitions(self) -> Iterator[ast.stmt]:
        for node in self.tree.body:
            yield node
            if isinstance(node, ast.If | ast.Try):
                yield from node.body


def parameters(target: str) -> Mapping[str, Parameter]:
    """The arguments of a class or function by their names; none where its source is not found."""
    found = _find(target)
    if found is None:
        return {}
    module, node = found
    if isinstance(node, ast.FunctionDef):
        return _arguments(module, node)
    inits = (n for n in node.body if isinstance(n, ast.FunctionDef) and n.name == "__init__")
    init = next(inits, None)
    if init is not None:
        return _arguments(module, init)
    taken: dict[str, Parameter] = {}
    for base in node.bases:
        taken |= parameters(f"{module.name}.{ast.unparse(base)}")
    if any("dataclass" in ast.unparse(decorator) for decorator in node.decorator_list):
        taken |= {
            field.target.id: Parameter(_written_out(module, field.annotation), field.value)
            for field in node.body
            if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
        }
    return taken


def method_parameters(target: str, method: str) -> Mapping[str, Parameter]:
    """The arguments of a method of a class, its own or that of a class it is derived from."""
    found = _find(target)
    if found is None:
        return {}
    module, node = found
    if not isinstance(node, ast.ClassDef):
        return {}
    for own in node.body:
        if isinstance(own, ast.FunctionDef) and own.name == method:
            return _arguments(module, own)
    bases = (method_parameters(f"{module.name}.{ast.unparse(b)}", method) for b in node.bases)
    return next((taken for taken in bases if taken), {})


def parameter_at(target: str, path: Sequence[str]) -> Parameter | None:
    """The parameter at the end of a path through settings that are dataclasses themselves."""
    found = parameters(target).get(path[0])
    if found is None or len(path) == 1:
        return found
    inner = found.annotation
    name = inner.id if isinstance(inner, ast.Name) else ""
    return parameter_at(f"{target.rpartition('.')[0]}.{name}", path[1:]) if name else None


def docstring(target: str) -> str:
    """What the source says of it; empty where that is not found."""
    found = _find(target)
    return "" if found is None else ast.get_docstring(found[1]) or ""


def _find(dotted: str, depth: int = 0) -> tuple[_Module, Definition] | None:
    """The class or function of that name, wherever it has been imported from."""
    module_name, _, name = dotted.rpartition(".")
    module = _module(module_name)
    if module is None or depth > MOST_ALIASES:
        return None
    for node in module.definitions():
        if isinstance(node, Definition) and node.name == name:
            return module, node
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                if (alias.asname or alias.name) == name:
                    return _find(f"{_imported_from(module, node)}.{alias.name}", depth + 1)
    return None


def _imported_from(module: _Module, node: ast.ImportFrom) -> str:
    if not node.level:
        return node.module or ""
    parts = module.name.split(".")
    kept = parts[: len(parts) - node.level + module.is_package]
    return ".".join([*kept, *([node.module] if node.module else [])])


@cache
def _module(name: str) -> _Module | None:
    first, *rest = name.split(".")
    try:
        spec = importlib.util.find_spec(first) if first else None  # of a package: imports nothing
    except (ImportError, ValueError):
        return None
    if spec is None or spec.origin is None:
        return None
    path = Path(spec.origin)
    for part in rest:
        folder = path.parent / part
        path = folder / "__init__.py" if folder.is_dir() else path.parent / f"{part}.py"
    try:
        tree = ast.parse(path.read_bytes())
    except (OSError, ValueError, SyntaxError, RecursionError):
        return None
    return _Module(name, path.name == "__init__.py", tree)


def _arguments(module: _Module, function: ast.FunctionDef) -> dict[str, Parameter]:
    arguments = function.args
    plain = [*arguments.posonlyargs, *arguments.args]
    without = [None] * (len(plain) - len(arguments.defaults))
    pairs = [
        *zip(plain, [*without, *arguments.defaults], strict=True),
        *zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True),
    ]
    return {
        argument.arg: Parameter(_written_out(module, argument.annotation), default)
        for argument, default in pairs
        if argument.arg != "self"
    }


def _written_out(module: _Module, annotation: ast.expr | None) -> ast.expr | None:
    """A type with the aliases in it replaced by what they stand for."""
    if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
        annotation = ast.parse(annotation.value, mode="eval").body
    return annotation if annotation is None else _Aliases(module, 0).visit(annotation)


class _Aliases(ast.NodeTransformer):
    def __init__(self, module: _Module, depth: int) -> None:
        self._module = module
        self._depth = depth

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return _alias(self._module, node, self._depth)


def _alias(module: _Module, name: ast.Name, depth: int) -> ast.expr:
    if depth > MOST_ALIASES:
        return name
    for node in module.definitions():
        targets = node.targets if isinstance(node, ast.Assign) else []
        if any(isinstance(t, ast.Name) and t.id == name.id for t in targets):
            assert isinstance(node, ast.Assign)
            found = ast.parse(ast.unparse(node.value), mode="eval").body
            made: ast.expr = _Aliases(module, depth + 1).visit(found)
            return made
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                if (alias.asname or alias.name) == name.id:
                    other = _module(_imported_from(module, node))
                    is_ours = other is not None and other.name.split(".")[0] not in _KNOWN
                    if other is None or not is_ours:
                        return name
                    return _alias(other, ast.Name(alias.name), depth + 1)
    return name


_KNOWN = {"typing", "collections", "pydantic", "pathlib", "torch"}  # whose names say what they are
