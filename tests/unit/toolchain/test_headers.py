"""Whose headers a program gets."""

from __future__ import annotations

from pathlib import Path

import pytest

from anybpf.toolchain import headers
from anybpf.toolchain.headers import INCLUDE

OWN = ["-isystem", str(INCLUDE)]
OWN_LAST = ["-idirafter", str(INCLUDE)]


@pytest.fixture
def libbpf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder where libbpf's headers would be installed."""
    monkeypatch.setattr(headers, "INSTALLED", (tmp_path / "local", tmp_path))
    return tmp_path


def install(folder: Path, version: str | None) -> None:
    (folder / "bpf").mkdir(exist_ok=True)
    (folder / "bpf" / "bpf_helpers.h").write_text("")
    if version:
        major, minor = version.split(".")
        (folder / "bpf" / "libbpf_version.h").write_text(
            f"#define LIBBPF_MAJOR_VERSION {major}\n#define LIBBPF_MINOR_VERSION {minor}\n")


@pytest.mark.parametrize(("version", "is_own"), [
    ("none", True), (None, True), ("1.1", True), ("1.5", True), ("1.6", False), ("2.0", False),
])
def test_auto(libbpf: Path, version: str | None, is_own: bool) -> None:
    if version != "none":
        install(libbpf, version)
    found = headers.folders()
    assert found[:2] == OWN if is_own else found[-2:] == OWN_LAST


def test_as_told(libbpf: Path) -> None:
    install(libbpf, "9.9")
    assert headers.folders("own")[:2] == OWN
    install(libbpf, "0.1")
    assert headers.folders("system")[-2:] == OWN_LAST
    assert headers.folders("system", is_zig=True)[:2] == ["-isystem", str(libbpf)]


def test_without_ziglang(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert headers.zig_folders() == []


def test_the_headers_are_there() -> None:
    assert {p.name for p in (INCLUDE / "bpf").iterdir()} == {
        "bpf_helpers.h", "bpf_helper_defs.h", "bpf_tracing.h", "bpf_core_read.h", "bpf_endian.h",
        "bpf_experimental.h", "usdt.bpf.h"}
