"""The code of docs/loading.md runs as it stands, on the object of these tests."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path

import pytest

from conftest import Build

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "loading.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.S)
PACKAGE = Path(__file__).resolve().parents[3] / "src" / "anybpf" / "libbpf"


def shown(code: str) -> list[str]:
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(compile(code, "loading.md", "exec"), {})
    return out.getvalue().splitlines()


def test_loading(build: Build) -> None:
    pytest.importorskip("anybpf.machine")
    code = BLOCKS[0].replace("build/firewall.bpf.o", str(build("features.bpf.c")))
    assert str(build("features.bpf.c")) in code
    verdict, facts = shown(code)
    assert int(verdict) > 400
    assert facts == "6 16"


def test_probes() -> None:
    library = Path("/usr/lib/x86_64-linux-gnu/libstdc++.so.6")
    if not library.is_file():
        pytest.skip(f"{library} is not installed")
    malloc, *probes = shown(BLOCKS[1])
    assert int(malloc) > 0
    assert any(line.startswith("libstdcxx throw 0x") for line in probes)


def test_the_modules_it_names_exist() -> None:
    table = PAGE.partition("## Opening")[0].partition("|---")[2]
    named = {name for row in table.splitlines() for name in re.findall(
        r"`([a-z_]+)`", row.split("|")[2] if row.count("|") > 3 else "")}
    assert len(named) > 15
    assert all((PACKAGE / f"{name}.py").is_file() for name in named)
