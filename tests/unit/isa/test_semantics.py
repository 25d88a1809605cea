"""What instructions do: the corners by hand, the rest against the kernel."""

from __future__ import annotations

import random

import pytest

from anybpf import uapi
from anybpf.errors import NotSupported
from anybpf.isa import build as b
from anybpf.isa import reference, semantics
from anybpf.isa.asm import assemble
from anybpf.isa.insn import Insn
from unit.isa import host

MIN64, MIN32 = 1 << 63, 1 << 31
M1 = uapi.U64

CORNERS = [
    ("r1 /= r2", 7, 0, 0),
    ("r1 %= r2", 7, 0, 7),
    ("w1 %= w2", M1, 1 << 32, uapi.U32),
    ("r1 s/= r2", MIN64, M1, MIN64),
    ("w1 s/= w2", MIN32, uapi.U32, MIN32),
    ("r1 s%= r2", MIN64, M1, 0),
    ("r1 s/= r2", M1 - 6, 2, M1 - 2),
    ("r1 s%= r2", M1 - 6, 2, M1),
    ("r1 <<= r2", 1, 64, 1),
    ("w1 <<= w2", 1, 63, MIN32),
    ("r1 s>>= r2", MIN64, 63, M1),
    ("w1 s>>= w2", MIN32, 31, uapi.U32),
    ("r1 += -1", 0, 0, M1),
    ("w1 += -1", 0, 0, uapi.U32),
    ("r1 = (s8)r2", 0, 0x80, M1 - 0x7F),
    ("w1 = (s16)w2", 0, 0x8000, 0xFFFF8000),
    ("r1 = -r1", MIN64, 0, MIN64),
    ("w1 = -w1", M1, 0, 1),
    ("r1 = bswap16 r1", 0xAABB1234, 0, 0x3412),
    ("r1 = addr_space_cast(r2, 0, 1)", 0, 0x1_2345_6789, 0x2345_6789),
]


@pytest.mark.parametrize(("text", "dst", "src", "result"), CORNERS)
def test_arithmetic_corners(text, dst, src, result):
    assert semantics.alu(assemble(text)[0], dst, src) == result


@pytest.mark.parametrize(
    ("text", "little", "big"),
    [
        ("r1 = le16 r1", 0x5678, 0x7856),
        ("r1 = be16 r1", 0x7856, 0x5678),
        ("r1 = le32 r1", 0x12345678, 0x78563412),
        ("r1 = be64 r1", 0x7856341200000000, 0x12345678),
        ("r1 = bswap32 r1", 0x78563412, 0x78563412),
    ],
)
def test_byte_order_conversions_depend_on_the_machine(text, little, big):
    insn = assemble(text)[0]
    assert semantics.alu(insn, 0x12345678, 0, "little") == little
    assert semantics.alu(insn, 0x12345678, 0, "big") == big


@pytest.mark.parametrize(
    ("text", "dst", "src", "yes"),
    [
        ("if r1 > r2 goto +1", M1, 1, True),
        ("if r1 s> r2 goto +1", M1, 1, False),
        ("if r1 < -1 goto +1", M1 - 1, 0, True),
        ("if w1 == -1 goto +1", uapi.U32, 0, True),
        ("if r1 == -1 goto +1", uapi.U32, 0, False),
        ("if r1 & -1 goto +1", 1 << 63, 0, True),
        ("if w1 & -1 goto +1", 1 << 63, 0, False),
        ("if w1 s< 0 goto +1", MIN32, 0, True),
        ("if r1 s<= r2 goto +1", MIN64, 0, True),
        ("if r1 s>= r2 goto +1", 5, 5, True),
        ("if r1 != r2 goto +1", 5, 5, False),
    ],
)
def test_comparisons(text, dst, src, yes):
    assert semantics.taken(assemble(text)[0], dst, src) is yes


def test_loads_and_stores():
    load, signed = b.ldx_mem(b.H, 1, 2, 0), b.ldx_memsx(b.H, 1, 2, 0)
    assert semantics.loaded(load, b"\x01\x80") == 0x8001
    assert semantics.loaded(load, b"\x01\x80", "big") == 0x0180
    assert semantics.loaded(signed, b"\x01\x80") == M1 - 0x7FFE
    assert semantics.stored(b.stx_mem(b.H, 1, 2, 0), 0x12345678) == b"\x78\x56"
    assert semantics.stored(b.st_mem(b.W, 1, 0, -2), 0, "big") == b"\xff\xff\xff\xfe"
    assert semantics.packet_value(b"\x08\x00") == 0x0800


def test_atomics_tell_memory_and_register():
    def of(text: str, old: int, src: int, r0: int = 0) -> tuple[int | None, int | None, int]:
        return semantics.atomic(assemble(text)[0], old, src, r0)

    assert of("lock *(u64 *)(r1 + 0) += r2", M1, 2) == (1, None, 0)
    assert of("w2 = atomic_fetch_add((u32 *)(r1 + 0), w2)", 5, M1) == (4, 2, 5)
    assert of("r2 = xchg_64(r1 + 0, r2)", 5, 7) == (7, 2, 5)
    assert of("w0 = cmpxchg32_32(r1 + 0, w0, w2)", 5, 7, (1 << 32) + 5) == (7, 0, 5)
    assert of("w0 = cmpxchg32_32(r1 + 0, w0, w2)", 5, 7, 6) == (5, 0, 5)
    assert of("w3 = load_acquire((u8 *)(r1 + 0))", 5, 7) == (None, 3, 5)
    assert of("store_release((u8 *)(r1 + 0), w2)", 5, 0x107) == (7, None, 0)


def test_per_cpu_addresses_are_not_modelled():
    with pytest.raises(NotSupported):
        semantics.alu(Insn(0xBF, 1, 2, -1), 0, 0)


@pytest.mark.kernel
@pytest.mark.parametrize("seed", range(4))
def test_the_kernel_computes_the_same(linux, seed):
    rng = random.Random(seed)
    for _ in range(40):
        program = host.computing_program(rng)
        ours = reference.run(program) & uapi.U32
        assert host.result(linux, program) == ours, program
