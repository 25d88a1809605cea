"""Arguments of global functions from BTF."""

from __future__ import annotations

from anybpf import uapi
from anybpf.btf import types as t
from anybpf.btf.encode import BtfBuilder
from anybpf.btf.parse import Btf
from anybpf.verifier.facts import FuncArg
from anybpf.verifier.prototypes import arguments

XDP = uapi.BPF_PROG_TYPE_XDP


def function(*kinds: str, tag: str = "", result: str = "int") -> tuple[Btf, int]:
    """BTF of one function with these parameters, and its id."""
    b = BtfBuilder()
    ids = {"void": 0, "int": b.add(t.Int("int", 4, encoding=uapi.BTF_INT_SIGNED))}
    for name, size in (("xdp_md", 24), ("mine", 12)):
        ids[name] = b.add(t.Struct(name, size, (t.Member("a", ids["int"], 0),)))
        ids[name + "*"] = b.add(t.Ptr(ids[name]))
    ids["fwd*"] = b.add(t.Ptr(b.add(t.Fwd("fwd"))))
    params = tuple(t.Param(f"p{i}", ids[kind]) for i, kind in enumerate(kinds))
    func = b.add(t.Func("f", b.add(t.FuncProto(ids[result], params)), uapi.BTF_FUNC_GLOBAL))
    if tag:
        b.add(t.DeclTag(tag, func, 0))
    return Btf(b.to_bytes()), func


def test_kinds() -> None:
    assert arguments(*function("xdp_md*", "int", "mine*"), XDP) == (
        FuncArg("ctx"), FuncArg("scalar"), FuncArg("mem", 12))
    # another program type's context is memory like any other
    assert arguments(*function("xdp_md*"), uapi.BPF_PROG_TYPE_SCHED_CLS) == (FuncArg("mem", 24),)


def test_what_is_not_modelled() -> None:
    assert arguments(*function("fwd*"), XDP) is None
    assert arguments(*function("mine"), XDP) is None
    assert arguments(*function("mine*", tag="arg:nonnull"), XDP) is None
    assert arguments(*function("int", result="void"), XDP) is None
    assert arguments(*function(*["int"] * 6), XDP) is None
