"""How rows of the table of calls are made, and what they share.

A case is a function of `Calls`; what it returns is compared. Descriptors show as "fd".
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterable
from typing import Any

from anybpf import uapi as u
from anybpf.btf import types as t
from anybpf.btf.encode import BtfBuilder
from kernel.calls import Calls

Case = Callable[[Calls], Any]
CASES: dict[str, Case] = {}


def case(name: str, run: Case) -> None:
    """Add one row."""
    assert name not in CASES, name
    CASES[name] = run


def calls(cmd: int, rows: Iterable[tuple[str, dict[str, Any]]], prefix: str) -> None:
    """Rows that are one call each, with no objects."""
    for name, fields in rows:
        case(f"{prefix} {name}", lambda k, f=fields: k.open(cmd, **f))


def btf_blob() -> tuple[bytes, dict[str, int]]:
    """BTF with the types that the cases need, and their ids."""
    made = BtfBuilder()
    ids = {"int": made.add(t.Int("int", 4, encoding=u.BTF_INT_SIGNED))}
    ids["long"] = made.add(t.Int("long", 8))
    ids["proto"] = made.add(t.FuncProto(ids["int"]))
    ids["main"] = made.add(t.Func("main", ids["proto"], u.BTF_FUNC_GLOBAL))
    ids["sub"] = made.add(t.Func("sub", ids["proto"], u.BTF_FUNC_STATIC))
    ids["typedef"] = made.add(t.Typedef("key_t", ids["int"]))
    ids["lock"] = made.add(t.Struct("bpf_spin_lock", 4, (t.Member("val", ids["int"], 0),)))
    ids["locked"] = made.add(t.Struct("locked", 8, (
        t.Member("lock", ids["lock"], 0), t.Member("n", ids["int"], 32))))
    ids["outer"] = made.add(t.Struct("outer", 16, (
        t.Member("before", ids["long"], 0), t.Member("inner", ids["locked"], 64))))
    ids["ptr"] = made.add(t.Ptr(ids["int"]))
    return made.to_bytes(), ids


BTF, IDS = btf_blob()


def address(buffer: Any) -> int:
    """Where a buffer lies."""
    return ctypes.addressof(buffer)
