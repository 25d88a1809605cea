"""Functions to file offsets: symbols, versions, sections."""

from __future__ import annotations

import errno
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from anybpf.errors import BpfError, LoadError
from anybpf.libbpf import uprobe
from anybpf.libbpf.elf import SHT_SYMTAB, STB_GLOBAL, STB_WEAK, STT_FUNC, STT_OBJECT
from anybpf.libbpf.elf_image import SHT_DYNSYM, ElfImage
from objects.imagebuild import SHAPES, ImageBuilder, Shape

LIBC = Path("/usr/lib/x86_64-linux-gnu/libc.so.6")
Row = tuple[str, int, int, int, int]


def func(name: str, value: int, bind: int = STB_GLOBAL, section: int = 1) -> Row:
    return name, value, STT_FUNC, bind, section


def image(*rows: Row, table: int = SHT_DYNSYM, shape: Shape = (64, "<"),
          versions: tuple[list[int], dict[int, str]] | None = None) -> bytes:
    made = ImageBuilder(shape)
    made.section(".text", bytes(16), address=0x1000, offset=0x400)
    made.symbols(table, *rows)
    if versions is not None:
        made.versions(*versions)
    return made.to_bytes()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("table", [SHT_DYNSYM, SHT_SYMTAB])
def test_a_function(shape: Shape, table: int) -> None:
    data = image(func("other", 0x1000), func("f", 0x1010), table=table, shape=shape)
    assert uprobe.probe_offset(data, "f") == 0x410
    assert uprobe.probe_offset(data, "f", 4) == 0x414


def test_weak_gives_way() -> None:
    for rows in ([func("f", 0x1010, STB_WEAK), func("f", 0x1020)],
                 [func("f", 0x1020), func("f", 0x1010, STB_WEAK)],
                 [func("f", 0x1020), func("f", 0x1020)]):
        assert uprobe.probe_offset(image(*rows), "f") == 0x420


@pytest.mark.parametrize(("rows", "number", "why"), [
    ([func("g", 0x1000)], errno.ENOENT, "failed to find symbol 'f'"),
    ([("f", 0x1000, STT_OBJECT, 1, 1)], errno.ENOENT, "failed to find symbol 'f'"),
    ([func("f", 0x1000, section=0)], errno.ENOENT, "failed to find symbol 'f'"),
    ([func("f", 0x1000), func("f", 0x1010)], errno.EINVAL, "ambiguous match for 'f', 'f'"),
    ([func("f", 0xC00)], errno.ENOENT, "'f' is 0 in symtab"),
])
def test_no_function(rows: list[Row], number: int, why: str) -> None:
    with pytest.raises(BpfError, match=why) as caught:
        uprobe.probe_offset(image(*rows), "f")
    assert caught.value.errno == number


def test_versions() -> None:
    rows = (func("f", 0x1010), func("f", 0x1020))
    data = image(*rows, versions=([0, 2, 0x8003], {1: "lib.so", 2: "V_2", 3: "V_1"}))
    assert uprobe.probe_offset(data, "f@@V_2") == uprobe.probe_offset(data, "f@V_2") == 0x410
    assert uprobe.probe_offset(data, "f@V_1") == 0x420
    with pytest.raises(BpfError, match="failed to find symbol 'f@V_3'"):
        uprobe.probe_offset(data, "f@V_3")
    static = image(func("f@V_1", 0x1010), func("f@@V_2", 0x1020), table=SHT_SYMTAB)
    assert uprobe.probe_offset(static, "f@@V_2") == 0x420


def test_a_section_that_is_not_there() -> None:
    with pytest.raises(LoadError, match="section 99 which does not exist"):
        uprobe.probe_offset(image(func("f", 0x1010, section=99)), "f")


@pytest.mark.parametrize(("section", "target"), [
    ("uprobe//bin/sh:main", ("/bin/sh", "main", 0, False)),
    ("uprobe/libc.so.6:malloc+0x10", ("libc.so.6", "malloc", 16, False)),
    ("uretprobe.s/libc.so.6:memcpy@GLIBC_2.2.5", ("libc.so.6", "memcpy@GLIBC_2.2.5", 0, True)),
    ("uprobe.multi/a:f", ("a", "f", 0, False)), ("uprobe", None)])
def test_sections(section: str, target: tuple[str, str, int, bool] | None) -> None:
    assert uprobe.parse_section(section) == target


@pytest.mark.parametrize(("section", "why"), [
    ("uprobe/a", "missing ':function[+offset]' specification"),
    ("uprobe/a:f!", "invalid format of section definition"),
    ("uprobe/:f", "invalid format of section definition"),
    ("uretprobe/a:f+4", "uretprobes do not support offset specification"),
])
def test_bad_sections(section: str, why: str) -> None:
    with pytest.raises(BpfError, match=re.escape(why)) as caught:
        uprobe.parse_section(section, "p")
    assert caught.value.errno == errno.EINVAL


def test_finding_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("LD_LIBRARY_PATH", str(tmp_path))
    for name in ("tool", "libx.so.1"):
        (tmp_path / name).write_bytes(image(func("f", 0x1010)))
        assert uprobe.find_binary(name) == tmp_path / name
        assert uprobe.probe_offset(name, "f") == 0x410
    with pytest.raises(BpfError, match="failed to resolve full path for 'no-such-tool'"):
        uprobe.find_binary("no-such-tool")
    with pytest.raises(FileNotFoundError):
        uprobe.probe_offset("/no/such/file", "f")


def test_as_readelf_says() -> None:
    if not LIBC.is_file() or shutil.which("readelf") is None:
        pytest.skip(f"{LIBC} or readelf is not installed")
    text = subprocess.run(["readelf", "-sW", "--dyn-syms", LIBC], capture_output=True,
                          text=True).stdout
    rows = re.findall(r": ([0-9a-f]+) .* FUNC +GLOBAL DEFAULT +(\d+) ([\w.@]+)", text)
    assert len(rows) > 1000
    libc = ElfImage(LIBC.read_bytes())
    for value, section, name in rows[::97]:
        where = libc.sections[int(section)]
        assert uprobe.symbol_offset(libc, name) == int(value, 16) - where.address + where.offset
