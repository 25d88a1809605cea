"""Values of `extern ... __kconfig` variables (tools/lib/bpf/libbpf.c).

A configuration is lines `CONFIG_X=value`: what the caller gives comes first, then the kernel's own.
`y`, `n` and `m` fit bool, tristate (`enum libbpf_tristate`) and char, text in quotes fits arrays of
char, anything else is a number.
"""

from __future__ import annotations

import enum
import errno
import gzip
import io
import os
import re
import sys
import zlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from anybpf import uapi
from anybpf.btf import types as t
from anybpf.btf.parse import Btf
from anybpf.errors import BpfError, LoadError
from anybpf.libbpf import log
from anybpf.libbpf.spec import DataSection, ExternSpec, Variable

#: text of a configuration, its values by name, or a file of it (which may be compressed)
Source = str | Mapping[str, str | int | bool] | os.PathLike[str]

TRISTATE = {"n": 0, "y": 1, "m": 2}
TRISTATE_ENUM = "libbpf_tristate"
PREFIX, VIRTUAL_PREFIX = "CONFIG_", "LINUX_"
GZIP_MAGIC = b"\x1f\x8b"
MAX_FILE = 64 << 20                  #: a configuration that unpacks to more is none
INTEGER = re.compile(r"([+-]?)(0[xX][0-9a-fA-F]+|0[0-7]*|[1-9][0-9]*)$")


class Kind(enum.Enum):
    """What the C type of a variable can hold."""

    UNKNOWN = enum.auto()
    CHAR = enum.auto()
    BOOL = enum.auto()
    INT = enum.auto()
    TRISTATE = enum.auto()
    CHAR_ARR = enum.auto()


class KernelFacts(NamedTuple):
    """What a kernel says about itself: version (6, 18, 0) and configuration by name.

    `config` is None where the kernel keeps its configuration to itself.
    """

    version: tuple[int, int, int]
    config: dict[str, str] | None


# configurations

def parse_config(text: str) -> dict[str, str]:
    """The lines `CONFIG_X=value` of a kernel configuration; the first of one name counts.

    Raises BpfError (EINVAL) for a line about a CONFIG_ that has no value.
    """
    found: dict[str, str] = {}
    for line in text.splitlines():
        if line.startswith(PREFIX):
            name, value = _parse_line(line)
            found.setdefault(name, value)
    return found


def _parse_line(line: str) -> tuple[str, str]:
    name, mark, value = line.partition("=")
    if not mark:
        log.fail(errno.EINVAL, f"failed to parse '{line}': no separator")
    if not value:
        log.fail(errno.EINVAL, f"failed to parse '{name}': no value")
    return name, value


def text_of(source: Source) -> str:
    """A configuration as text. Raises OSError, LoadError (a file that is no configuration)."""
    if isinstance(source, str):
        return source
    if isinstance(source, Mapping):
        return "".join(f"{name}={_value_text(value)}\n" for name, value in source.items())
    return unpack(Path(source).read_bytes()).decode("utf-8", "replace")


def unpack(data: bytes) -> bytes:
    """A configuration file's text, as it is or out of gzip."""
    if not data.startswith(GZIP_MAGIC):
        return data
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
            text = file.read(MAX_FILE + 1)
    except (OSError, EOFError, zlib.error) as e:
        raise LoadError(f"broken gzip data: {e}", "kconfig") from None
    if len(text) > MAX_FILE:
        raise LoadError(f"unpacks to more than {MAX_FILE} bytes", "kconfig")
    return text


def _value_text(value: str | int | bool) -> str:
    if isinstance(value, bool):
        return "y" if value else "n"
    if isinstance(value, int) or value in TRISTATE or value.startswith('"'):
        return str(value)
    return value if INTEGER.match(value) else f'"{value}"'


# the types of variables

def kind_of(btf: Btf, type_id: int) -> tuple[Kind, bool]:
    """(what the variable can hold, whether it is signed); libbpf refuses UNKNOWN ones."""
    found = btf.type(btf.resolve(type_id))
    if isinstance(found, t.Int):
        return _int_kind(found), found.signed
    if isinstance(found, t.AnyEnum):
        fits = found.name == TRISTATE_ENUM and (found.kind == uapi.BTF_KIND_ENUM64
                                                or found.size == 4)
        return (Kind.TRISTATE if fits else Kind.UNKNOWN), False
    if isinstance(found, t.Array) and found.nelems:
        element, signed = _element_kind(btf, found)
        return (Kind.CHAR_ARR if element is Kind.CHAR else Kind.UNKNOWN), signed
    return Kind.UNKNOWN, False


def _element_kind(btf: Btf, array: t.Array) -> tuple[Kind, bool]:
    element = btf.type(btf.resolve(array.type))
    return (_int_kind(element), element.signed) if isinstance(element, t.Int) \
        else (Kind.UNKNOWN, False)


def _int_kind(found: t.Int) -> Kind:
    if found.is_bool:
        return Kind.BOOL if found.size == 1 else Kind.UNKNOWN
    if found.size == 1:
        return Kind.CHAR
    return Kind.INT if found.size in (2, 4, 8) else Kind.UNKNOWN


# values

def version_code(version: tuple[int, int, int]) -> int:
    """KERNEL_VERSION(a, b, c); a large last part counts as 255."""
    major, minor, patch = version
    return major << 16 | minor << 8 | min(patch, 255)


#: the variables that no configuration has: name -> value on a kernel of that version
VIRTUAL: dict[str, Callable[[tuple[int, int, int]], int]] = {
    "LINUX_KERNEL_VERSION": version_code,
    "LINUX_HAS_BPF_COOKIE": lambda version: int(version >= (5, 15, 0)),
    "LINUX_HAS_SYSCALL_WRAPPER": lambda version: int(version >= (4, 17, 0)),
}


def fill(data: DataSection, externs: dict[str, ExternSpec], btf: Btf, given: dict[str, str],
         kernel: Callable[[], KernelFacts]) -> None:
    """Store the value of each variable: virtual ones, then `given`, then the kernel's own.

    Raises BpfError: ESRCH if a strong one is unknown, EINVAL and ERANGE for values that do not fit.
    """
    wanted = []
    for var in data.variables.values():
        if not var.name.startswith(PREFIX):
            _virtual(data, externs[var.name], btf, var, kernel)
        else:
            wanted.append(var)
    left = _store_all(data, btf, wanted, given)
    if left:
        config = kernel().config
        if config is None:
            log.fail(errno.EINVAL, "failed to open system Kconfig")
        left = _store_all(data, btf, left, config)
    for var in left:
        unresolved(externs[var.name])


def _virtual(data: DataSection, extern: ExternSpec, btf: Btf, var: Variable,
             kernel: Callable[[], KernelFacts]) -> None:
    value = VIRTUAL.get(var.name)
    if value is not None:
        number = value(kernel().version)
        _put(data, var, _number(*kind_of(btf, var.type_id), var, number))
        log.debug("extern (kcfg) '%s': set to 0x%x", var.name, number)
    elif not (var.name.startswith(VIRTUAL_PREFIX) and extern.is_weak):
        log.fail(errno.EINVAL, f"extern (kcfg) '{var.name}': unrecognized virtual extern")
    else:
        unresolved(extern)


def _store_all(data: DataSection, btf: Btf, wanted: Iterable[Variable],
               config: dict[str, str]) -> list[Variable]:
    """Store what `config` knows; the others."""
    left = []
    for var in wanted:
        text = config.get(var.name)
        if text is None:
            left.append(var)
            continue
        _put(data, var, encode(btf, var, text))
        log.debug("extern (kcfg) '%s': set to %s", var.name, text)
    return left


def _put(data: DataSection, var: Variable, raw: bytes) -> None:
    data.content[var.offset:var.offset + var.size] = raw


def unresolved(extern: ExternSpec) -> None:
    """A weak extern stays zero. Raises BpfError (ESRCH) for a strong one."""
    if not extern.is_weak:
        log.fail(errno.ESRCH, f"extern '{extern.name}' (strong): not resolved")
    log.debug("extern '%s' (weak): not resolved, defaulting to zero", extern.name)


def encode(btf: Btf, var: Variable, text: str) -> bytes:
    """One value as its C type stores it. Raises BpfError (EINVAL, ERANGE)."""
    kind, signed = kind_of(btf, var.type_id)
    if text[:1] in TRISTATE:
        return _tristate(kind, var, text[:1])
    if text.startswith('"'):
        return _string(kind, var, text)
    number = _parse_number(var, text)
    if kind not in (Kind.INT, Kind.CHAR):
        raise _mismatch(var, text, "implies integer type")
    return _number(kind, signed, var, number)


def _mismatch(var: Variable, value: object, why: str, number: int = errno.EINVAL) -> BpfError:
    message = f"extern (kcfg) '{var.name}': value '{value}' {why}"
    log.warning("%s", message)
    return BpfError(number, message)


def _parse_number(var: Variable, text: str) -> int:
    """As strtoull(3) reads it: decimal, 0x... or 0..., all of the text, modulo 2**64."""
    found = INTEGER.match(text.strip(" \t"))
    if found is None:
        log.warning("failed to parse '%s' as integer completely", text)
        raise _mismatch(var, text, "isn't a valid integer")
    sign, digits = found.groups()
    value = int(digits, 0 if digits[1:2] in ("x", "X") else 8 if digits[0] == "0" else 10)
    if value > uapi.U64:
        log.warning("failed to parse '%s' as integer: %d", text, -errno.ERANGE)
        raise _mismatch(var, text, "isn't a valid integer")
    return -value & uapi.U64 if sign == "-" else value


def _string(kind: Kind, var: Variable, text: str) -> bytes:
    if kind is not Kind.CHAR_ARR:
        raise _mismatch(var, text, "implies char array type")
    if len(text) < 2 or not text.endswith('"'):
        log.fail(errno.EINVAL, f"extern (kcfg) '{var.name}': invalid string config '{text}'")
    raw = text[1:-1].encode()
    if len(raw) >= var.size:
        log.warning("extern (kcfg) '%s': long string '%s' of (%d bytes) truncated to %d bytes",
                    var.name, text, len(raw), var.size - 1)
        raw = raw[:var.size - 1]
    return raw.ljust(var.size, b"\0")


def _tristate(kind: Kind, var: Variable, letter: str) -> bytes:
    if kind is Kind.CHAR:
        return letter.encode()
    if kind is Kind.BOOL and letter == "m":
        raise _mismatch(var, letter, "implies tristate or char type")
    if kind not in (Kind.BOOL, Kind.TRISTATE):
        raise _mismatch(var, letter, "implies bool, tristate, or char type")
    return TRISTATE[letter].to_bytes(var.size, sys.byteorder)


def _number(kind: Kind, signed: bool, var: Variable, number: int) -> bytes:
    """`number` is unsigned 64 bits, as C has parsed it."""
    if kind not in (Kind.INT, Kind.CHAR, Kind.BOOL):
        raise _mismatch(var, number, "implies integer, char, or boolean type")
    if kind is Kind.BOOL and number > 1:
        raise _mismatch(var, number, "isn't boolean compatible")
    if not _in_range(number, var.size, signed):
        raise _mismatch(var, number, f"doesn't fit in {var.size} bytes", errno.ERANGE)
    return (number & ((1 << 8 * var.size) - 1)).to_bytes(var.size, sys.byteorder)


def _in_range(number: int, size: int, signed: bool) -> bool:
    if size == 8:
        return True
    width = 8 * size
    if signed:
        return (number + (1 << width - 1)) & uapi.U64 < 1 << width
    return number >> width == 0
