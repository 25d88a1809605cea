"""Every engine computes what the reference interpreter computes, on random programs."""

from __future__ import annotations

import random

import pytest

from anybpf import conformance, uapi
from anybpf.errors import Fault
from anybpf.isa import build as b
from anybpf.isa.insn import Insn
from unit.isa import host

NATIVE = sorted(conformance.ENGINES.keys() - {"semantics"})


@pytest.mark.parametrize("engine", NATIVE)
@pytest.mark.parametrize("seed", range(5))
def test_random_computations(engine, seed):
    rng = random.Random(seed)
    for _ in range(40):
        program = host.computing_program(rng)
        wanted = conformance.run_semantics(program, bytearray())
        assert conformance.ENGINES[engine](program, bytearray()) == wanted, program


POINTERS = {1, 10}


def random_access(rng: random.Random) -> Insn:
    """A load, store or atomic near the ends of the memory (r1) or of the stack (r10)."""
    insn = None
    while insn is None:
        plain = Insn(rng.choice(host.OPS), rng.randrange(2, 10), rng.randrange(2, 10))
        insn = host.access(rng, plain)
    size = insn.size_bytes
    off = rng.choice((0, -size, 1 - size, 32 - size, 33 - size, -512, -511, -512 - size))
    if insn.mode == uapi.BPF_ATOMIC:
        off = off // size * size
    field = "src" if is_load(insn) else "dst"
    return insn._replace(off=off, **{field: rng.choice(sorted(POINTERS))})


def is_load(insn: Insn) -> bool:
    atomic = insn.cls == uapi.BPF_STX and insn.mode == uapi.BPF_ATOMIC
    return insn.cls == uapi.BPF_LDX or (atomic and insn.imm == uapi.BPF_LOAD_ACQ)


def outcome(engine: str, program: list[Insn]) -> str:
    """r0 and the memory afterwards, or which instruction faulted."""
    memory = bytearray(range(32))
    try:
        return f"{conformance.ENGINES[engine](program, memory):x} {memory.hex()}"
    except Fault as fault:
        return f"fault at {fault.insn}"


@pytest.mark.parametrize("seed", range(5))
def test_accesses_fault_at_the_same_instruction(seed):
    rng, ended = random.Random(seed), set()
    clear = [b.mov64_imm(r, 0) for r in range(3, 10)]
    for _ in range(100):
        work = [random_access(rng) if rng.random() < 0.2 else host.computing_insn(rng)
                for _ in range(12)]  # fmt: skip
        kept = [x for x in work if not spoils_pointer(x)]
        program = b.program(clear, kept, b.exit_insn(), b.exit_insn())
        wanted = outcome("semantics", program)
        ended.add(wanted.split()[0] == "fault")
        assert outcome("interpreter", program) == wanted, program
    assert ended == {True, False}


def spoils_pointer(insn: Insn) -> bool:
    """It takes an address for a number, which differs from engine to engine, or loses it."""
    if insn.cls == uapi.BPF_ST:
        return False
    if insn.cls in (uapi.BPF_LDX, uapi.BPF_STX):
        return (insn.dst if is_load(insn) else insn.src) in POINTERS
    return bool(POINTERS & ({insn.dst, insn.src} if insn.uses_reg else {insn.dst}))
