"""Every C header says what its Python module says; a build is not needed to see it.

A class that a `.pxd` declares has only the attributes that are declared there, and a function has
the same parameters in both.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from anybpf.proto import kinds
from anybpf.verifier import consts, numbers

VERIFIER = Path(numbers.__file__).parent
TWINS = sorted(p for p in VERIFIER.rglob("*.pxd") if p.stem not in ("consts", "numbers"))

CLASS = re.compile(r"^cdef class (\w+)(?:\((\w+)\))?:", re.M)
ATTRIBUTE = re.compile(r"^    cdef (?:public |readonly )?(?:unsigned |long )*[\w.\[\]]+ ([\w, ]+)$",
                       re.M)
FUNCTION = re.compile(
    r"^( *)c(?:p)?def (?!class )(?:inline )?(?:\([^)]*\) |(?:unsigned |long )*[\w.]+ )?"
    r"(\w+)\(([^)]*)\)", re.M)


class Header:
    """What a `.pxd` declares: attributes by class, parameter counts by (class, function)."""

    def __init__(self, path: Path) -> None:
        self.attributes: dict[str, set[str]] = {}
        self.bases: dict[str, str] = {}
        self.functions: dict[tuple[str, str], tuple[int, int]] = {}
        text = re.sub(r"\n {8,}", " ", path.read_text())
        for block in re.split(r"^(?=(?:@cython\.final\n)?cdef class )", text, flags=re.M):
            found = CLASS.search(block)
            if found:
                self._class(found[1], found[2] or "", block)
            self._functions(found[1] if found else "", block)

    def _class(self, name: str, base: str, block: str) -> None:
        self.bases[name] = base
        self.attributes[name] = {
            word.strip() for names in ATTRIBUTE.findall(block) for word in names.split(",")}

    def _functions(self, owner: str, block: str) -> None:
        for indent, name, parameters in FUNCTION.findall(block):
            words = [p for p in parameters.split(",") if p.strip()]
            optional = sum("=*" in p for p in words)
            self.functions[owner if indent else "", name] = len(words), optional


ALL = {path: Header(path) for path in TWINS}
CLASSES = {name: header for header in ALL.values() for name in header.attributes}


def attributes(name: str) -> set[str]:
    """Of a class and those that it comes from."""
    header = CLASSES.get(name)
    return header.attributes[name] | attributes(header.bases[name]) if header else set()


def assigned(node: ast.ClassDef) -> set[str]:
    """Attributes of `self` that the class's methods assign."""
    return {target.attr for target in ast.walk(node)
            if isinstance(target, ast.Attribute) and isinstance(target.ctx, ast.Store)
            and isinstance(target.value, ast.Name) and target.value.id == "self"}


def functions(tree: ast.Module) -> dict[tuple[str, str], tuple[int, int]]:
    """(class, function) -> how many parameters it has, and how many may be left out."""
    owners: list[tuple[str, list[ast.stmt]]] = [("", tree.body)]
    owners += [(n.name, n.body) for n in tree.body if isinstance(n, ast.ClassDef)]
    return {(owner, f.name): (len(f.args.args), len(f.args.defaults))
            for owner, body in owners for f in body if isinstance(f, ast.FunctionDef)}


@pytest.mark.parametrize("path", TWINS, ids=lambda p: str(p.relative_to(VERIFIER)))
def test_header(path: Path) -> None:
    tree = ast.parse(path.with_suffix(".py").read_text())
    header = ALL[path]
    missing = {node.name: assigned(node) - attributes(node.name) for node in tree.body
               if isinstance(node, ast.ClassDef) and node.name in header.attributes}
    assert not any(missing.values()), missing
    written = functions(tree)
    for name, count in header.functions.items():
        assert written[name] == count, name


@pytest.mark.parametrize("path", TWINS, ids=lambda p: str(p.relative_to(VERIFIER)))
def test_no_name_of_a_c_macro(path: Path) -> None:
    assert not re.search(r"\berrno\b", path.read_text())


def test_numbers_of_kinds() -> None:
    text = Path(kinds.__file__).with_suffix(".pxd").read_text()
    for name, value in re.findall(r"^    (\w+) = (-?\d+)$", text, re.M):
        assert getattr(kinds, name) == int(value)


def test_constants() -> None:
    text = Path(consts.__file__).with_suffix(".pxd").read_text()
    found = dict(re.findall(r"#define ANYBPF_(\w+) \(?(-?\d+)[UL]*\)?$", text, re.M))
    assert found == {name: str(value) for name, value in vars(consts).items() if name.isupper()}


def cimported(text: str) -> set[str]:
    """Modules of the verifier whose C functions a header makes known by the module's name."""
    found = re.findall(r"^from anybpf\.verifier(?:\.\w+)? cimport (.+)$", text, re.M)
    return {name.strip() for names in found for name in names.split(",")}


def parameters(module: str, function: str) -> list[str] | None:
    """Of a function that some header declares; None: no header does."""
    path = next((p for p in TWINS if p.stem == module), None)
    if path is None or ("", function) not in ALL[path].functions:
        return None
    tree = ast.parse(path.with_suffix(".py").read_text())
    return next([a.arg for a in f.args.args] for f in tree.body
                if isinstance(f, ast.FunctionDef) and f.name == function)


def fits(call: ast.Call, names: list[str]) -> bool:
    """C functions take no starred arguments, and keywords only where none is left out before."""
    if any(isinstance(a, ast.Starred) for a in call.args):
        return False
    given = {k.arg for k in call.keywords}
    return set(names[len(call.args):len(call.args) + len(given)]) == given


@pytest.mark.parametrize("path", TWINS, ids=lambda p: str(p.relative_to(VERIFIER)))
def test_c_functions_are_only_called(path: Path) -> None:
    modules = cimported(re.sub(r"\n {4,}", " ", path.read_text()))
    tree = ast.parse(path.with_suffix(".py").read_text())
    calls = {id(n.func): n for n in ast.walk(tree) if isinstance(n, ast.Call)}
    for node in ast.walk(tree):
        if not isinstance(node, ast.Attribute) or not isinstance(node.value, ast.Name) \
                or node.value.id not in modules:
            continue
        names = parameters(node.value.id, node.attr)
        if names is not None:
            call = calls.get(id(node))
            assert call is not None, f"{ast.unparse(node)} is not called"
            assert fits(call, names), ast.unparse(call)


#: with a generator expression in them Cython makes loops, elsewhere a closure
INLINED = frozenset({"any", "all", "sum"})


def closures(function: ast.FunctionDef) -> list[str]:
    """What would be a closure, which C functions cannot have."""
    inlined = {id(a) for n in ast.walk(function) if isinstance(n, ast.Call)
               and isinstance(n.func, ast.Name) and n.func.id in INLINED for a in n.args}
    return [ast.unparse(n) for n in ast.walk(function) if n is not function and (
        isinstance(n, ast.Lambda | ast.FunctionDef)
        or (isinstance(n, ast.GeneratorExp) and id(n) not in inlined))]


@pytest.mark.parametrize("path", TWINS, ids=lambda p: str(p.relative_to(VERIFIER)))
def test_no_closures(path: Path) -> None:
    tree = ast.parse(path.with_suffix(".py").read_text())
    declared = {name for _, name in ALL[path].functions}
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and node.name in declared:
            assert not closures(node), node.name
