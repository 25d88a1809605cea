"""The interpreter: each kind of instruction by table, calls, limits, bytes that are no program."""

from __future__ import annotations

import ctypes
import struct
import weakref
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anybpf import uapi
from anybpf.bits import bswap16, bswap32, bswap64, s8, s16, s32, s64
from anybpf.core import interpreter
from anybpf.core.prog import Prog
from anybpf.errors import BpfError, Fault, NotSupported

from .rig import U64, Rig

U32 = (1 << 32) - 1
TOP = 1 << 63


def towards_zero(a: int, b: int) -> int:
    q = abs(a) // abs(b)
    return q if (a < 0) == (b < 0) else -q


ALU = {
    "+=": lambda a, b, bits: a + b,
    "-=": lambda a, b, bits: a - b,
    "*=": lambda a, b, bits: a * b,
    "/=": lambda a, b, bits: a // b if b else 0,
    "%=": lambda a, b, bits: a % b if b else a,
    "&=": lambda a, b, bits: a & b,
    "|=": lambda a, b, bits: a | b,
    "^=": lambda a, b, bits: a ^ b,
    "<<=": lambda a, b, bits: a << (b % bits),
    ">>=": lambda a, b, bits: a >> (b % bits),
    "s>>=": lambda a, b, bits: signed(a, bits) >> (b % bits),
    "=": lambda a, b, bits: b,
    "s/=": lambda a, b, bits: (towards_zero(signed(a, bits), signed(b, bits)) if b else 0),
    "s%=": lambda a, b, bits: (signed(a, bits) - signed(b, bits)
                               * towards_zero(signed(a, bits), signed(b, bits)) if b else a),
}

COMPARE = {
    "==": lambda a, b, bits: a == b,
    "!=": lambda a, b, bits: a != b,
    ">": lambda a, b, bits: a > b,
    ">=": lambda a, b, bits: a >= b,
    "<": lambda a, b, bits: a < b,
    "<=": lambda a, b, bits: a <= b,
    "&": lambda a, b, bits: bool(a & b),
    "s>": lambda a, b, bits: signed(a, bits) > signed(b, bits),
    "s>=": lambda a, b, bits: signed(a, bits) >= signed(b, bits),
    "s<": lambda a, b, bits: signed(a, bits) < signed(b, bits),
    "s<=": lambda a, b, bits: signed(a, bits) <= signed(b, bits),
}

EDGES = (0, 1, 2, 5, 31, 32, 33, 63, 64, 0x7F, 0x80, 0xFF, 0x8000, 0x7FFF_FFFF, 0x8000_0000, U32,
         U32 + 1, 0x0123_4567_89AB_CDEF, TOP - 1, TOP, U64 - 1, U64)
NUMBERS = st.one_of(st.sampled_from(EDGES), st.integers(0, U64))


def signed(x: int, bits: int) -> int:
    return s64(x) if bits == 64 else s32(x)


def cut(x: int, bits: int) -> int:
    return x & (U64 if bits == 64 else U32)


RIG = Rig()
INPUT = RIG.memory(bytes(16), name="input")
TAKE = "r0 = *(u64 *)(r1 + 0); r3 = *(u64 *)(r1 + 8);"


def with_numbers(prog: Prog, a: int, b: int = 0) -> int:
    """r0 of a program that begins with TAKE, the same in both modes."""
    ctypes.memmove(INPUT, struct.pack("<QQ", a, b), 16)
    checked = RIG.run(prog, INPUT)
    assert RIG.run(prog, INPUT, checked=False) == checked
    return checked


@pytest.mark.parametrize("bits", [64, 32])
@pytest.mark.parametrize("op", ALU)
def test_alu_of_registers(op: str, bits: int) -> None:
    r = "r" if bits == 64 else "w"
    prog = RIG.prog(f"{TAKE} {r}0 {op} {r}3; exit")
    for a in EDGES:
        for b in EDGES:
            want = cut(ALU[op](cut(a, bits), cut(b, bits), bits), bits)
            assert with_numbers(prog, a, b) == want, (a, b)


def immediates(op: str, bits: int) -> list[int]:
    """Immediates that the operation takes: no division by 0, no shift by more than there is."""
    some = [0, 1, -1, 7, -7, 31, 33, 63, 0x7FFF_FFFF, -0x8000_0000]
    if "<<" in op or ">>" in op:
        return [x for x in some if 0 <= x < bits]
    return [x for x in some if x or not ("/" in op or "%" in op)]


@pytest.mark.parametrize("bits", [64, 32])
@pytest.mark.parametrize("op", ALU)
def test_alu_of_immediates(op: str, bits: int) -> None:
    r = "r" if bits == 64 else "w"
    for imm in immediates(op, bits):
        prog = RIG.prog(f"{TAKE} {r}0 {op} {imm}; exit")
        for a in EDGES:
            want = ALU[op](cut(a, bits), cut(imm, bits), bits)
            assert with_numbers(prog, a) == cut(want, bits), (a, imm)


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(sorted(ALU)), st.sampled_from([64, 32]), NUMBERS, NUMBERS)
def test_alu_of_any_numbers(op: str, bits: int, a: int, b: int) -> None:
    r = "r" if bits == 64 else "w"
    text = f"r0 = {a:#x} ll; r3 = {b:#x} ll; {r}0 {op} {r}3; exit"
    assert RIG.both(text) == cut(ALU[op](cut(a, bits), cut(b, bits), bits), bits)


@pytest.mark.parametrize(("text", "meaning"), [
    ("r0 = -r0", lambda x: -x & U64),
    ("w0 = -w0", lambda x: -x & U32),
    ("r0 = (s8)r0", lambda x: s8(x) & U64),
    ("r0 = (s16)r0", lambda x: s16(x) & U64),
    ("r0 = (s32)r0", lambda x: s32(x) & U64),
    ("w0 = (s8)w0", lambda x: s8(x) & U32),
    ("w0 = (s16)w0", lambda x: s16(x) & U32),
    ("r0 = be16 r0", bswap16),
    ("r0 = be32 r0", bswap32),
    ("r0 = be64 r0", bswap64),
    ("r0 = le16 r0", lambda x: x & 0xFFFF),
    ("r0 = le32 r0", lambda x: x & U32),
    ("r0 = le64 r0", lambda x: x),
    ("r0 = bswap16 r0", bswap16),
    ("r0 = bswap32 r0", bswap32),
    ("r0 = bswap64 r0", bswap64),
    ("r0 = addr_space_cast(r0, 0, 1)", lambda x: x),
])
def test_unary(text: str, meaning: Any) -> None:
    for x in EDGES:
        assert RIG.both(f"r0 = {x:#x} ll; {text}; exit") == meaning(x)


@pytest.mark.parametrize("bits", [64, 32])
@pytest.mark.parametrize("op", COMPARE)
def test_conditional_jumps(op: str, bits: int) -> None:
    r = "r" if bits == 64 else "w"
    prog = RIG.prog(f"{TAKE} r2 = r0; r0 = 1; if {r}2 {op} {r}3 goto +1; r0 = 0; exit")
    for a in EDGES:
        for b in EDGES:
            want = COMPARE[op](cut(a, bits), cut(b, bits), bits)
            assert with_numbers(prog, a, b) == want, (a, b)


@pytest.mark.parametrize("bits", [64, 32])
@pytest.mark.parametrize("op", COMPARE)
def test_conditional_jumps_on_immediates(op: str, bits: int) -> None:
    r = "r" if bits == 64 else "w"
    for imm in (0, 1, -1, 0x7FFF_FFFF, -0x8000_0000):
        prog = RIG.prog(f"{TAKE} r2 = r0; r0 = 1; if {r}2 {op} {imm} goto +1; r0 = 0; exit")
        for a in EDGES:
            want = COMPARE[op](cut(a, bits), cut(imm, bits), bits)
            assert with_numbers(prog, a) == want, (a, imm)


def test_jumps_forward_backward_and_long() -> None:
    assert RIG.both("r0 = 0; goto +1; exit; r0 += 1; if r0 == 3 goto +1; goto -3; exit") == 3
    assert RIG.both("r0 = 7; gotol +1; r0 = 0; exit") == 7


@pytest.mark.parametrize("size", [1, 2, 4, 8])
def test_loads_and_stores(size: int) -> None:
    bits, mask = size * 8, (1 << size * 8) - 1
    for x in EDGES:
        text = f"r3 = {x:#x} ll; *(u{bits} *)(r10 - 16) = r3; r0 = *(u{bits} *)(r10 - 16); exit"
        assert RIG.both(text) == x & mask
        if size < 8:
            wide = f"r3 = {x:#x} ll; *(u64 *)(r10 - 8) = r3; r0 = *(s{bits} *)(r10 - 8); exit"
            assert RIG.both(wide) == ((x & mask) ^ 1 << bits - 1) - (1 << bits - 1) & U64
    for imm in (0, 1, -1, 0x7FFF_FFFF):
        text = f"*(u{bits} *)(r10 - 8) = {imm}; r0 = *(u{bits} *)(r10 - 8); exit"
        assert RIG.both(text) == imm & mask


def test_a_store_changes_only_its_bytes() -> None:
    text = ("r1 = -1; *(u64 *)(r10 - 8) = r1; r2 = 0; *(u16 *)(r10 - 6) = r2;"
            "r0 = *(u64 *)(r10 - 8); exit")
    assert RIG.both(text) == 0xFFFF_FFFF_0000_FFFF


ATOMICS = {"+=": lambda a, b: a + b, "|=": lambda a, b: a | b, "&=": lambda a, b: a & b,
           "^=": lambda a, b: a ^ b}
FETCHES = {"add": "+=", "or": "|=", "and": "&=", "xor": "^="}


@pytest.mark.parametrize("bits", [32, 64])
@pytest.mark.parametrize("op", ATOMICS)
def test_atomics_without_result(op: str, bits: int) -> None:
    for a, b in ((5, 3), (U64, 1), (0x1234_5678_9ABC_DEF0, 0xFF00_FF00_FF00_FF00)):
        text = (f"r1 = {a:#x} ll; r2 = {b:#x} ll; *(u64 *)(r10 - 8) = r1;"
                f"lock *(u{bits} *)(r10 - 8) {op} r2; r0 = *(u64 *)(r10 - 8); exit")
        low = cut(ATOMICS[op](a, b), bits)
        assert RIG.both(text) == (low if bits == 64 else a >> 32 << 32 | low)


@pytest.mark.parametrize("bits", [32, 64])
@pytest.mark.parametrize("name", FETCHES)
def test_atomics_with_result(name: str, bits: int) -> None:
    r = "r" if bits == 64 else "w"
    fetch = f"atomic{'64' if bits == 64 else ''}_fetch_{name}"
    for a, b in ((5, 3), (U64, 1), (0x1234_5678_9ABC_DEF0, 0xFF00_FF00_FF00_FF00)):
        head = (f"r1 = {a:#x} ll; r2 = {b:#x} ll; *(u64 *)(r10 - 8) = r1;"
                f"{r}2 = {fetch}((u{bits} *)(r10 - 8), {r}2);")
        assert RIG.both(head + "r0 = r2; exit") == cut(a, bits)
        low = cut(ATOMICS[FETCHES[name]](a, b), bits)
        want = low if bits == 64 else a >> 32 << 32 | low
        assert RIG.both(head + "r0 = *(u64 *)(r10 - 8); exit") == want


def test_exchange() -> None:
    head = "r1 = 0x1122334455667788 ll; r2 = 0x99 ll; *(u64 *)(r10 - 8) = r1;"
    old64 = head + "r2 = xchg_64(r10 - 8, r2); r0 = r2; exit"
    old32 = head + "w2 = xchg32_32(r10 - 8, w2); r0 = r2; exit"
    assert RIG.both(old64) == 0x1122_3344_5566_7788
    assert RIG.both(old32) == 0x5566_7788


@pytest.mark.parametrize(("expected", "memory"), [(5, 9), (6, 5)])
def test_compare_and_exchange(expected: int, memory: int) -> None:
    head = f"r1 = 5; r2 = 9; *(u64 *)(r10 - 8) = r1; r0 = {expected};"
    wide = head + "r0 = cmpxchg_64(r10 - 8, r0, r2);"
    narrow = head + "w0 = cmpxchg32_32(r10 - 8, w0, w2);"
    for text in (wide, narrow):
        assert RIG.both(text + "exit") == 5
        assert RIG.both(text + "r0 = *(u64 *)(r10 - 8); exit") == memory


@pytest.mark.parametrize("size", [1, 2, 4, 8])
def test_load_acquire_and_store_release(size: int) -> None:
    bits, r = size * 8, "r" if size == 8 else "w"
    text = (f"r1 = 0x8182838485868788 ll; store_release((u{bits} *)(r10 - 8), {r}1);"
            f"{r}0 = load_acquire((u{bits} *)(r10 - 8)); exit")
    assert RIG.both(text) == 0x8182_8384_8586_8788 & ((1 << bits) - 1)


def test_a_misaligned_atomic_faults(rig: Rig) -> None:
    with pytest.raises(Fault, match="misaligned atomic of 8 bytes at stack") as e:
        rig.run("r1 = 0; lock *(u64 *)(r10 - 12) += r1; exit")
    assert (e.value.insn, e.value.size, e.value.region) == (1, 8, "stack")


def test_may_goto_leaves_after_its_budget(rig: Rig) -> None:
    text = "r0 = 0; may_goto +2; r0 += 1; goto -3; exit"
    assert rig.run(text, budget=100_000_000) == 8 * 1024 * 1024
    assert rig.run(text, checked=False) == 8 * 1024 * 1024


# --- calls ---

def test_a_call_keeps_r6_to_r9_and_the_frame() -> None:
    text = """
        r6 = 6; r7 = 7; r8 = 8; r9 = 9; *(u64 *)(r10 - 8) = r6
        r1 = 40; r2 = 2; call add
        r0 += r6; r0 += r7; r0 += r8; r0 += r9
        r1 = *(u64 *)(r10 - 8); r0 += r1
        exit
    add:
        r6 = 0; r7 = 0; r8 = 0; r9 = 0; *(u64 *)(r10 - 8) = r6
        r0 = r1; r0 += r2
        exit
    """
    assert RIG.both(text) == 42 + 30 + 6


def test_a_callee_may_use_its_callers_stack() -> None:
    text = """
        r1 = r10; r1 += -8; call set; r0 = *(u64 *)(r10 - 8); exit
    set:
        r2 = 99; *(u64 *)(r1 + 0) = r2; r0 = 0; exit
    """
    assert RIG.both(text) == 99


def test_a_new_frame_is_empty() -> None:
    text = """
        r1 = -1; call fill; call look; exit
    fill:
        *(u64 *)(r10 - 8) = r1; r0 = 0; exit
    look:
        r0 = *(u64 *)(r10 - 8); exit
    """
    assert RIG.both(text) == 0


def chain(depth: int) -> str:
    calls = "".join(f"f{i}: r0 += 1; call f{i + 1}; exit;" for i in range(1, depth))
    return f"r0 = 1; call f1; exit; {calls} f{depth}: r0 += 1; exit"


def test_eight_frames_and_no_more(rig: Rig) -> None:
    assert rig.both(chain(7)) == 8
    with pytest.raises(Fault, match="call stack of 8 frames"):
        rig.run(chain(8))
    with pytest.raises(Fault, match="call stack of 8 frames"):
        rig.run("f: call f; exit")


def test_callx_calls_helpers_by_number_and_functions_by_address(rig: Rig) -> None:
    rig.kernel.set_python_helper(5, lambda *args: 77)
    assert rig.both("r3 = 5; callx r3; exit") == 77
    text = "r3 = subprog[+4] ; r1 = 4; callx r3; exit; r0 = r1; r0 *= 10; exit"
    assert rig.both(text) == 40
    with pytest.raises(Fault, match="no function of the program"):
        rig.run("r3 = 4096; callx r3; exit")


# --- helpers ---

def test_a_python_helper_gets_all_arguments(rig: Rig) -> None:
    seen: list[Any] = []
    rig.kernel.set_python_helper(5, lambda *args: seen.append(args) or -1)
    assert rig.run("r1 = 1; r2 = 2; r3 = 3; r4 = 4; r5 = -5; call 5; exit") == U64
    assert seen[0][:5] == (1, 2, 3, 4, U64 - 4)
    assert seen[0][5] is rig.run_ctx


def test_what_a_python_helper_raises_comes_out(rig: Rig) -> None:
    def broken(*args: Any) -> int:
        raise KeyError("mine")

    rig.kernel.set_python_helper(5, broken)
    for checked in (True, False):
        with pytest.raises(KeyError, match="mine"):
            rig.run("call 5; exit", checked=checked)
    rig.kernel.set_python_helper(5, lambda *args: None)
    assert rig.run("call 5; exit") == 0


def test_what_a_run_took_out_of_a_slot_goes_when_it_ends(rig: Rig) -> None:
    progs = rig.map(uapi.BPF_MAP_TYPE_PROG_ARRAY, value=4)
    progs.update_object(bytes(4), rig.prog("r0 = 1; exit"))
    old = weakref.ref(progs.get_object(bytes(4)))
    alive: list[bool] = []

    def replace(*args: Any) -> int:
        progs.update_object(bytes(4), rig.prog("r0 = 2; exit"))
        alive.append(old() is not None)
        return 0

    rig.kernel.set_python_helper(5, replace)
    assert rig.run("call 5; exit") == 0
    assert alive == [True]
    assert old() is None


def test_a_helper_that_is_not_modelled_is_named(rig: Rig) -> None:
    for checked in (True, False):
        with pytest.raises(NotSupported, match=r"bpf_ktime_get_ns#5.*instruction 1 of 'test'"):
            rig.run("r0 = 0; call 5; exit", checked=checked)
    with pytest.raises(NotSupported, match="#100000"):
        rig.run("call 100000; exit")


def test_a_helper_of_other_program_types_is_refused(rig: Rig) -> None:
    rig.kernel.set_python_helper(44, lambda *args: 3)
    assert rig.run("r2 = 0; call 44; exit", prog_type=uapi.BPF_PROG_TYPE_XDP) == 3
    with pytest.raises(Fault, match="of this type cannot use helper bpf_xdp_adjust_head#44"):
        rig.run("r2 = 0; call 44; exit", prog_type=uapi.BPF_PROG_TYPE_SCHED_CLS)


def test_a_callback_runs_with_its_own_frame(rig: Rig) -> None:
    def loop(n: int, func: int, arg: int, flags: int, r5: int, run: Any) -> int:
        return sum(run.call(func, i, arg) for i in range(n))

    rig.kernel.set_python_helper(181, loop)
    text = """
        r1 = 4; r2 = subprog[+7]; r3 = r10; r3 += -8; r4 = 0; *(u64 *)(r10 - 8) = 100
        call 181
        exit
        r0 = *(u64 *)(r2 + 0); r0 += r1; *(u64 *)(r10 - 8) = 5; exit
    """
    assert rig.both(text) == 400 + 6


def test_a_fault_in_a_callback_ends_the_whole_run(rig: Rig) -> None:
    calls: list[int] = []

    def loop(n: int, func: int, arg: int, flags: int, r5: int, run: Any) -> int:
        for i in range(n):
            calls.append(run.call(func, i, arg))
        return 0

    rig.kernel.set_python_helper(181, loop)
    text = "r1 = 3; r2 = subprog[+5]; r3 = 0; r4 = 0; call 181; exit; r0 = *(u8 *)(r1 + 0); exit"
    with pytest.raises(Fault, match="invalid read of 1 byte at the null page") as e:
        rig.run(text)
    assert e.value.insn == 7
    assert calls == [0, 0, 0]
    assert rig.run("r0 = 1; exit") == 1


def test_callbacks_count_as_frames(rig: Rig) -> None:
    rig.kernel.set_python_helper(181, lambda n, func, *rest: rest[-1].call(func, func))
    with pytest.raises(Fault, match="call stack"):
        rig.run("r1 = 1; r2 = subprog[+5]; r3 = 0; r4 = 0; call 181; exit;"
                "r2 = r1; r1 = 1; r3 = 0; r4 = 0; call 181; exit")


# --- tail calls ---

def tail(next_index: int, result: str) -> str:
    return f"r2 = array ll; r3 = {next_index}; call 12; {result}; exit"


def prog_array(rig: Rig, entries: int = 4) -> Any:
    return rig.map(uapi.BPF_MAP_TYPE_PROG_ARRAY, 4, 4, entries)


def test_a_tail_call_does_not_return(rig: Rig) -> None:
    array = prog_array(rig)
    target = rig.prog("r0 = 55; exit", name="target")
    array.update_object(struct.pack("I", 2), target)
    caller = rig.prog(tail(2, "r0 = 1"), maps={"array": (array, None)})
    for checked in (True, False):
        assert rig.run(caller, checked=checked) == 55
        assert rig.run_ctx.tail_calls == 1


def test_a_tail_call_to_nothing_falls_through(rig: Rig) -> None:
    array = prog_array(rig)
    for index in (0, 3, 4, 0x7FFF_FFFF, -1):
        caller = rig.prog(tail(index, "r0 = 1"), maps={"array": (array, None)})
        assert rig.run(caller) == 1
        assert rig.run_ctx.tail_calls == 0


def test_thirty_three_tail_calls(rig: Rig) -> None:
    array = prog_array(rig)
    counter = rig.map(uapi.BPF_MAP_TYPE_ARRAY, entries=1)
    text = """
        r7 = counter ll
        r0 = *(u64 *)(r7 + 0); r0 += 1; *(u64 *)(r7 + 0) = r0
        r2 = array ll; r3 = 0; call 12
        r0 = *(u64 *)(r7 + 0); exit
    """
    again = rig.prog(text, maps={"counter": (counter, 0), "array": (array, None)})
    array.update_object(struct.pack("I", 0), again)
    assert rig.run(again) == 34
    assert rig.run_ctx.tail_calls == 33


def test_a_tail_call_to_another_program_type_falls_through(rig: Rig) -> None:
    array = prog_array(rig)
    array.update_object(struct.pack("I", 2), rig.prog("r0 = 55; exit", prog_type=6))
    caller = rig.prog(tail(2, "r0 = 1"), maps={"array": (array, None)}, prog_type=3)
    assert rig.run(caller) == 1


def test_a_tail_call_in_a_function_returns_to_the_caller(rig: Rig) -> None:
    array = prog_array(rig)
    array.update_object(struct.pack("I", 0), rig.prog("r0 = 5; r6 = 0; exit", name="target"))
    text = "r6 = 100; call f; r0 += r6; exit; f: r2 = array ll; r3 = 0; call 12; r0 = 1; exit"
    caller = rig.prog(text, maps={"array": (array, None)})
    assert rig.run(caller) == 105


def test_a_tail_call_needs_a_program_array(rig: Rig) -> None:
    wrong = rig.map(uapi.BPF_MAP_TYPE_ARRAY)
    with pytest.raises(Fault, match="R2 of helper bpf_tail_call#12"):
        rig.run(rig.prog(tail(0, "r0 = 1"), maps={"array": (wrong, None)}))
    with pytest.raises(Fault, match="R2 of helper bpf_tail_call#12"):
        rig.run("r2 = 4096; r3 = 0; call 12; r0 = 0; exit")


def test_the_error_names_the_tail_called_program(rig: Rig) -> None:
    array = prog_array(rig)
    target = rig.prog("r1 = 0; r0 = *(u8 *)(r1 + 0); exit", name="b")
    array.update_object(struct.pack("I", 0), target)
    with pytest.raises(Fault) as e:
        rig.run(rig.prog(tail(0, "r0 = 1"), maps={"array": (array, None)}, name="a"))
    assert (e.value.program, e.value.insn) == ("b", 1)


# --- legacy packet loads ---

def test_packet_loads_are_big_endian_and_end_the_program_outside(rig: Rig) -> None:
    with pytest.raises(BpfError):
        rig.prog("")
    assert rig.run("r6 = r1; r0 = 7; r0 = *(u8 *)skb[0]; exit") == 0


# --- limits, and bytes that are no program ---

def test_the_budget_counts_instructions(rig: Rig) -> None:
    text = "r0 = 1; r0 = 2; exit"
    assert rig.run(text, budget=3) == 2
    with pytest.raises(Fault, match="budget") as e:
        rig.run(text, budget=2)
    assert e.value.insn == 2
    with pytest.raises(Fault, match="budget"):
        rig.run("goto -1")


def test_falling_off_the_end_faults(rig: Rig) -> None:
    with pytest.raises(Fault, match="no valid instruction") as e:
        rig.run("r0 = 1")
    assert e.value.insn == 1


BAD = [
    (0x06, 0, 0, 0, 9), (0xFF, 0, 0, 0, 0), (0xB7, 11, 0, 0, 0), (0xBF, 0, 11, 0, 0),
    (0xB7, 10, 0, 0, 0), (0x05, 0, 0, 100, 0), (0x05, 0, 0, -2, 0), (0x85, 0, 3, 0, 0),
    (0x85, 0, 1, 0, 1000), (0x18, 0, 1, 0, 0), (0xD4, 0, 0, 0, 17), (0xDB, 10, 0, -8, 0x99),
    (0xD3, 10, 0, -8, 0), (0xBF, 0, 0, 3, 0), (0xB7, 0, 0, 8, 0), (0x0F, 0, 0, 1, 0),
    (0x9D, 0, 0, 0, 0), (0x8E, 0, 0, 0, 0), (0xE5, 0, 1, 0, 0),
    (0xDB, 10, 10, -8, 1), (0x79, 10, 10, -8, 0), (0x99, 0, 10, -8, 0),
]


@pytest.mark.parametrize("fields", BAD)
def test_what_is_no_instruction_faults_when_reached(rig: Rig, fields: tuple[int, ...]) -> None:
    code, dst, src, off, imm = fields
    first = struct.pack("<BBhi", code, dst | src << 4, off, imm)
    prog = Prog(first + struct.pack("<Q", 0x95), kernel=rig.kernel)
    with pytest.raises(Fault, match="no valid instruction"):
        rig.run(prog)


SLOTS = st.tuples(st.one_of(st.integers(0, 255), st.sampled_from(
    [0x07, 0x0F, 0xB7, 0xBF, 0x61, 0x79, 0x7B, 0x63, 0xDB, 0xC3, 0x85, 0x95, 0x15, 0x2D, 0x18])),
    st.integers(0, 10), st.sampled_from([0, 1, 2, 3, 6, 10, 10, 10, 4]),
    st.one_of(st.integers(-20, 20), st.sampled_from([-8, -512, -520, 32767, -32768])),
    st.one_of(st.integers(-8, 8), st.integers(-(1 << 31), (1 << 31) - 1),
              st.sampled_from([0x01, 0x41, 0xE1, 0xF1, 0x100, 0x110, 181, 12, 1, 2])))


@settings(max_examples=250, deadline=None)
@given(st.lists(SLOTS, min_size=1, max_size=24))
def test_any_bytes_run_without_harm(slots: list[tuple[int, ...]]) -> None:
    rig = RIG
    rig.kernel.set_python_helper(181, lambda n, func, *rest: rest[-1].call(func, n) & 7)
    code = b"".join(struct.pack("<BBhi", c, d | s << 4, o, i) for c, d, s, o, i in slots)
    prog = Prog(code, kernel=rig.kernel)
    rig.run_ctx.reset()
    try:
        r0 = interpreter.run(prog, rig.run_ctx, 0, budget=2000)
    except (Fault, NotSupported):
        return
    assert 0 <= r0 <= U64
