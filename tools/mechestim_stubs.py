"""Makes the type stubs of mechestim from the registry.

Editors complete `me.<tab>` from the stubs: every operation with its signature, its summary and its
price. NumPy is not needed, because the registry has the signatures too.

`mechestim.flops` and `mechestim.errors` are typed themselves and have no stub.
"""

from __future__ import annotations

import ast
from pathlib import Path

from shm_echo import mechestim
from shm_echo.mechestim.registry import OPS, Category, Op
from shm_echo.mechestim.registry._signatures_generated import SIGNATURES
from tools import mechestim_stub_parts as parts
from tools import mechestim_stub_tables as tables

TARGET = Path(__file__).resolve().parents[1] / "shm_echo" / "mechestim"
_CLASSES = ("ufunc", "vectorize")  # operations that are classes, written by hand


def stubs() -> dict[str, str]:
    """Return the text of every stub by its file name."""
    return {
        "__init__.pyi": package(),
        "linalg.pyi": submodule("linalg", parts.LINALG),
        "fft.pyi": submodule("fft"),
        "random.pyi": submodule("random", parts.RANDOM)
        + "".join(map(generator, parts.CONSTRUCTORS)),
        "stats.pyi": distributions(),
    }


def package() -> str:
    """Return the stub of the package."""
    homes = mechestim._HOMES
    imports = "".join(
        f"from shm_echo.mechestim.{home} import {name} as {name}\n"
        for name, home in sorted(homes.items(), key=lambda item: item[::-1])
    )
    body = [function(op) for op in _supported("") if op.name not in _CLASSES]
    return (
        parts.TOP + imports + parts.ARRAY + parts.operators() + methods() + parts.CLASSES
        + scalars() + "\n\n" + "".join(body)
    )  # fmt: skip


def submodule(name: str, before: str = "\n\n") -> str:
    """Return the stub of a sub-module of functions."""
    head = parts.SUBMODULE.format(summary=parts.SUMMARIES[name])
    return head + before + "".join(map(function, _supported(f"{name}.")))


def _supported(prefix: str) -> list[Op]:
    """Return the supported operations directly below `prefix`, by name."""
    return [
        OPS[name]
        for name in sorted(OPS)
        if name.startswith(prefix)
        and "." not in name.removeprefix(prefix)
        and OPS[name].category is not Category.UNSUPPORTED
    ]


def function(op: Op, indent: str = "") -> str:
    """Return the stub of one operation."""
    name = op.name.rpartition(".")[2]
    returns = tables.RETURNS.get(op.name, "ndarray")
    signature = SIGNATURES[op.name]
    if op.name.startswith(
        "stats."
    ):  # SIGNATURES has functions; the stub has methods of a distribution
        signature = f"(self, {signature[1:]}"
    return definition(name, signature, returns, describe(op), indent)


def describe(op: Op) -> str:
    """Return an operation's summary with its price."""
    price = "Free." if op.cost is None else f"Costs {op.formula}."
    return f"{op.summary} {price}"


def definition(name: str, signature: str, returns: str, doc: str, indent: str = "") -> str:
    """Return a `def` with every parameter typed as `Any`, and a docstring."""
    tree = ast.parse(f"def {name}{signature}: ...").body[0]
    assert isinstance(tree, ast.FunctionDef)
    a = tree.args
    rest = [x for x in (a.vararg, a.kwarg) if x is not None]
    for parameter in [*a.posonlyargs, *a.args, *a.kwonlyargs, *rest]:
        if parameter.arg != "self":
            parameter.annotation = ast.Name("Any")
    return f'{indent}def {name}({ast.unparse(a)}) -> {returns}:\n{indent}    """{doc}"""\n'


def methods() -> str:
    """Return the methods of an array."""
    found = []
    for dotted in sorted(SIGNATURES):
        owner, _, name = dotted.partition(".")
        if owner != "ndarray":
            continue
        op = OPS.get(dotted) or OPS.get(name)
        doc = describe(op) if op is not None else tables.METHOD_SUMMARIES[name] + " Free."
        returns = tables.METHOD_RETURNS.get(name, "ndarray")
        found.append(definition(name, SIGNATURES[dotted], returns, doc, "    "))
    return "".join(found)


def scalars() -> str:
    """Return the scalar types."""
    init = "    def __init__(self, value: Any = ..., *args: Any) -> None: ...\n"
    classes = [f"class {name}({base}):\n{init}" for name, base in tables.SCALARS.items()]
    aliases = [f"{name} = {target}\n" for name, target in tables.SCALAR_ALIASES.items()]
    return "\n\n" + "".join(classes) + "\n\n" + "".join(aliases)


def generator(name: str) -> str:
    """Return the stub of a class of `random`."""
    body = [
        function(op, "    ")
        for op in _supported(f"random.{name}.")
        if op.name != "random.Generator.bit_generator"
    ]
    return f"\n\nclass {name}:\n{parts.CONSTRUCTORS[name]}{''.join(body)}"


def distributions() -> str:
    """Return the stub of `stats`: one object for each distribution."""
    names = sorted({name.split(".")[1] for name in OPS if name.startswith("stats.")})
    text = submodule("stats")
    for name in names:
        body = "".join(function(op, "    ") for op in _supported(f"stats.{name}."))
        text += f"\n\nclass _{name}:\n{body}"
    return text + "\n\n" + "".join(f"{name}: _{name}\n" for name in names)


def files() -> dict[Path, str]:
    """Return the stubs by their paths."""
    return {TARGET / name: text for name, text in stubs().items()}
