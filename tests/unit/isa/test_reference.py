"""The reference interpreter: memory, calls, and everything that ends a run."""

from __future__ import annotations

import pytest

from anybpf import uapi
from anybpf.errors import Fault, NotSupported
from anybpf.isa import build as b
from anybpf.isa.asm import Pseudo, assemble
from anybpf.isa.insn import Insn
from anybpf.isa.reference import Execution, Memory, run


def test_arguments_come_in_r1_and_up():
    assert run(assemble("r0 = r1; r0 -= r5; exit"), args=(9, 0, 0, 0, 4)) == 5


def test_memory_is_shared_with_the_caller():
    memory, data = Memory(), bytearray(8)
    address = memory.add("buffer", data)
    run(assemble("*(u32 *)(r1 + 4) = 0x01020304; r0 = 0; exit"), memory=memory, args=(address,))
    assert data == bytes(4) + bytes((4, 3, 2, 1))


def test_the_machine_may_be_big_endian():
    memory, data = Memory(), bytearray(8)
    address = memory.add("buffer", data)
    program = assemble("*(u32 *)(r1 + 4) = 0x01020304; r0 = *(u16 *)(r1 + 4); exit")
    assert run(program, memory=memory, args=(address,), byteorder="big") == 0x0102
    assert data == bytes(4) + bytes((1, 2, 3, 4))


def test_helpers_get_five_arguments_and_give_r0():
    program = assemble("r1 = 1; r2 = 2; r3 = 3; r4 = 4; r5 = 5; call 99; exit")
    assert run(program, helpers={99: lambda *args: -sum(args)}) == uapi.U64 - 14


def test_calls_have_frames_of_their_own():
    program = assemble("""
        r6 = 5
        *(u64 *)(r10 - 8) = 1
        r1 = r10
        call f
        r0 += r6
        r1 = *(u64 *)(r10 - 8)
        r0 += r1
        exit
    f:  r6 = 100
        *(u64 *)(r10 - 8) = 100
        *(u64 *)(r1 - 8) = 7
        r0 = 3
        exit
    """)
    assert run(program) == 5 + 7 + 3


def test_a_frame_is_gone_after_its_return():
    with pytest.raises(Fault, match="invalid read"):
        run(assemble("call f; r0 = *(u64 *)(r0 - 8); exit; f: r0 = r10; exit"))


def test_may_goto_ends_a_loop(monkeypatch):
    monkeypatch.setattr("anybpf.isa.reference.MAY_GOTO_LIMIT", 10)
    assert run(assemble("r0 = 0; again: may_goto out; r0 += 1; goto again; out: exit")) == 10


PACKET = bytes(range(0x10, 0x40))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("r0 = *(u8 *)skb[2]", 0x12),
        ("r0 = *(u16 *)skb[2]", 0x1213),
        ("r7 = 3; r0 = *(u32 *)skb[r7 + -1]", 0x12131415),
        ("r0 = *(u8 *)skb[-1048576]", 0x10 + 14),
        ("r0 = *(u8 *)skb[-2097151]", 0x11),
        ("r0 = *(u32 *)skb[45]; r0 = 99", 0),
        ("r0 = *(u8 *)skb[-5]; r0 = 99", 0),
        ("r7 = -1; r0 = *(u8 *)skb[r7 + 0]; r0 = 99", 0),
    ],
)
def test_packet_loads(text, value):
    """Network byte order; outside of the packet the program returns zero at once."""
    assert run(assemble(text + "; exit"), packet=PACKET) == value


def test_a_packet_load_outside_leaves_only_its_own_function():
    text = "r6 = 5; call f; r0 += r6; exit; f: r6 = 1; r0 = *(u8 *)skb[{}]; r0 = 8; exit"
    assert run(assemble(text.format(500)), packet=PACKET) == 5
    assert run(assemble(text.format(2)), packet=PACKET) == 13


@pytest.mark.parametrize(
    ("insns", "message"),
    [
        (assemble("r0 = *(u64 *)(r10 + 0); exit"), "insn 0: invalid read of 8 bytes"),
        (assemble("*(u8 *)(r10 - 513) = 1; exit"), "insn 0: invalid write of 1 bytes"),
        (assemble("r1 = 0; lock *(u64 *)(r1 + 0) += r1; exit"), "insn 1: invalid read"),
        (assemble("goto -5; exit"), "insn -4: outside the program"),
        (assemble("r0 = 1"), "insn 1: outside the program"),
        (assemble("again: goto again"), "the program does not end"),
        (assemble("f: call f; exit"), "insn 0: too many frames"),
        (assemble("call 7; exit"), "insn 0: no helper 7"),
        ([Insn(0x60)], "insn 0: illegal instruction 60"),
        ([Insn(0xB7, 11)], "insn 0: illegal instruction b7"),
        ([Insn(0xD4, 1, 0, 0, 8)], "illegal instruction d4"),
        ([Insn(0xBF, 1, 2, 24)], "illegal instruction bf"),
        ([Insn(0x99, 1, 10)], "illegal instruction 99"),
        ([Insn(0x82, 10)], "illegal instruction 82"),
        ([Insn(0xDB, 10, 1, -8, 0x20)], "illegal instruction db"),
        ([Insn(0xF5)], "illegal instruction f5"),
        ([Insn(0x18)], "illegal instruction 18"),
    ],
)
def test_what_ends_a_run(insns, message):
    with pytest.raises(Fault, match=message):
        run(insns, budget=1000)


def test_a_fault_has_fields():
    memory = Memory()
    address = memory.add("constants", bytearray(4), writable=False)
    program = assemble("r0 = *(u32 *)(r1 + 0); *(u8 *)(r1 + 1) = 1; exit")
    with pytest.raises(Fault, match="read-only constants") as caught:
        run(program, memory=memory, args=(address,))
    fault = caught.value
    assert (fault.insn, fault.address, fault.size, fault.region) == (1, address + 1, 1, "constants")


@pytest.mark.parametrize("program", ["r1 = map ll; exit", "call kfunc; exit"])
def test_what_needs_a_kernel_is_not_modelled(program):
    symbols = {"map": Pseudo(1, 5), "kfunc": Pseudo(2, 7)}
    with pytest.raises(NotSupported):
        run(assemble(program, symbols))


def test_one_step_at_a_time():
    execution = Execution(b.program(b.mov64_imm(0, 5), b.ld_imm64(1, 7), b.exit_insn()))
    seen = []
    while not execution.done:
        seen.append((execution.pc, execution.regs[0], execution.regs[1]))
        execution.step()
    assert seen == [(0, 0, 0), (1, 5, 0), (3, 5, 7)]
