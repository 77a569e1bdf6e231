"""Digests of the package files that a script uses, so that a rule reruns when one of them changes.

Taken over the parsed code without docstrings: comments, docstrings and layout rerun nothing.
"""

from __future__ import annotations

import ast
import functools
import hashlib
from collections.abc import Iterable
from pathlib import Path

_SCRIPTS = Path(__file__).resolve().parent.parent / "scripts"


def digest(script: str, modules: Iterable[str] = (), scripts: Path = _SCRIPTS) -> str:
    """Digest of every `jko` module that a script imports, directly or through another one.

    Args:
        script: name of a file in ``scripts``, without suffix; its own text is tracked by Snakemake.
        modules: further modules that it loads by name, such as "jko.methods.jkonet_star".
        scripts: the folder that holds the scripts and the package.
    """
    todo = [*_imports(scripts / f"{script}.py", scripts), *modules]
    seen: dict[str, str] = {}
    while todo:
        module = todo.pop()
        path = _path(module, scripts)
        if module not in seen and path is not None:
            seen[module] = _code(path)
            todo += _imports(path, scripts)
            # Python runs the packages around a module before the module itself.
            todo += [module.rpartition(".")[0]] if "." in module else []
    lines = "".join(f"{module} {code}\n" for module, code in sorted(seen.items()))
    return hashlib.sha256(lines.encode()).hexdigest()[:16]


def _path(module: str, scripts: Path) -> Path | None:
    """The file of a module of the package, or None for anything else."""
    base = scripts.joinpath(*module.split("."))
    if module.split(".")[0] != "jko":
        return None
    if base.is_dir():
        return base / "__init__.py"
    return base.with_suffix(".py") if base.with_suffix(".py").exists() else None


@functools.cache
def _imports(path: Path, scripts: Path) -> tuple[str, ...]:
    """Modules that a file imports; `from a import b` counts as a and as a.b."""
    found = []
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            found += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return tuple(name for name in found if _path(name, scripts) is not None)


@functools.cache
def _code(path: Path) -> str:
    """Digest of a file's parsed code, without docstrings."""
    tree = _tree(path)
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(
            node
        ):
            node.body = node.body[1:]
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest()


def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
