"""CO-RE on BTF made here: what libbpf cannot be asked for by way of a compiler."""

from __future__ import annotations

import errno
from typing import Any

import pytest

from anybpf import uapi
from anybpf.btf import relo_spec as rs
from anybpf.btf import types as t
from anybpf.btf.encode import BtfBuilder
from anybpf.btf.ext import CoreRelo
from anybpf.btf.parse import Btf
from anybpf.btf.relo_cands import Target, named
from anybpf.btf.relo_core import Relocator
from anybpf.btf.relo_patch import POISON_INSN, patch
from anybpf.btf.relo_spec import CoreError
from anybpf.btf.relo_value import Answer
from anybpf.errors import LoadError
from anybpf.isa.insn import Insn

SIGNED = uapi.BTF_INT_SIGNED
MOV, MOV_REG = uapi.BPF_ALU64 | uapi.BPF_MOV, uapi.BPF_ALU64 | uapi.BPF_MOV | uapi.BPF_X
LDX_W = uapi.BPF_LDX | uapi.BPF_MEM | uapi.BPF_W
LD_IMM64 = uapi.BPF_LD | uapi.BPF_IMM | uapi.BPF_DW


class Types(BtfBuilder):
    """BTF with `int` as type 1 and `unsigned int` as type 2."""

    def __init__(self, *more: t.Type, **how: Any) -> None:
        super().__init__(**how)
        self.add(t.Int("int", 4, 32, 0, SIGNED))
        self.add(t.Int("unsigned int", 4))
        self.last = 0
        for one in more:
            self.last = self.add(one)


def struct_of(name: str, *members: tuple[str, int, int], size: int = 64,
              width: int = 0) -> t.Struct:
    """A struct of (name, type, byte offset)."""
    return t.Struct(name, size, tuple(t.Member(n, i, 8 * at, width) for n, i, at in members),
                    bool(width))


def resolve(local: Types, kernel: Types, kind: int, access: str = "0:0", *,
            type_id: int | None = None) -> Answer:
    spot = local.string(access)
    relo = CoreRelo(0, local.last if type_id is None else type_id, spot, kind)
    return Relocator(local.build(), Target(kernel.build())).resolve(relo, "prog 'p': relo #0")


S_A = struct_of("s", ("a", 1, 0))


# records that are wrong

@pytest.mark.parametrize(("access", "kind", "number"), [
    ("", 0, errno.EINVAL), (":0", 0, errno.EINVAL), ("0:", 0, errno.EINVAL),
    ("0:-1", 0, errno.EINVAL), ("0:x", 0, errno.EINVAL), ("0:1", 0, errno.EINVAL),
    ("0:0:0", 0, errno.EINVAL), ("0:99999999999", 0, errno.EINVAL), ("1", 8, errno.EINVAL),
    ("0:0", 10, errno.EINVAL), ("0", 11, errno.EINVAL), ("0:0", 99, errno.EINVAL),
    ("0:" * 64 + "0", 0, errno.EINVAL), ("0:٣", 0, errno.EINVAL),
])
def test_bad_records(access: str, kind: int, number: int) -> None:
    with pytest.raises(CoreError) as refused:
        resolve(Types(S_A), Types(S_A), kind, access)
    assert refused.value.errno == number
    assert refused.value.strerror.startswith("prog 'p': relo #0: parsing [3] struct s + ")


@pytest.mark.parametrize("type_id", [0, 4])
def test_types_without_a_name(type_id: int) -> None:
    local = Types(S_A, t.Struct("", 4))
    with pytest.raises(CoreError, match="candidate search failed"):
        resolve(local, Types(S_A), rs.TYPE_EXISTS, "0", type_id=type_id)
    answer = resolve(local, Types(S_A), rs.TYPE_ID_LOCAL, "0", type_id=4)
    assert (answer.new, answer.validate, answer.matched) == (4, False, True)


def test_field_of_a_type_without_size() -> None:
    local = Types(t.FuncProto(0), t.Typedef("f", 3))
    with pytest.raises(CoreError, match="has no size"):
        resolve(local, Types(S_A), rs.FIELD_BYTE_OFFSET, "0")


def test_arrays_without_end() -> None:
    kernel = Types(*(t.Array(4 + i, 1, 1) for i in range(40)), struct_of("s", ("a", 3, 0)))
    local = Types(*(t.Array(4 + i, 1, 1) for i in range(40)), struct_of("s", ("a", 3, 0)))
    with pytest.raises(CoreError):
        resolve(local, kernel, rs.FIELD_BYTE_OFFSET)


def test_anonymous_members_that_multiply() -> None:
    """Two members of the same anonymous struct at each level: 2 ** 60 places to look at."""
    levels = [struct_of("", ("", 4 + i, 0), ("", 4 + i, 4)) for i in range(60)]
    kernel = Types(*levels, struct_of("", ("x", 1, 0)), struct_of("s", ("", 3, 0)))
    assert resolve(Types(S_A), kernel, rs.FIELD_EXISTS).new == 0
    looped = Types(struct_of("s", ("", 3, 0)))
    assert resolve(Types(S_A), looped, rs.FIELD_EXISTS).new == 0


def test_functions_that_multiply() -> None:
    """Each function takes the next one twice."""
    protos = []
    for i in range(31):
        protos += [t.FuncProto(1, (t.Param("a", 4 + 2 * i), t.Param("b", 4 + 2 * i))),
                   t.Ptr(5 + 2 * i)]
    local, kernel = (Types(*protos, t.FuncProto(1), t.Typedef("f", 3)) for _ in range(2))
    assert resolve(local, kernel, rs.TYPE_EXISTS, "0").new == 1
    assert resolve(local, kernel, rs.TYPE_MATCHES, "0").new == 1


def test_structs_that_contain_themselves() -> None:
    local, kernel = (Types(struct_of("s", ("a", 3, 0))) for _ in range(2))
    with pytest.raises(CoreError, match="too deep"):
        resolve(local, kernel, rs.TYPE_MATCHES, "0")


# candidates

def test_names_and_flavours() -> None:
    names = ("s", "s___a", "s___b___c", "s____d", "___s", "s___", "t___s", "ss", "s__x")
    btf = Types(*(t.Struct(n, 4) for n in names)).build()
    found = {n: [btf.type(i).name for i in named(btf, n)] for n in ("s", "s___b", "t", "s____d")}
    assert found == {"s": ["s", "s___a"], "s___b": ["s___b___c"], "t": ["t___s"],
                     "s____d": ["s____d"]}


@pytest.mark.parametrize(("name", "essential"), [
    ("task", "task"), ("task___v1", "task"), ("a___b___c", "a___b"), ("a____b", "a____b"),
    ("___b", "___b"), ("a___", "a___"), ("a___b_", "a"), ("", ""), ("a___b____c", "a"),
    ("_a___b", "_a"), ("a____b___c", "a____b"),
])
def test_essential_name(name: str, essential: str) -> None:
    assert rs.essential_name(name) == essential


def test_names_that_are_ends_of_other_strings() -> None:
    made = Types(S_A)
    made.string("whole_s___old")
    data = bytearray(made.to_bytes())
    spot = data.index(b"whole_s___old") + 6 - data.index(b"\0int\0")
    at = data.index((4 << 24 | 1).to_bytes(4, "little")) - 4
    data[at:at + 4] = spot.to_bytes(4, "little")
    btf = Btf(bytes(data))
    assert btf.type(3).name == "s___old"
    assert named(btf, "s") == [3]


def test_modules_are_asked_if_the_kernel_has_nothing() -> None:
    base = Types(S_A).build()
    asked: list[str] = []

    def modules() -> list[tuple[str, Btf]]:
        asked.append("modules")
        made = BtfBuilder(base=base)
        made.add(struct_of("in_module", ("q", 1, 0), ("a", 2, 12)))
        other = BtfBuilder(base=base)
        other.add(t.Struct("s", 99))
        return [("first", made.build()), ("second", other.build())]

    target = Target(base, modules)
    local = Types(S_A, struct_of("in_module", ("a", 1, 0)))
    spot, whole = local.string("0:0"), local.string("0")
    relocator = Relocator(local.build(), target)
    assert relocator.resolve(CoreRelo(0, 3, whole, rs.TYPE_SIZE)).new == 64
    assert not asked
    for _ in range(2):
        answer = relocator.resolve(CoreRelo(0, 4, spot, rs.FIELD_BYTE_OFFSET))
        assert (answer.new, answer.origin) == (12, "first")
    assert asked == ["modules"]


def test_pointers_of_a_32_bit_kernel() -> None:
    local = Types(t.Ptr(0), struct_of("s", ("p", 3, 0)))
    kernel = Types(t.Int("long", 4, 32, 0, SIGNED), t.Ptr(0), struct_of("s", ("x", 1, 0),
                                                                     ("p", 4, 4)))
    assert resolve(local, kernel, rs.FIELD_BYTE_SIZE).new == 4
    answer = resolve(local, kernel, rs.FIELD_BYTE_OFFSET)
    assert (answer.old_size, answer.new_size, answer.bad_size) == (8, 4, False)
    insns = [Insn(uapi.BPF_LDX | uapi.BPF_MEM | uapi.BPF_DW, 1, 2, 0)]
    patch(insns, 0, answer, "")
    assert insns == [Insn(LDX_W, 1, 2, 4)]


# values

def test_shifts_depend_on_the_byte_order() -> None:
    """Three bits from bit 5 of the word at byte 8."""
    bits = t.Struct("s", 16, (t.Member("a", 2, 69, 3),), True)
    for order, shift in (("little", 64 - 8), ("big", 32 + 5)):
        local, kernel = (Types(bits, byteorder=order) for _ in range(2))
        answer = resolve(local, kernel, rs.FIELD_LSHIFT_U64)
        assert (answer.old, answer.new, answer.validate) == (shift, shift, False)
        assert resolve(local, kernel, rs.FIELD_RSHIFT_U64).new == 61


def test_shifts_of_wide_fields_wrap_as_in_c() -> None:
    kernel = Types(t.Struct("w", 16), struct_of("s", ("a", 3, 0)))
    local = Types(t.Struct("w", 16), struct_of("s", ("a", 3, 0)))
    assert resolve(local, kernel, rs.FIELD_RSHIFT_U64).new == 0xFFFF_FFC0


def test_offsets_wrap_as_in_c() -> None:
    local, kernel = (Types(t.Struct("s", 0x40000000)) for _ in range(2))
    assert resolve(local, kernel, rs.FIELD_BYTE_OFFSET, "1").new == 0


# instructions

def answer_of(old: int = 4, new: int = 8, **more: Any) -> Answer:
    return Answer(rs.Spec(Btf(BtfBuilder().to_bytes()), 0, 0), None, old, new, **more)


def patched(insns: list[Insn], answer: Answer) -> list[Insn]:
    out = list(insns)
    patch(out, 0, answer, "prog 'p': relo #0")
    return out


def test_forms() -> None:
    assert patched([Insn(MOV, 1, imm=4)], answer_of()) == [Insn(MOV, 1, imm=8)]
    assert patched([Insn(uapi.BPF_ALU | uapi.BPF_ADD, 1, imm=4)], answer_of(new=1 << 31)) == [
        Insn(uapi.BPF_ALU | uapi.BPF_ADD, 1, imm=-(1 << 31))]
    assert patched([Insn(LDX_W, 1, 2, 4)], answer_of()) == [Insn(LDX_W, 1, 2, 8)]
    store = uapi.BPF_ST | uapi.BPF_MEM | uapi.BPF_H
    assert patched([Insn(store, 1, 0, 4, 9)], answer_of(old_size=2, new_size=8)) == [
        Insn(uapi.BPF_ST | uapi.BPF_MEM | uapi.BPF_DW, 1, 0, 8, 9)]
    pair = [Insn(LD_IMM64, 3, imm=4), Insn(0)]
    assert patched(pair, answer_of(new=1 << 40 | 7)) == [
        Insn(LD_IMM64, 3, imm=7), Insn(0, imm=1 << 8)]
    assert patched(pair, answer_of(poison=True)) == [POISON_INSN, POISON_INSN]
    assert patched([Insn(LDX_W, 1, 2, 4)], answer_of(bad_size=True)) == [POISON_INSN]
    assert patched([Insn(MOV, 1, imm=4)], answer_of(bad_size=True)) == [Insn(MOV, 1, imm=8)]
    assert POISON_INSN.imm == 195896080


@pytest.mark.parametrize(("insns", "more", "number", "text"), [
    ([Insn(MOV, imm=5)], {}, errno.EINVAL, "unexpected insn #0 (ALU/ALU64) value: got 5, exp 4"),
    ([Insn(MOV, imm=-1)], {}, errno.EINVAL, "got 4294967295, exp 4 -> 8"),
    ([Insn(MOV_REG, 1, 2)], {}, errno.EINVAL, "takes a register"),
    ([Insn(LDX_W, 1, 2, 5)], {}, errno.EINVAL, "unexpected insn #0 (LDX/ST/STX) value: got 5"),
    ([Insn(LDX_W, 1, 2, 4)], {"new": 1 << 15}, errno.ERANGE, "value too big: 32768"),
    ([Insn(LDX_W, 1, 2, 4)], {"old_size": 2, "new_size": 4}, errno.EINVAL,
     "unexpected mem size: got 4, exp 2"),
    ([Insn(LDX_W, 1, 2, 4)], {"old_size": 4, "new_size": 3}, errno.EINVAL,
     "invalid new mem size: 3"),
    ([Insn(LD_IMM64, 1, 1, 0, 4), Insn(0)], {}, errno.EINVAL, "(LDIMM64) has unexpected form"),
    ([Insn(LD_IMM64, 1, 0, 0, 4)], {}, errno.EINVAL, "(LDIMM64) has unexpected form"),
    ([Insn(LD_IMM64, 1, 0, 0, 4), Insn(0, 1)], {}, errno.EINVAL, "has unexpected form"),
    ([Insn(LD_IMM64, 1, 0, 0, 5), Insn(0)], {}, errno.EINVAL,
     "unexpected insn #0 (LDIMM64) value: got 5, exp 4 -> 8"),
    ([Insn(uapi.BPF_LD | uapi.BPF_ABS)], {}, errno.EINVAL, "(LDIMM64) has unexpected form"),
    ([Insn(uapi.BPF_JMP | uapi.BPF_EXIT)], {}, errno.EINVAL,
     "trying to relocate unrecognized insn #0, code:0x95, src:0x0"),
])
def test_instructions_that_do_not_fit(insns: list[Insn], more: dict[str, Any], number: int,
                                      text: str) -> None:
    with pytest.raises(CoreError) as refused:
        patched(insns, answer_of(**more))
    assert refused.value.errno == number
    assert text in str(refused.value)


def test_what_the_compiler_disagrees_on_is_not_checked() -> None:
    assert patched([Insn(MOV, 1, imm=77)], answer_of(validate=False)) == [Insn(MOV, 1, imm=8)]


def test_a_name_beyond_the_strings() -> None:
    made = Types(S_A)
    data = bytearray(made.to_bytes())
    at = data.index((4 << 24 | 1).to_bytes(4, "little")) - 4
    data[at:at + 4] = (1 << 20).to_bytes(4, "little")
    broken = Btf(bytes(data))
    with pytest.raises(LoadError):
        Relocator(broken, Target(Types(S_A).build())).resolve(CoreRelo(0, 3, 1, 0))
