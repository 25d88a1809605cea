"""The guest's file system: the cpio archive as the kernel's unpacker reads it."""

from __future__ import annotations

from pathlib import Path

import pytest

from guest import initramfs
from guest.initramfs import NoGuest


def unpacked(archive: bytes) -> dict[str, tuple[int, tuple[int, int], bytes]]:
    """name -> (mode, device, content) of a "newc" archive."""
    found, at = {}, 0
    while True:
        assert archive[at:at + 6] == b"070701"
        numbers = [int(archive[at + 6 + 8 * i:at + 14 + 8 * i], 16) for i in range(13)]
        name = archive[at + 110:at + 110 + numbers[11]]
        assert name.endswith(b"\0")
        body = (at + 110 + numbers[11] + 3) & ~3
        if name == b"TRAILER!!!\0":
            assert len(archive) == body
            return found
        content = archive[body:body + numbers[6]]
        found[name[:-1].decode()] = numbers[1], (numbers[9], numbers[10]), content
        at = (body + numbers[6] + 3) & ~3


def test_the_archive_has_all_that_the_agent_needs() -> None:
    found = unpacked(b"".join(initramfs.entries(b"\x7fELF agent")))
    assert found["init"] == (0o100755, (0, 0), b"\x7fELF agent")
    assert found["dev/console"] == (0o020600, (5, 1), b"")
    assert {name for name, (mode, _, _) in found.items() if mode == 0o040755} == {
        "dev", "proc", "sys", "tmp", "run"}


def test_the_agent_compiles_to_a_static_program(tmp_path: Path) -> None:
    try:
        initramfs.compiler()
    except NoGuest as e:
        pytest.skip(str(e))
    initramfs.build(tmp_path / "archive")
    agent = unpacked((tmp_path / "archive").read_bytes())["init"][2]
    assert agent[:5] == b"\x7fELF\x02"
    assert agent[18:20] == b"\x3e\0"                       # x86-64
    assert b"ld-linux" not in agent
    assert [path.name for path in tmp_path.iterdir()] == ["archive"]


def test_without_a_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(initramfs.shutil, "which", lambda name: None)
    monkeypatch.setattr(initramfs, "find_spec", lambda name: None)
    with pytest.raises(NoGuest, match="no C compiler"):
        initramfs.compiler()


def test_a_broken_agent_says_what_the_compiler_said(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "agent.c"
    broken.write_text("int start(void) { return missing; }\n")
    monkeypatch.setattr(initramfs, "AGENT", broken)
    try:
        initramfs.compiler()
    except NoGuest as e:
        pytest.skip(str(e))
    with pytest.raises(NoGuest, match="missing"):
        initramfs.build(tmp_path / "archive")
    assert not (tmp_path / "archive").exists()
