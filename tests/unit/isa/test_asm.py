"""Text to instructions."""

from __future__ import annotations

import subprocess
from shutil import which

import pytest

from anybpf import uapi
from anybpf.errors import LoadError
from anybpf.isa import build as b
from anybpf.isa import opcodes as tab
from anybpf.isa.asm import AsmError, Pseudo, assemble, parse
from anybpf.isa.insn import Insn, decode

FETCH = uapi.BPF_FETCH

STATEMENTS = [
    ("r0 = 5", b.mov64_imm(0, 5)),
    ("r0 = -0x5", b.mov64_imm(0, -5)),
    ("r0 = 010", b.mov64_imm(0, 8)),
    ("w0 = 0xfffffffb", b.mov32_imm(0, -5)),
    ("r0=r1", b.mov64_reg(0, 1)),
    ("w0 = w1", b.mov32_reg(0, 1)),
    ("r0 = (s8)r1", b.movsx64_reg(0, 1, 8)),
    ("r0 = (s32) r1", b.movsx64_reg(0, 1, 32)),
    ("w0 = (s16)w1", b.movsx32_reg(0, 1, 16)),
    ("r0 += r1", b.alu64_reg(uapi.BPF_ADD, 0, 1)),
    ("w9 -= 7", b.alu32_imm(uapi.BPF_SUB, 9, 7)),
    ("r0 s/= 3", b.alu64_imm(uapi.BPF_DIV, 0, 3, 1)),
    ("w0 s%= w2", b.alu32_reg(uapi.BPF_MOD, 0, 2, 1)),
    ("r0 s>>= 3", b.alu64_imm(uapi.BPF_ARSH, 0, 3)),
    ("r0 <<= r3", b.alu64_reg(uapi.BPF_LSH, 0, 3)),
    ("r3 = -r3", b.neg64(3)),
    ("w3 = - w3", b.neg32(3)),
    ("r1 = be16 r1", b.endian(uapi.BPF_TO_BE, 1, 16)),
    ("r1 = le64 r1", b.endian(uapi.BPF_TO_LE, 1, 64)),
    ("r1 = bswap32 r1", b.bswap(1, 32)),
    ("r0 = *(u32 *)(r1 + 4)", b.ldx_mem(b.W, 0, 1, 4)),
    ("w0 = *(u8 *)(r1 - 0x4)", b.ldx_mem(b.B, 0, 1, -4)),
    ("r0 = *(u64*)(r1)", b.ldx_mem(b.DW, 0, 1, 0)),
    ("r0 = *(s16 *)(r1 +4)", b.ldx_memsx(b.H, 0, 1, 4)),
    ("*(u16 *)(r10 - 8) = w2", b.stx_mem(b.H, 10, 2, -8)),
    ("*(u64 *)(r10 - 8) = r2", b.stx_mem(b.DW, 10, 2, -8)),
    ("*(u64 *)(r10 - 8) = -1", b.st_mem(b.DW, 10, -8, -1)),
    ("lock *(u64 *)(r1 + 0) += r2", b.atomic_op(b.DW, uapi.BPF_ADD, 1, 2, 0)),
    ("lock *(u32 *)(r1 + 0) ^= w2", b.atomic_op(b.W, uapi.BPF_XOR, 1, 2, 0)),
    ("r2 = atomic_fetch_and((u64 *)(r1 + 0), r2)",
     b.atomic_op(b.DW, uapi.BPF_AND | FETCH, 1, 2, 0)),
    ("r2 = atomic64_fetch_or((u64 *)(r1 +0), r2)", b.atomic_op(b.DW, uapi.BPF_OR | FETCH, 1, 2, 0)),
    ("w2 = xchg32_32(r1 + 8, w2)", b.atomic_op(b.W, uapi.BPF_XCHG, 1, 2, 8)),
    ("r2 = xchg_64(r1 + 8, r2)", b.atomic_op(b.DW, uapi.BPF_XCHG, 1, 2, 8)),
    ("r2 = atomic_xchg((u32 *)(r1 +8), r2)", b.atomic_op(b.W, uapi.BPF_XCHG, 1, 2, 8)),
    ("r0 = cmpxchg_64(r1 + 8, r0, r2)", b.atomic_op(b.DW, uapi.BPF_CMPXCHG, 1, 2, 8)),
    ("w0 = cmpxchg32_32(r1 - 8, w0, w2)", b.atomic_op(b.W, uapi.BPF_CMPXCHG, 1, 2, -8)),
    ("r0 = atomic64_cmpxchg((u64 *)(r1 +8), r0, r2)", b.atomic_op(b.DW, uapi.BPF_CMPXCHG, 1, 2, 8)),
    ("w3 = load_acquire((u8 *)(r1 + 8))", b.load_acquire(b.B, 3, 1, 8)),
    ("store_release((u64 *)(r1 + 8), r3)", b.store_release(b.DW, 1, 3, 8)),
    ("r0 = *(u16 *)skb[12]", b.ld_abs(b.H, 12)),
    ("r0 = *(u32 *)skb[r7]", b.ld_ind(b.W, 7, 0)),
    ("r0 = *(u8 *)skb[r7 + -4]", b.ld_ind(b.B, 7, -4)),
    ("if r1 == 5 goto +3", b.jmp_imm(uapi.BPF_JEQ, 1, 5, 3)),
    ("if w2 s> 7 goto -0x2", b.jmp32_imm(uapi.BPF_JSGT, 2, 7, -2)),
    ("if r1 & r2 goto pc+3", b.jmp_reg(uapi.BPF_JSET, 1, 2, 3)),
    ("if w1 s<= 0xfffffffd goto pc-1", b.jmp32_imm(uapi.BPF_JSLE, 1, -3, -1)),
    ("goto +0x4 <.text+0x170>", b.jmp_a(4)),
    ("gotol -100000", b.jmp32_a(-100000)),
    ("may_goto +2", b.may_goto(2)),
    ("call 7", b.emit_call(7)),
    ("call bpf_ktime_get_ns", b.emit_call(5)),
    ("call ktime_get_ns", b.emit_call(5)),
    ("call bpf_ktime_get_ns#5", b.emit_call(5)),
    ("call unknown#212", b.emit_call(212)),
    ("call pc+1", b.call_rel(1)),
    ("call pc+1#bpf_prog_59f4a931744dcdc6_F", b.call_rel(1)),
    ("call kernel-function#77", b.call_kfunc(77)),
    ("call kernel-function#77+3", b.call_kfunc(77, 3)),
    ("callx r2", Insn(tab.CALLX, 2)),
    ("exit", b.exit_insn()),
    ("nospec", Insn(tab.NOSPEC)),
    ("r0 = addr_space_cast(r1, 0x0, 0x1)", b.addr_space_cast(0, 1, 0, 1)),
    ("r0 = addr_space_cast(r1, 1, 0)", b.addr_space_cast(0, 1, 1, 0)),
    ("r1 = &(void __percpu *)(r2)", b.alu64_reg(uapi.BPF_MOV, 1, 2, -1)),
    (".insn 0x06, 1, 2, -3, 4", Insn(6, 1, 2, -3, 4)),
]


@pytest.mark.parametrize(("text", "insn"), STATEMENTS)
def test_statements(text, insn):
    assert assemble(text) == [insn]


@pytest.mark.parametrize(
    ("text", "pair"),
    [
        ("r1 = 0x1122334455667788 ll", b.ld_imm64(1, 0x1122334455667788)),
        ("r1 = -1 ll", b.ld_imm64(1, -1)),
        ("(18) r1 = 0x5", b.ld_imm64(1, 5)),
        ("ld_pseudo r1, 1, 5", b.ld_map_fd(1, 5)),
        ("r1 = map[id:5]", b.ld_map_fd(1, 5)),
        ("r1 = map[id:5][0]+4", b.ld_map_value(1, 5, 4)),
        ("r1 = subprog[-3]", b.ld_func(1, -3)),
    ],
)
def test_64_bit_immediates_take_two_slots(text, pair):
    assert tuple(assemble(text)) == pair


def test_labels_before_and_after_their_use():
    program = assemble("""
    again:
        r1 -= 1
        if r1 > 0 goto again   # backwards
        goto done              // forwards
        /* never
           reached */ r0 = 7
    done: exit
    """)
    assert [x.off for x in program] == [0, -2, 1, 0, 0]


def test_numbered_labels():
    program = assemble("1: r1 -= 1; if r1 > 0 goto 1b; goto 1f; r0 = 2; 1: exit")
    assert [x.off for x in program] == [0, -2, 1, 0, 0]


def test_labels_may_be_called_and_have_their_address_taken():
    program = assemble("r2 = callback ll; call f; exit; f: exit; callback: exit")
    assert program[:3] == [*b.ld_func(2, 4), b.call_rel(1)]


def test_a_label_goes_before_a_helper_of_the_same_name():
    assert assemble("ktime_get_ns: call ktime_get_ns; exit")[0] == b.call_rel(-1)


def test_symbols():
    symbols = {"map": Pseudo(uapi.BPF_PSEUDO_MAP_FD, 5), "limit": 1 << 40, "kf": Pseudo(2, 77, 1)}
    program = assemble("r1 = map ll; r2 = limit ll; call kf", symbols)
    assert program == b.program(b.ld_map_fd(1, 5), b.ld_imm64(2, 1 << 40), b.call_kfunc(77, 1))


def test_parse_tells_where_labels_are():
    assert parse("a: r1 = 1 ll; b: exit").labels == {"a": 0, "b": 2}


def test_compiler_directives_say_nothing():
    text = "\t.text\n\t.globl\tf\n\t.type\tf,@function\nf:\n\texit\n\t.size\tf, .Lend-f\n"
    assert assemble(text) == [b.exit_insn()]


def test_lines_of_the_verifiers_log_and_of_bpftool():
    log = """
    ; return 1; @ x.c:5
    0: (b7) r0 = 1                        ; R0=1
    1: (18) r1 = 0xffff88810442a800       ; R1=map_ptr(ks=4,vs=16)
       3: (85) call bpf_map_lookup_elem#1
    4: (95) exit
    """
    address = b.ld_imm64(1, 0xFFFF88810442A800)
    assert assemble(log) == b.program(
        b.mov64_imm(0, 1), address, b.emit_call(1), b.exit_insn()
    )


def test_a_listing_of_llvm_objdump():
    text = (
        "0000000000000000 <f>:\n"
        "       0:\tb7 00 00 00 05 00 00 00\tr0 = 0x5\n"
        "       1:\t05 00 00 00 00 00 00 00\tgoto +0x0 <out>\n"
        "0000000000000010 <out>:\n"
        "       2:\t95 00 00 00 00 00 00 00\texit\n"
    )
    assert parse(text) == ([b.mov64_imm(0, 5), b.jmp_a(0), b.exit_insn()], {"f": 0, "out": 2})


def test_objdump_writes_all_calls_alike_so_the_bytes_tell():
    text = (
        "       0:\t85 10 00 00 01 00 00 00\tcall 0x1\n"
        "       1:\t85 00 00 00 01 00 00 00\tcall 0x1\n"
        "       2:\t85 02 00 00 00 00 00 01\tcall 0x1\n"
    )
    assert assemble(text) == [b.call_rel(1), b.emit_call(1), b.call_kfunc(1)]


def test_sections_of_data_are_passed_over():
    text = """
        .section xdp,"ax",@progbits
        r0 = 1
        .section .rodata.str1.1,"aMS",@progbits,1
    .L.str: .asciz "r0 = 2"
        .data
        .long 5
        .text
    f:  exit
        .section .BTF,"",@progbits
        .long 1
    """
    assert parse(text) == ([b.mov64_imm(0, 1), b.exit_insn()], {"f": 1})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("hello", "not an instruction"),
        ("r0 = ", "not an instruction"),
        ("r11 = 0", "there is no register r11"),
        ("r99999999 = 0", "there is no register r99999999"),
        ("r0 = w1", "w1 has the wrong width here"),
        ("w0 = (s32)w1", "no s32 here"),
        ("r0 = -r1", "both registers must be the same"),
        ("r0 = be16 r1", "both registers must be the same"),
        ("r0 = be8 r0", "bits must be 16, 32 or 64"),
        ("r0 = 0x100000000", "immediate does not fit 32 bits"),
        ("r0 = " + "9" * 5000, "not a number"),
        ("r0 = 08", "not a number"),
        ("/* r0 = 1", "not an instruction"),
        ("r0 = 0x10000000000000000 ll", "immediate does not fit 64 bits"),
        ("r0 = *(u32 *)(r1 + 40000)", "offset does not fit 16 bits"),
        ("r0 = *(s64 *)(r1 + 0)", "no s64 here"),
        ("w0 = *(u64 *)(r1 + 0)", "w0 has the wrong width here"),
        ("r0 = *(u32 *)(w1 + 0)", "w1 has the wrong width here"),
        ("lock *(u8 *)(r1 + 0) += r2", "atomics work on u32 and u64"),
        ("r3 = xchg_64(r1 + 0, r2)", "the old value must go to r2"),
        ("r2 = cmpxchg_64(r1 + 0, r0, r2)", "the old value must go to r0"),
        ("r0 = cmpxchg_64(r1 + 0, r1, r2)", "the expected value is in r0"),
        ("r2 = atomic64_xchg((u32 *)(r1 + 0), r2)", "atomic64 is of u64"),
        ("r1 = *(u8 *)skb[5]", "packet loads are 8, 16 or 32 bits into r0"),
        ("goto nowhere", "undefined symbol nowhere"),
        ("goto 1f", "undefined symbol 1f"),
        ("r1 = nothing ll", "undefined symbol nothing"),
        ("call nothing", "undefined symbol nothing"),
        ("x: exit\nx: exit", "label x is defined twice"),
        (".quad 5", "not an instruction"),
        ("lock *(u64 *)(r1 + 0) -= r2", "not an instruction"),
        (".insn 256, 0, 0, 0, 0", "field out of range"),
    ],
)
def test_mistakes_are_told_with_their_line(text, message):
    with pytest.raises(AsmError) as caught:
        assemble("exit\n" + text)
    assert message in str(caught.value)
    assert caught.value.line == 2 + text.count("\n")
    assert isinstance(caught.value, LoadError)


def test_a_jump_that_is_too_far():
    with pytest.raises(AsmError, match="offset does not fit 16 bits"):
        assemble("goto far\n" + "r0 = 0\n" * 0x8000 + "far: exit")


@pytest.mark.parametrize(
    "text",
    ["r0 = *(u32 *)" + " " * 50_000 + "x", "/*" * 50_000, "r0 = " + "(" * 50_000, "x:" * 9999],
    ids=["spaces", "comments", "parentheses", "labels"],
)
def test_long_nonsense_is_refused_at_once(text):
    with pytest.raises(AsmError):
        assemble(text)


#: statements that LLVM 19 has no syntax for
NOT_LLVM = ("atomic64", "atomic_xchg", "load_acquire", "store_release", "+ -4", "nospec", ".insn",
            "pc", "unknown", "ktime", "kernel-function", "__percpu", "be16", "(u64*)", "(r1)",
            "<.text", "-100000")  # fmt: skip


def test_llvm_assembles_to_the_same_bytes(tmp_path):
    if which("llvm-mc-19") is None or which("llvm-objcopy-19") is None:
        pytest.skip("llvm-19 is not installed")
    chosen = [(text, insn) for text, insn in STATEMENTS if not any(x in text for x in NOT_LLVM)]
    assert len(chosen) > 40
    source, made, code = (tmp_path / name for name in ("a.s", "a.o", "a.bin"))
    source.write_text("\n".join(text for text, _ in chosen) + "\nr1 = -1 ll\n")
    subprocess.run(
        ["llvm-mc-19", "-triple", "bpfel", "-mcpu=v4", "-filetype=obj", source, "-o", made],
        check=True,
    )
    subprocess.run(["llvm-objcopy-19", "-O", "binary", "--only-section=.text", made, code],
                   check=True)
    wanted = [insn for _, insn in chosen]
    assert decode(code.read_bytes()) == [*wanted, *b.ld_imm64(1, -1)]
