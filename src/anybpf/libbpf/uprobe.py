"""Where a probe of a user-space function goes: offsets in a file (tools/lib/bpf/elf.c).

`SEC("uprobe//usr/lib/libc.so.6:malloc+4")` names a file, a function and an offset; the kernel wants
an offset in the file. A version may follow the function's name: `memcpy@GLIBC_2.14`.
"""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path
from typing import NamedTuple

from anybpf.errors import BpfError, LoadError
from anybpf.libbpf import log
from anybpf.libbpf.elf import SHT_SYMTAB, STB_WEAK, STT_FUNC
from anybpf.libbpf.elf_image import SHT_DYNSYM, ElfImage, ImageSymbol

TABLES = (SHT_DYNSYM, SHT_SYMTAB)
FUNCTION = re.compile(r"([a-zA-Z0-9_.@]+)(?:\+([-+]?(?:0[xX][0-9a-fA-F]+|\d+)))?$")
RETURN_PROBES = frozenset({"uretprobe", "uretprobe.s", "uretprobe.multi", "uretprobe.multi.s"})
LIBRARY_PATHS = "/usr/lib64:/usr/lib:/lib64:/lib"
PROGRAM_PATHS = "/usr/bin:/usr/sbin"


class UprobeTarget(NamedTuple):
    """What a section's name asks for; `offset` is in bytes from the function's start."""

    binary: str
    function: str
    offset: int = 0
    is_return: bool = False


def parse_section(section: str, program: str = "") -> UprobeTarget | None:
    """The target in a section's name; None if it names none (`SEC("uprobe")`).

    Raises BpfError (EINVAL) for a name that cannot be read.
    """
    kind, slash, rest = section.partition("/")
    if not slash:
        return None
    binary, colon, function = rest.rpartition(":")
    if not colon:
        log.fail(errno.EINVAL, f"prog '{program}': section '{section}' missing "
                               "':function[+offset]' specification")
    found = FUNCTION.match(function)
    if found is None or not binary:
        log.fail(errno.EINVAL, f"prog '{program}': invalid format of section definition "
                               f"'{section}'")
    offset = int(found[2], 0) if found[2] else 0
    if kind in RETURN_PROBES and offset:
        log.fail(errno.EINVAL, f"prog '{program}': uretprobes do not support offset specification")
    return UprobeTarget(binary, found[1], offset, kind in RETURN_PROBES)


def find_binary(name: str) -> Path:
    """The file that a name without a slash means: in PATH, or where libraries are.

    Raises BpfError (ENOENT).
    """
    if "/" in name:
        return Path(name)
    paths = (f"{os.environ.get('LD_LIBRARY_PATH', '')}:{LIBRARY_PATHS}" if ".so" in name
             else f"{os.environ.get('PATH', '')}:{PROGRAM_PATHS}")
    for folder in filter(None, paths.split(":")):
        for one in (Path(folder, name), *sorted(Path(folder).glob(f"*-linux-gnu*/{name}"))):
            if one.is_file():
                return one
    return log.fail(errno.ENOENT, f"failed to resolve full path for '{name}': {-errno.ENOENT}")


def image_of(source: str | os.PathLike[str] | bytes) -> ElfImage:
    """An ELF file by path, by bare name, or as bytes. Raises OSError, LoadError, BpfError."""
    if isinstance(source, bytes):
        return ElfImage(source)
    return ElfImage(find_binary(os.fspath(source)).read_bytes())


def probe_offset(source: str | os.PathLike[str] | bytes, function: str, offset: int = 0) -> int:
    """The offset in the file of `function` plus `offset` bytes.

    Raises BpfError: ENOENT (no such function), EINVAL (several, or one without code); LoadError,
    OSError for the file.
    """
    where = "the file" if isinstance(source, bytes) else os.fspath(source)
    return symbol_offset(image_of(source), function, where) + offset


def symbol_offset(image: ElfImage, name: str, where: str = "the file") -> int:
    """The offset in the file of a function's first byte. Raises as `probe_offset`."""
    plain, wanted = split_version(name)
    for table in TABLES:
        found = _in_table(image, table, name, plain, wanted, where)
        if found is not None:
            if found == 0:
                log.fail(errno.ENOENT, f"elf: '{name}' is 0 in symtab for '{where}'")
            log.debug("elf: symbol address match for '%s' in '%s': 0x%x", name, where, found)
            return found
    return log.fail(errno.ENOENT, f"elf: failed to find symbol '{name}' in '{where}'")


def split_version(name: str) -> tuple[str, str]:
    """(function, version) of `function@version` or `function@@version`."""
    plain, _, version = name.partition("@")
    return plain, version.removeprefix("@")


def _in_table(image: ElfImage, table: int, name: str, plain: str, version: str,
              where: str) -> int | None:
    """The offset by one table; of a weak symbol only if no other has the name."""
    best: ImageSymbol | None = None
    for symbol in image.symbols(table):
        if symbol.type != STT_FUNC or not _matches(symbol, name, plain, version):
            continue
        if best is None:
            best = symbol
        elif _offset(image, symbol) == _offset(image, best) or symbol.bind == STB_WEAK:
            continue
        elif best.bind == STB_WEAK:
            best = symbol
        else:
            raise BpfError(errno.EINVAL, f"elf: ambiguous match for '{symbol.name}', '{name}' in "
                                         f"'{where}'")
    return None if best is None else _offset(image, best)


def _matches(symbol: ImageSymbol, name: str, plain: str, version: str) -> bool:
    """Names in a static table have their version in them, those of a dynamic one beside them."""
    if symbol.section == 0 or symbol.name.partition("@")[0] != plain:
        return False
    if not version:
        return True
    return symbol.version == version if symbol.table == SHT_DYNSYM else symbol.name == name


def _offset(image: ElfImage, symbol: ImageSymbol) -> int:
    if symbol.section >= len(image.sections):
        raise LoadError(f"symbol '{symbol.name}' is in section {symbol.section} which does not "
                        "exist")
    section = image.sections[symbol.section]
    return symbol.value - section.address + section.offset
