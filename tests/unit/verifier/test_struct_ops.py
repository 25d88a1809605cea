"""Structs of functions that a made-up kernel has registered, told by its types."""

from __future__ import annotations

from errno import EACCES, EINVAL

import pytest

from anybpf import uapi
from anybpf.btf import types as t
from anybpf.btf.encode import BtfBuilder
from anybpf.btf.parse import Btf
from anybpf.errors import ENOTSUPP, NotSupported
from anybpf.isa.asm import parse
from anybpf.proto.struct_ops import BY_NAME, StructOps
from anybpf.proto.writes import Place, Texts, Writes
from anybpf.verifier import Facts, Options, Verdict, verify

NAMES = ("take", "look", "give", "hidden")
GADGETS = StructOps(
    "gadget_ops", frozenset(NAMES[:3]),
    Writes({"gadget": (Place("size"),)}, Texts("no", "not {off}", "not so much of {struct}")),
    sleepable=frozenset({"look"}))


class Kernel:
    """Types of a kernel with one struct of functions, each taking one pointer."""

    def __init__(self, ops: str, arg: str, members: dict[str, str], *,
                 registered: bool = True) -> None:
        """`members`: name of each function -> what its argument is called in the kernel's own."""
        b = self._builder = BtfBuilder()
        self._int = b.add(t.Int("int", 4, encoding=uapi.BTF_INT_SIGNED))
        self._char = b.add(t.Int("char", 1))
        struct = b.add(self._fields(arg))
        pointer = b.add(t.Ptr(struct))
        makers = {name: b.add(t.FuncProto(pointer if name == "give" else self._int,
                                          (t.Param("", pointer),))) for name in members}
        rows = [t.Member(name, b.add(t.Ptr(makers[name])), 64 * i)
                for i, name in enumerate(members)]
        rows.append(t.Member("number", self._int, 64 * len(rows)))
        self.number = b.add(t.Struct(ops, 8 * len(rows), tuple(rows)))
        common = b.add(t.Struct("bpf_struct_ops_common_value", 4,
                                (t.Member("state", self._int, 0),)))
        if registered:
            b.add(t.Struct(f"bpf_struct_ops_{ops}", 64 + 8 * len(rows), (
                t.Member("common", common, 0), t.Member("data", self.number, 512))))
        for name, param in members.items():
            own = b.add(t.FuncProto(self._int, (t.Param(param, pointer),)))
            b.add(t.Func(f"{ops}__{name}", own, 0))
        self.btf: Btf = b.build()

    def _fields(self, name: str) -> t.Struct:
        text = self._builder.add(t.Array(self._char, self._int, 8))
        return t.Struct(name, 16, (t.Member("size", self._int, 0), t.Member("name", text, 32)))

    def ask(self, member: int, source: str, ops: StructOps = GADGETS, *, flags: int = 0,
            gpl: bool = True) -> Verdict:
        facts = Facts(uapi.BPF_PROG_TYPE_STRUCT_OPS, member, gpl=gpl, sleepable=bool(flags),
                      flags=flags, kernel_btf=self.btf, attach_btf_id=self.number,
                      struct_ops={ops.name: ops})
        return verify(parse(source.replace(";", "\n"))[0], facts, Options(2))


@pytest.fixture(scope="module")
def kernel() -> Kernel:
    return Kernel("gadget_ops", "gadget", dict(zip(NAMES, ("g__ref", "g__nullable", "g", "g"),
                                                   strict=True)))


@pytest.mark.parametrize(("member", "errno", "text"), [
    (3, ENOTSUPP, "attach to unsupported member hidden of struct gadget_ops"),
    (4, EINVAL, "attach to invalid member number(@idx 4) of struct gadget_ops"),
    (5, EINVAL, "attach to invalid member idx 5 of struct gadget_ops")])
def test_members(kernel: Kernel, member: int, errno: int, text: str) -> None:
    verdict = kernel.ask(member, "r0 = 0; exit")
    assert (verdict.errno, verdict.message) == (errno, text)


def test_who_may_sleep(kernel: Kernel) -> None:
    assert kernel.ask(1, "r0 = 0; exit", flags=uapi.BPF_F_SLEEPABLE).accepted
    assert kernel.ask(2, "r0 = 0; exit", flags=uapi.BPF_F_SLEEPABLE).errno == EINVAL


def test_licence(kernel: Kernel) -> None:
    assert "GPL compatible" in kernel.ask(1, "r0 = 0; exit", gpl=False).message


def test_struct_that_is_not_registered() -> None:
    made = Kernel("gadget_ops", "gadget", {"look": "g"}, registered=False)
    assert made.ask(0, "r0 = 0; exit").errno == ENOTSUPP


def test_struct_without_a_row(kernel: Kernel) -> None:
    with pytest.raises(NotSupported, match="gadget_ops"):
        kernel.ask(1, "r0 = 0; exit", BY_NAME["Qdisc_ops"])


def test_argument_that_must_be_given_back(kernel: Kernel) -> None:
    assert "Unreleased reference id=1 alloc_insn=0" in kernel.ask(0, "r0 = 0; exit").message


def test_tail_call_with_an_argument_that_must_be_given_back(kernel: Kernel) -> None:
    assert "__ref argument" in kernel.ask(0, "call 12; r0 = 0; exit").message


def test_argument_that_may_be_null(kernel: Kernel) -> None:
    load = "r1 = *(u64 *)(r1 + 0); r0 = 0;"
    assert kernel.ask(1, f"{load} r0 = *(u32 *)(r1 + 0); exit").errno == EACCES
    assert kernel.ask(1, f"{load} if r1 == 0 goto l; r0 = *(u32 *)(r1 + 0); l: exit").accepted
    assert kernel.ask(2, f"{load} r0 = *(u32 *)(r1 + 0); r0 = 0; exit").accepted


def test_result_that_is_a_pointer(kernel: Kernel) -> None:
    assert kernel.ask(2, "r0 = 0; exit").accepted
    assert "should have been in [0, 0]" in kernel.ask(2, "r0 = 1; exit").message
    given = kernel.ask(2, "r0 = *(u64 *)(r1 + 0); exit")
    assert "is not a known value (trusted_ptr_)" in given.message


@pytest.mark.parametrize(("off", "size", "text"), [
    (0, 32, ""), (0, 64, "not so much of gadget"), (4, 32, "not 4"), (2, 16, "not 2")])
def test_fields_that_may_be_written(kernel: Kernel, off: int, size: int, text: str) -> None:
    verdict = kernel.ask(2, f"r1 = *(u64 *)(r1 + 0); *(u{size} *)(r1 + {off}) = 1; r0 = 0; exit")
    assert verdict.message == text


HID = BY_NAME["hid_bpf_ops"]


@pytest.mark.parametrize(("off", "size", "text"), [
    (4, 8, ""), (4, 32, ""), (10, 8, ""),
    (11, 8, "write access at off 11 with size 1 on read-only part of hid_device"),
    (8, 32, "write access at off 8 with size 4 on read-only part of hid_device"),
    (0, 32, "write access at off 0 with size 4 on read-only part of hid_device"),
    (16, 32, "write access for struct hid_device at off 16 with size 4")])
def test_names_of_hid_devices(off: int, size: int, text: str) -> None:
    """All but their last byte may be written (hid_bpf_ops_btf_struct_access)."""
    made = Kernel("hid_bpf_ops", "hid_device", {"hid_device_event": "d"})
    source = f"r1 = *(u64 *)(r1 + 0); *(u{size} *)(r1 + {off}) = 1; r0 = 0; exit"
    assert made.ask(0, source, HID).message == text


def test_other_structs_of_hid_programs() -> None:
    made = Kernel("hid_bpf_ops", "device", {"hid_device_event": "d"})
    verdict = made.ask(0, "r1 = *(u64 *)(r1 + 0); *(u32 *)(r1 + 0) = 1; r0 = 0; exit", HID)
    assert verdict.message == "write access to this struct is not supported"
