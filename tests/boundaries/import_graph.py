"""The import graph of the package, read from its sources.

An arrow leads from a module to each module of the package that it names in an import, wherever the
import stands: at module level, inside a function, or under `TYPE_CHECKING`. A literal name given to
`importlib.import_module` or `__import__` counts, too. Names that are computed do not.

One kind of import is not an arrow. A package that exports names lazily has a module-level
`__getattr__` in its `__init__.py`; type checkers see the same names under `TYPE_CHECKING`. Both
mention the package's own children, although importing the package loads none of them. So imports of
its own children are left out there, under `TYPE_CHECKING` and inside `__getattr__`. Imports that
the `__init__.py` runs at once count like all others.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

import shm_echo

PACKAGE = Path(shm_echo.__file__).parent

_IMPORTING_FUNCTIONS = ("importlib.import_module", "import_module", "__import__")

Graph = Mapping[str, set[str]]


def module_files(package: Path = PACKAGE) -> dict[str, Path]:
    """Return the source files of a package, by the dotted names of their modules."""
    files = {}
    for path in sorted(package.rglob("*.py")):
        parts = (package.name, *path.relative_to(package).with_suffix("").parts)
        files[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return files


def import_graph(files: Mapping[str, Path]) -> dict[str, set[str]]:
    """Return the modules that each module imports."""
    graph = {}
    for module, path in files.items():
        tree = ast.parse(path.read_text())
        lazy = path.name == "__init__.py" and _defines_getattr(tree)
        graph[module] = _arrows(tree, set(files), module if lazy else None) - {module}
    return graph


def circles(graph: Graph) -> list[set[str]]:
    """Return the strongly connected components of more than one module (Tarjan's algorithm)."""
    order: dict[str, int] = {}
    lowest: dict[str, int] = {}
    stack: list[str] = []
    found: list[set[str]] = []

    def visit(module: str) -> None:
        order[module] = lowest[module] = len(order)
        stack.append(module)
        for target in graph[module]:
            if target not in order:
                visit(target)
                lowest[module] = min(lowest[module], lowest[target])
            elif target in stack:
                lowest[module] = min(lowest[module], order[target])
        if lowest[module] == order[module]:
            start = stack.index(module)
            component = set(stack[start:])
            del stack[start:]
            if len(component) > 1:
                found.append(component)

    for module in graph:
        if module not in order:
            visit(module)
    return found


def within(module: str, room: str) -> bool:
    """Return True if a module is the room itself or lies in it."""
    return module == room or module.startswith(f"{room}.")


def _defines_getattr(tree: ast.Module) -> bool:
    return any(_is_getattr(node) for node in tree.body)


def _is_getattr(node: ast.AST) -> bool:
    return isinstance(node, ast.FunctionDef) and node.name == "__getattr__"


def _arrows(tree: ast.AST, known: set[str], lazy_package: str | None) -> set[str]:
    found: set[str] = set()
    for node in ast.iter_child_nodes(tree):
        found |= set(_imported(node, known)) & known
        inner = _arrows(node, known, lazy_package)
        if lazy_package is not None and _is_lazy(node):
            inner = {target for target in inner if not within(target, lazy_package)}
        found |= inner
    return found


def _is_lazy(node: ast.AST) -> bool:
    if isinstance(node, ast.If):
        return ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")
    return _is_getattr(node)


def _imported(node: ast.AST, known: set[str]) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and node.module is not None:
        # `from package import child` names the child alone, as `import package.child` does.
        for alias in node.names:
            child = f"{node.module}.{alias.name}"
            yield child if child in known else node.module
    elif isinstance(node, ast.Call) and node.args:
        name = node.args[0]
        literal = isinstance(name, ast.Constant) and isinstance(name.value, str)
        if literal and ast.unparse(node.func) in _IMPORTING_FUNCTIONS:
            yield ast.literal_eval(name)
