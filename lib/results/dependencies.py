"""What a result depends on, as hashes: so that editing prose does not retrain, and editing the sampler does.

A row's code is the function that builds its network, the functions of the same module that this one calls, the plain constants
that they read, and every module of this package that those come from or import. Comments, docstrings and layout do not count.
"""

import ast
import hashlib
import importlib.util
import inspect
import json
import textwrap
from functools import cache
from pathlib import Path
from types import CodeType, FunctionType, ModuleType


def normalised(source: str) -> str:
    """Python source without comments, layout and docstrings: what it does, not what it says."""
    tree = ast.parse(textwrap.dedent(source))
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and body:
            if isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant) and isinstance(body[0].value.value, str):
                node.body = body[1:]
    return ast.dump(tree)


def digest(text: str) -> str:
    """16 hex digits of SHA-256."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def key_of(depends: dict) -> str:
    """The cache key: 10 hex digits over `depends`."""
    return digest(json.dumps(depends, sort_keys=True, default=str))[:10]


@cache
def _module(name: str) -> tuple[str, tuple[str, ...]]:
    """Digest of module `name`, and the modules of this package that it imports."""
    source = Path(importlib.util.find_spec(name).origin).read_text()
    imports = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module:
            imports |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            imports |= {alias.name for alias in node.names}
    return digest(normalised(source)), tuple(sorted(found for found in imports if found.startswith("lib.") and _is_module(found)))


def _is_module(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False


def module_digests(modules: set[str]) -> dict[str, str]:
    """Digest of each of `modules` and of all that they import from this package."""
    waiting, found = sorted(modules), {}
    while waiting:
        name = waiting.pop()
        if name not in found:
            found[name], imports = _module(name)
            waiting += imports
    return dict(sorted(found.items()))


def _names(code: CodeType) -> set[str]:
    """Every global name that `code` may read, nested functions included."""
    nested = [constant for constant in code.co_consts if isinstance(constant, CodeType)]
    return set(code.co_names).union(*(_names(inner) for inner in nested))


def _is_plain(value: object) -> bool:
    """Whether `value` is a constant whose repr says all of it, the same in every process."""
    if isinstance(value, tuple | list | dict):
        return all(map(_is_plain, value)) and (not isinstance(value, dict) or all(map(_is_plain, value.values())))
    return value is None or isinstance(value, bool | int | float | str | bytes)


def code_of(*parts: FunctionType | type) -> dict[str, str]:
    """Digests of everything that `parts` run.

    A function counts by itself, with the functions and plain constants of its module that it uses: the rest of its module is
    not its business. A class, and whatever comes from another module of this package, counts with its whole module and all imports.
    """
    waiting, functions, modules = list(parts), {}, set()
    while waiting:
        part = waiting.pop()
        if not isinstance(part, FunctionType):
            modules.add(part.__module__)
        elif (name := f"{part.__module__}:{part.__qualname__}") not in functions:
            functions[name] = digest(normalised(inspect.getsource(part)))
            known = {name: part.__globals__[name] for name in sorted(_names(part.__code__)) if name in part.__globals__}
            functions |= {f"{part.__module__}:{name}": digest(repr(value)) for name, value in known.items()
                          if _is_plain(value) and not name.startswith("__")}
            modules |= {value.__name__ for value in known.values()
                        if isinstance(value, ModuleType) and value.__name__.startswith("lib.")}
            used = [value for value in known.values() if str(getattr(value, "__module__", "")).startswith("lib.")]
            waiting += [value for value in used if value.__module__ == part.__module__ and isinstance(value, FunctionType | type)]
            modules |= {value.__module__ for value in used if value.__module__ != part.__module__}
    return dict(sorted(functions.items())) | module_digests(modules)
