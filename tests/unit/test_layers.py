"""Imports point down, as docs/architecture.md says; read from the import lines, nothing is run."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "src" / "anybpf"

#: the layers' names: a top-level module or folder of the package
BASE = {"errors", "bits", "uapi", "uapi_structs"}
ISA = BASE | {"isa"}
BTF = ISA | {"btf"}
RUNTIME = ["maps", "core", "net", "helpers", "kfuncs", "attach"]

#: layer -> what it may import besides itself
MAY_IMPORT: dict[str, set[str]] = {
    "errors": set(),
    "bits": {"uapi", "errors"},
    "uapi": set(),
    "uapi_structs": set(),
    "isa": BASE,
    "btf": ISA,
    "proto": BASE,
    "verifier": BTF | {"proto"},
    **{name: BTF | {"proto", *RUNTIME[:i]} for i, name in enumerate(RUNTIME)},
    "syscall": BTF | {"proto", "verifier", *RUNTIME, "machine"},
    "machine": BTF | {"proto", "verifier", *RUNTIME, "syscall"},
    "linux": BASE,
    "libbpf": BTF | {"proto", "verifier"},
    "toolchain": BTF | {"proto", "libbpf"},
}
#: the top: the command line, the debugger, the test plugin, the public names
TOP = {"veristat", "cli", "debug", "testing", "conformance", "__init__", "__main__"}

CIMPORT = re.compile(
    r"^\s*from\s+(anybpf[\w.]*)\s+cimport\s+([\w, ]+)|^\s*cimport\s+(anybpf[\w.]*)")


def layer_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].split(".")[0]


def python_imports(path: Path) -> set[str]:
    """Layers that the import statements of a .py file name."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "anybpf":
            found |= named(node.module or "", [alias.name for alias in node.names])
        elif isinstance(node, ast.Import):
            for alias in node.names:
                found |= named(alias.name, [])
    return found


def named(module: str, names: list[str]) -> set[str]:
    parts = module.split(".")
    if parts[0] != "anybpf":
        return set()
    return {parts[1]} if len(parts) > 1 else set(names) - {"__version__"}


def cython_imports(path: Path) -> set[str]:
    """The same for .pyx and .pxd: import lines and cimport lines."""
    found = set()
    for line in path.read_text().splitlines():
        match = CIMPORT.match(line.replace(" import ", " cimport "))
        if match:
            module, names = match.group(1) or match.group(3), match.group(2) or ""
            found |= named(module, [n.strip().split(" ")[0] for n in names.split(",") if n.strip()])
    return found


def sources() -> list[Path]:
    return sorted(p for kind in ("*.py", "*.pyx", "*.pxd") for p in PACKAGE.rglob(kind))


@pytest.mark.parametrize("path", sources(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_point_down(path: Path) -> None:
    layer = layer_of(path)
    if layer in TOP:
        return
    imported = python_imports(path) if path.suffix == ".py" else cython_imports(path)
    wrong = imported - MAY_IMPORT[layer] - {layer}
    assert not wrong, f"{path.name} ({layer}) imports {sorted(wrong)}"


def test_the_walk_sees_imports() -> None:
    assert "errors" in python_imports(PACKAGE / "net" / "pcap.py")
    assert {"uapi"} <= python_imports(PACKAGE / "bits.py")
