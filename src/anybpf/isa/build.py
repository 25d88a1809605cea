"""Instructions as function calls (include/linux/filter.h).

The names are those of the kernel's macros in lower case: `mov64_imm(R0, 1)` for
`BPF_MOV64_IMM(BPF_REG_0, 1)`. Everything gives one `Insn` but the 64-bit immediate loads, which
give two; `program` joins both kinds:

    program(ld_map_fd(R1, fd), mov64_imm(R0, 1), exit_insn())

Immediates may be given signed or unsigned; registers, offsets and immediates that do not fit
raise `InsnError` when the program is encoded.
"""

from __future__ import annotations

from collections.abc import Iterable

from anybpf import uapi
from anybpf.bits import s32
from anybpf.isa import opcodes as tab
from anybpf.isa.insn import LD_IMM64, Insn, split_imm64

R0, R1, R2, R3, R4, R5, R6, R7, R8, R9, R10 = range(uapi.MAX_BPF_REG)
#: the frame pointer
FP = R10
B, H, W, DW = uapi.BPF_B, uapi.BPF_H, uapi.BPF_W, uapi.BPF_DW

Pair = tuple[Insn, Insn]


def program(*parts: Insn | Iterable[Insn]) -> list[Insn]:
    """All slots in order; a part is one instruction or several."""
    out: list[Insn] = []
    for part in parts:
        out += (part,) if isinstance(part, Insn) else part
    return out


def _imm(value: int) -> int:
    """An immediate in either sign, as the slot keeps it; what does not fit is left to show."""
    return s32(value) if -(1 << 31) <= value < 1 << 32 else value


# -- arithmetic and moves


def alu64_reg(op: int, dst: int, src: int, off: int = 0) -> Insn:
    """`dst = dst OP src`; `off` 1 makes division and remainder signed."""
    return Insn(uapi.BPF_ALU64 | op | uapi.BPF_X, dst, src, off)


def alu64_imm(op: int, dst: int, imm: int, off: int = 0) -> Insn:
    """`dst = dst OP imm`, the immediate sign-extended."""
    return Insn(uapi.BPF_ALU64 | op, dst, 0, off, _imm(imm))


def alu32_reg(op: int, dst: int, src: int, off: int = 0) -> Insn:
    """The same on the lower halves; the upper half of `dst` becomes zero."""
    return Insn(uapi.BPF_ALU | op | uapi.BPF_X, dst, src, off)


def alu32_imm(op: int, dst: int, imm: int, off: int = 0) -> Insn:
    """The same on the lower half; the upper half of `dst` becomes zero."""
    return Insn(uapi.BPF_ALU | op, dst, 0, off, _imm(imm))


def mov64_reg(dst: int, src: int) -> Insn:
    """`dst = src`."""
    return alu64_reg(uapi.BPF_MOV, dst, src)


def mov64_imm(dst: int, imm: int) -> Insn:
    """`dst = imm`, sign-extended."""
    return alu64_imm(uapi.BPF_MOV, dst, imm)


def mov32_reg(dst: int, src: int) -> Insn:
    """The lower half of `src`, zero-extended."""
    return alu32_reg(uapi.BPF_MOV, dst, src)


def mov32_imm(dst: int, imm: int) -> Insn:
    """`imm`, zero-extended."""
    return alu32_imm(uapi.BPF_MOV, dst, imm)


def movsx64_reg(dst: int, src: int, bits: int) -> Insn:
    """The lower 8, 16 or 32 `bits` of `src`, sign-extended."""
    return alu64_reg(uapi.BPF_MOV, dst, src, bits)


def movsx32_reg(dst: int, src: int, bits: int) -> Insn:
    """The lower 8 or 16 `bits` of `src`, sign-extended to 32."""
    return alu32_reg(uapi.BPF_MOV, dst, src, bits)


def neg64(dst: int) -> Insn:
    """`dst = -dst`."""
    return Insn(uapi.BPF_ALU64 | uapi.BPF_NEG, dst)


def neg32(dst: int) -> Insn:
    """`dst = -dst` in the lower half."""
    return Insn(uapi.BPF_ALU | uapi.BPF_NEG, dst)


def endian(kind: int, dst: int, bits: int) -> Insn:
    """To little (`uapi.BPF_TO_LE`) or big (`uapi.BPF_TO_BE`) byte order, cut to 16, 32, 64 bits."""
    return Insn(uapi.BPF_ALU | uapi.BPF_END | kind, dst, 0, 0, bits)


def bswap(dst: int, bits: int) -> Insn:
    """The lower 16, 32 or 64 `bits` with their bytes reversed, the rest zero."""
    return Insn(uapi.BPF_ALU64 | uapi.BPF_END, dst, 0, 0, bits)


def addr_space_cast(dst: int, src: int, to: int, source: int) -> Insn:
    """`src` as a pointer of address space `to`, coming from address space `source`."""
    code = uapi.BPF_ALU64 | uapi.BPF_MOV | uapi.BPF_X
    return Insn(code, dst, src, tab.ADDR_SPACE_CAST, _imm(to << 16 | source))


# -- 64-bit immediates: two slots each


def _two(dst: int, src: int, lo: int, hi: int = 0) -> Pair:
    return Insn(LD_IMM64, dst, src, 0, _imm(lo)), Insn(0, imm=_imm(hi))


def ld_imm64(dst: int, imm: int) -> Pair:
    """`dst = imm`, any 64-bit number of either sign."""
    return _two(dst, 0, *split_imm64(imm))


def ld_map_fd(dst: int, fd: int) -> Pair:
    """The map behind file descriptor `fd`."""
    return _two(dst, uapi.BPF_PSEUDO_MAP_FD, fd)


def ld_map_value(dst: int, fd: int, off: int) -> Pair:
    """The address of byte `off` of the only value of an array map."""
    return _two(dst, uapi.BPF_PSEUDO_MAP_VALUE, fd, off)


def ld_map_idx(dst: int, index: int) -> Pair:
    """The map at `index` of the file descriptors given when loading."""
    return _two(dst, uapi.BPF_PSEUDO_MAP_IDX, index)


def ld_map_idx_value(dst: int, index: int, off: int) -> Pair:
    """The address of byte `off` of the only value of the map at `index`."""
    return _two(dst, uapi.BPF_PSEUDO_MAP_IDX_VALUE, index, off)


def ld_btf_id(dst: int, btf_id: int, btf_fd: int = 0) -> Pair:
    """The address of a kernel variable or function; `btf_fd` names its module's BTF."""
    return _two(dst, uapi.BPF_PSEUDO_BTF_ID, btf_id, btf_fd)


def ld_func(dst: int, distance: int) -> Pair:
    """The address of the subprogram `distance` slots past the next one, for callbacks."""
    return _two(dst, uapi.BPF_PSEUDO_FUNC, distance)


# -- memory


def ldx_mem(size: int, dst: int, src: int, off: int) -> Insn:
    """`dst = *(size *)(src + off)`, zero-extended."""
    return Insn(uapi.BPF_LDX | uapi.BPF_MEM | size, dst, src, off)


def ldx_memsx(size: int, dst: int, src: int, off: int) -> Insn:
    """`dst = *(size *)(src + off)`, sign-extended; not for `DW`."""
    return Insn(uapi.BPF_LDX | uapi.BPF_MEMSX | size, dst, src, off)


def stx_mem(size: int, dst: int, src: int, off: int) -> Insn:
    """`*(size *)(dst + off) = src`."""
    return Insn(uapi.BPF_STX | uapi.BPF_MEM | size, dst, src, off)


def st_mem(size: int, dst: int, off: int, imm: int) -> Insn:
    """`*(size *)(dst + off) = imm`."""
    return Insn(uapi.BPF_ST | uapi.BPF_MEM | size, dst, 0, off, _imm(imm))


def atomic_op(size: int, op: int, dst: int, src: int, off: int) -> Insn:
    """`uapi.BPF_ADD` (perhaps with `BPF_FETCH`), `BPF_XCHG`, `BPF_STORE_REL`... at `dst + off`."""
    return Insn(uapi.BPF_STX | uapi.BPF_ATOMIC | size, dst, src, off, op)


def load_acquire(size: int, dst: int, src: int, off: int) -> Insn:
    """`dst = *(size *)(src + off)`, and nothing later happens before it."""
    return atomic_op(size, uapi.BPF_LOAD_ACQ, dst, src, off)


def store_release(size: int, dst: int, src: int, off: int) -> Insn:
    """`*(size *)(dst + off) = src`, and nothing earlier happens after it."""
    return atomic_op(size, uapi.BPF_STORE_REL, dst, src, off)


def ld_abs(size: int, imm: int) -> Insn:
    """`r0` = packet bytes at `imm` in host order; the context must be in `r6`."""
    return Insn(uapi.BPF_LD | uapi.BPF_ABS | size, imm=_imm(imm))


def ld_ind(size: int, src: int, imm: int) -> Insn:
    """`r0` = packet bytes at `src + imm` in host order; the context must be in `r6`."""
    return Insn(uapi.BPF_LD | uapi.BPF_IND | size, 0, src, 0, _imm(imm))


# -- jumps, calls, exit


def jmp_reg(op: int, dst: int, src: int, off: int) -> Insn:
    """If `dst OP src`, go `off` slots past the next one."""
    return Insn(uapi.BPF_JMP | op | uapi.BPF_X, dst, src, off)


def jmp_imm(op: int, dst: int, imm: int, off: int) -> Insn:
    """If `dst OP imm` (sign-extended), go `off` slots past the next one."""
    return Insn(uapi.BPF_JMP | op, dst, 0, off, _imm(imm))


def jmp32_reg(op: int, dst: int, src: int, off: int) -> Insn:
    """The same on the lower halves."""
    return Insn(uapi.BPF_JMP32 | op | uapi.BPF_X, dst, src, off)


def jmp32_imm(op: int, dst: int, imm: int, off: int) -> Insn:
    """The same on the lower half."""
    return Insn(uapi.BPF_JMP32 | op, dst, 0, off, _imm(imm))


def jmp_a(off: int) -> Insn:
    """Go `off` slots past the next one."""
    return Insn(uapi.BPF_JMP | uapi.BPF_JA, off=off)


def jmp32_a(distance: int) -> Insn:
    """The same with a distance of 32 bits (`gotol`)."""
    return Insn(uapi.BPF_JMP32 | uapi.BPF_JA, imm=distance)


def may_goto(off: int) -> Insn:
    """Go `off` slots past the next one once the kernel has had enough of the loop."""
    return Insn(tab.MAY_GOTO, 0, uapi.BPF_MAY_GOTO, off)


def emit_call(helper: int) -> Insn:
    """Call the helper of that number (`uapi.BPF_FUNC_map_lookup_elem`)."""
    return Insn(uapi.BPF_JMP | uapi.BPF_CALL, imm=helper)


def call_rel(distance: int) -> Insn:
    """Call the subprogram `distance` slots past the next one."""
    return Insn(uapi.BPF_JMP | uapi.BPF_CALL, 0, uapi.BPF_PSEUDO_CALL, 0, distance)


def call_kfunc(btf_id: int, module: int = 0) -> Insn:
    """Call a kernel function; `module` indexes the BTF file descriptors given when loading."""
    return Insn(uapi.BPF_JMP | uapi.BPF_CALL, 0, uapi.BPF_PSEUDO_KFUNC_CALL, module, btf_id)


def exit_insn() -> Insn:
    """Return `r0`."""
    return Insn(uapi.BPF_JMP | uapi.BPF_EXIT)
