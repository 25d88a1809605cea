"""Arguments of global functions from BTF."""

from __future__ import annotations

from errno import EINVAL, EOPNOTSUPP

from anybpf import uapi
from anybpf.btf import types as t
from anybpf.btf.encode import BtfBuilder
from anybpf.btf.parse import Btf
from anybpf.verifier.facts import FuncArg
from anybpf.verifier.prototypes import Program, prototype

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


def taken(*kinds: str, program: int = XDP) -> tuple[FuncArg, ...]:
    return prototype(*function(*kinds), Program(program)).args


def said(*kinds: str, tag: str = "", result: str = "int") -> tuple[int, str]:
    found = prototype(*function(*kinds, tag=tag, result=result), Program(XDP))
    return found.errno, found.text


def test_kinds() -> None:
    assert taken("xdp_md*", "int", "mine*") == (
        FuncArg("ctx"), FuncArg("scalar"), FuncArg("mem", 12))
    # another program type's context is memory like any other
    assert taken("xdp_md*", program=uapi.BPF_PROG_TYPE_SCHED_CLS) == (FuncArg("mem", 24),)


def test_tags() -> None:
    tagged = prototype(*function("mine*", tag="arg:nonnull"), Program(XDP))
    assert tagged.args == (FuncArg("mem", 12, nullable=False),)
    assert prototype(*function("xdp_md*", tag="arg:ctx"), Program(XDP)).args == (FuncArg("ctx"),)
    assert said("mine*", tag="arg:ctx") == (EINVAL, "arg#0 should be `struct xdp_md *`")
    assert said("mine*", tag="arg:mine") == (EOPNOTSUPP, "arg#0 has unsupported set of tags")
    assert said("int", tag="arg:nonnull") == (
        EINVAL, "arg#0 has pointer tag, but is not a pointer type")
    assert said("mine*", tag="arg:nullable") == (
        EINVAL, "arg#0 has invalid combination of tags")


def test_what_a_global_function_may_not_have() -> None:
    assert said("fwd*") == (
        EINVAL, "arg#0 reference type('FWD fwd') size cannot be determined: -22")
    assert said("mine") == (EINVAL, "Arg#0 type STRUCT in f() is not supported yet.")
    assert said("int", result="void") == (
        EINVAL, "Global function f() doesn't return scalar. Only those are supported.")
    assert said(*["int"] * 6) == (
        EINVAL, "Global function f() with 6 > 5 args. Buggy compiler.")
