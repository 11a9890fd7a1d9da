"""The house rules that no linter knows: sizes of rooms, docstrings on doors, no hidden packages."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("schemas", "bus", "controller", "agent", "meshctl", "lab")
MODULES = sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py"))
MODULE_LINES = 450
FUNCTION_LINES = 60
NAMELESS = {"utils", "util", "common", "helpers", "helper", "core", "misc"}


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def _functions(tree: ast.Module) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


@pytest.mark.parametrize("path", MODULES, ids=_name)
def test_a_module_is_small_and_says_what_it_is_for(path: Path) -> None:
    text = path.read_text()
    tree = ast.parse(text)
    assert ast.get_docstring(tree), f"{_name(path)} has no docstring"
    assert len(text.splitlines()) <= MODULE_LINES, f"{_name(path)}: split it by meaning"
    assert path.stem not in NAMELESS, f"{_name(path)}: name it after what it does"
    for function in _functions(tree):
        lines = (function.end_lineno or 0) - function.lineno + 1
        assert lines <= FUNCTION_LINES, f"{_name(path)}:{function.lineno} {function.name} has {lines} lines"


@pytest.mark.parametrize("path", [path for path in MODULES if path.name == "__init__.py"], ids=_name)
def test_a_package_has_only_a_sign_on_its_door(path: Path) -> None:
    body = ast.parse(path.read_text()).body
    assert len(body) == 1, f"{_name(path)}: __init__ holds only a docstring"


@pytest.mark.parametrize("path", MODULES, ids=_name)
def test_what_is_public_says_what_it_does(path: Path) -> None:
    tree = ast.parse(path.read_text())
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            assert ast.get_docstring(node), f"{_name(path)}:{node.lineno} {node.name} has no docstring"


@pytest.mark.parametrize("path", MODULES, ids=_name)
def test_nothing_is_raised_in_an_except_star(path: Path) -> None:
    """Python before 3.11.4 (Debian 12 has 3.11.2) wraps what is raised there in a group, later ones do not."""
    for clause in (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.TryStar)):
        inside = [node for handler in clause.handlers for node in ast.walk(handler)]
        raised = [node for node in inside if isinstance(node, ast.Raise) or "sys.exit" in ast.unparse(node)]
        assert not raised, f"{_name(path)}:{clause.lineno}: remember it, and raise it after the `try`"


def test_no_file_holds_a_registry_address() -> None:
    address = re.compile(r"https?://[^\s\"']*(?:pypi|npmjs|debian\.org|docker\.io|ghcr|gcr\.io|quay\.io)")
    suffixes = {".py", ".md", ".toml", ".txt", ".yaml", ".yml", ".sh", ""}
    places = [ROOT / name for name in (*ROOMS, "scripts", "docs", "deploy", "examples", "benchmarks", "README.md")]
    files = [file for place in places for file in ([place] if place.is_file() else place.rglob("*"))]
    for file in files:
        if file.is_file() and file.suffix in suffixes:
            found = address.search(file.read_text(errors="replace"))
            assert not found, f"{_name(file)}: {found.group(0) if found else ''}"
