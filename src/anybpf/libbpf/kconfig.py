"""Values of `extern ... __kconfig` variables (tools/lib/bpf/libbpf.c)."""

from __future__ import annotations

import errno
import sys
from typing import NamedTuple

from anybpf.btf import types as t
from anybpf.btf.parse import Btf
from anybpf.errors import BpfError
from anybpf.libbpf.spec import DataSection, ExternSpec, Variable

TRISTATE = {"n": 0, "y": 1, "m": 2}
TRISTATE_ENUM = "libbpf_tristate"


class KernelFacts(NamedTuple):
    """What a kernel says about itself: version (6, 18, 0) and configuration by name."""

    version: tuple[int, int, int]
    config: dict[str, str]


def parse_config(text: str) -> dict[str, str]:
    """The lines `CONFIG_X=value` of a kernel configuration."""
    pairs = (line.strip().partition("=") for line in text.splitlines())
    return {name: value for name, mark, value in pairs if mark and name.startswith("CONFIG_")}


def version_code(version: tuple[int, int, int]) -> int:
    """KERNEL_VERSION(a, b, c); a large last part counts as 255."""
    major, minor, patch = version
    return major << 16 | minor << 8 | min(patch, 255)


def fill(data: DataSection, externs: dict[str, ExternSpec], btf: Btf, facts: KernelFacts) -> None:
    """Store the value of each variable. Raises BpfError (ESRCH) if a strong one is unknown."""
    virtual = {"LINUX_KERNEL_VERSION": str(version_code(facts.version)),
               "LINUX_HAS_BPF_COOKIE": "y" if facts.version >= (5, 15, 0) else "n",
               "LINUX_HAS_SYSCALL_WRAPPER": "y" if facts.version >= (4, 17, 0) else "n"}
    for name, var in data.variables.items():
        value = virtual.get(name, facts.config.get(name))
        if value is not None:
            data.content[var.offset:var.offset + var.size] = encode(btf, var, value)
        elif not externs[name].is_weak:
            raise BpfError(errno.ESRCH, f"extern (kcfg) '{name}' not found")


def encode(btf: Btf, var: Variable, text: str) -> bytes:
    """One value as its C type stores it. Raises BpfError (EINVAL, ERANGE)."""
    found = btf.type(btf.resolve(var.type_id))
    if text.startswith('"'):
        return _string(found, var, text)
    if text in TRISTATE:
        return _tristate(found, var, text)
    try:
        number = int(text, 0)
    except ValueError:
        raise _mismatch(var, text) from None
    return _number(found, var, number)


def _mismatch(var: Variable, text: str) -> BpfError:
    return BpfError(errno.EINVAL, f"extern (kcfg) '{var.name}' cannot hold the value {text}")


def _string(found: t.Type, var: Variable, text: str) -> bytes:
    if not isinstance(found, t.Array) or len(text) < 2 or not text.endswith('"'):
        raise _mismatch(var, text)
    raw = text[1:-1].encode()[:max(var.size - 1, 0)]
    return raw.ljust(var.size, b"\0")


def _tristate(found: t.Type, var: Variable, text: str) -> bytes:
    if isinstance(found, t.AnyEnum) and found.name == TRISTATE_ENUM:
        return TRISTATE[text].to_bytes(var.size, sys.byteorder)
    if isinstance(found, t.Int) and found.is_bool and text != "m":
        return TRISTATE[text].to_bytes(var.size, sys.byteorder)
    if isinstance(found, t.Int) and found.size == 1 and not found.is_bool:
        return text.encode()
    raise _mismatch(var, text)


def _number(found: t.Type, var: Variable, number: int) -> bytes:
    if not isinstance(found, t.Int | t.AnyEnum) or (isinstance(found, t.Int) and found.is_bool):
        raise _mismatch(var, str(number))
    try:
        return number.to_bytes(var.size, sys.byteorder, signed=found.signed)
    except OverflowError:
        raise BpfError(errno.ERANGE, f"extern (kcfg) '{var.name}' cannot hold {number} in "
                                     f"{var.size} bytes") from None
