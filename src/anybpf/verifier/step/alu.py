"""Arithmetic on numbers and pointers (check_alu_op and below, kernel/bpf/verifier.c)."""

from __future__ import annotations

import sys
from errno import EACCES, EINVAL

from anybpf import bits, uapi
from anybpf.isa.opcodes import ADDR_SPACE_CAST, ALU_SYMBOLS
from anybpf.proto import kinds
from anybpf.verifier import arith, backtrack, ranges, regtype
from anybpf.verifier.consts import ADD_CONST, ADD_CONST32, ADD_CONST64, MAX_OFFSET
from anybpf.verifier.decoded import Decoded
from anybpf.verifier.env import Env
from anybpf.verifier.numbers import S32_MAX, S32_MIN, S64_MIN
from anybpf.verifier.state import Reg, clone_reg, copy_reg, mark_known_scalar, mark_unknown
from anybpf.verifier.step import regs
from anybpf.verifier.walk import Walk

LITTLE_ENDIAN = sys.byteorder == "little"
#: the `imm` of a cast from user space's address of an arena's memory to the kernel's
TO_KERNEL = 1

#: pointers that numbers may be added to
MOVABLE = frozenset({
    kinds.PTR_TO_CTX, kinds.PTR_TO_MAP_VALUE, kinds.PTR_TO_MAP_KEY, kinds.PTR_TO_STACK,
    kinds.PTR_TO_PACKET, kinds.PTR_TO_PACKET_META, kinds.PTR_TO_TP_BUFFER, kinds.PTR_TO_BTF_ID,
    kinds.PTR_TO_MEM, kinds.PTR_TO_BUF, kinds.PTR_TO_FUNC, kinds.CONST_PTR_TO_DYNPTR,
})


def step(walk: Walk, insn: Decoded) -> None:
    """One arithmetic instruction."""
    env = walk.env
    if insn.op == uapi.BPF_MOV:
        _move(env, insn)
    elif insn.op == uapi.BPF_END or insn.op == uapi.BPF_NEG:
        _unary(env, insn)
    else:
        _binary(walk, insn)
    regs.check_sane(env, env.reg(insn.dst), "alu")


def _unary(env: Env, insn: Decoded) -> None:
    regs.read(env, insn.dst)
    dst = regs.write(env, insn.dst)
    if dst.kind != kinds.SCALAR_VALUE:
        mark_unknown(dst)
    elif insn.op == uapi.BPF_NEG:
        _scalar(dst, insn, dst)
    else:
        swaps = insn.cls == uapi.BPF_ALU64 or bool(insn.code & uapi.BPF_TO_BE) == LITTLE_ENDIAN
        if insn.imm == 64 and not swaps:
            return  # nothing changes, so what is linked stays linked
        arith.byte_swap(dst, insn.imm >> 3, swaps)
    dst.id = dst.off = 0


# -- moves


def _move(env: Env, insn: Decoded) -> None:
    wide = insn.cls == uapi.BPF_ALU64
    if not insn.uses_reg:
        dst = regs.write(env, insn.dst)
        mark_known_scalar(dst, insn.imm & (uapi.U64 if wide else uapi.U32))
        return
    if wide and insn.off == ADDR_SPACE_CAST:
        _cast_address(env, insn)
        return
    src = regs.read(env, insn.src)
    dst = regs.write(env, insn.dst)
    if wide:
        _move64(env, insn, dst, src)
    else:
        _move32(env, insn, dst, src)


def _cast_address(env: Env, insn: Decoded) -> None:
    """Between user space's address of an arena's memory and the kernel's."""
    if all(used.type != uapi.BPF_MAP_TYPE_ARENA for used in env.used_maps):
        raise env.reject(EINVAL, "addr_space_cast insn can only be used in a program that has an "
                                 "associated arena")
    regs.read(env, insn.src)
    dst = regs.overwrite(env, insn.dst)
    if insn.imm == TO_KERNEL:
        dst.kind = kinds.PTR_TO_ARENA


def _move64(env: Env, insn: Decoded, dst: Reg, src: Reg) -> None:
    if not insn.off:
        regs.assign_id(env, src)
        copy_reg(dst, src)
    elif src.kind == kinds.SCALAR_VALUE:
        _copy_if_fits(env, dst, src, _fits_signed(src, insn.off))
        ranges.sign_extend(dst, insn.off >> 3)
    else:
        mark_unknown(dst)


def _fits_signed(reg: Reg, width: int) -> bool:
    """The number is the same when its low `width` bits are sign-extended."""
    one = 1
    return reg.umax < one << (width - 1)


def _copy_if_fits(env: Env, dst: Reg, src: Reg, fits: bool) -> None:
    """Copy a number; the two belong together only if the copy is not changed by its width."""
    if fits:
        regs.assign_id(env, src)
    copy_reg(dst, src)
    if not fits:
        dst.id = dst.off = 0


def _move32(env: Env, insn: Decoded, dst: Reg, src: Reg) -> None:
    if src.kind != kinds.SCALAR_VALUE:
        mark_unknown(dst)
    elif not insn.off:
        _copy_if_fits(env, dst, src, regs.width(src) <= 32)
    else:
        _copy_if_fits(env, dst, src, _fits_signed(src, insn.off))
        ranges.sign_extend32(dst, insn.off >> 3)
    ranges.zero_extend32(dst)
    ranges.sync(dst)


# -- two operands


def _binary(walk: Walk, insn: Decoded) -> None:
    env = walk.env
    if insn.uses_reg:
        src = regs.read(env, insn.src)
    else:
        src = env.scratch
        mark_known_scalar(src, insn.imm & uapi.U64)
    regs.read(env, insn.dst)
    dst = regs.write(env, insn.dst)
    if dst.kind == kinds.PTR_TO_ARENA:
        return  # 32 bits that may be anything, whatever is done to them
    if src.kind == kinds.PTR_TO_ARENA:
        copy_reg(dst, src)
    elif regs.is_pointer(src):
        _with_pointer_source(env, insn, dst, src)
    elif regs.is_pointer(dst):
        if insn.uses_reg:
            backtrack.mark(env, insn.src)
        _pointer(env, insn, dst, clone_reg(dst), clone_reg(src))
    else:
        if insn.uses_reg and dst.precise:
            backtrack.mark(env, insn.src)
        if (insn.op == uapi.BPF_AND or insn.op == uapi.BPF_OR) and ranges.is_const(src):
            _split(walk, insn, dst)
        _scalars(insn, dst, src)


def _split(walk: Walk, insn: Decoded, dst: Reg) -> None:
    """A number that is 0 or -1 is a condition: walk each of the two (maybe_fork_scalars)."""
    env = walk.env
    if dst.smin == -1 and dst.smax == 0:
        other = walk.fork(env.idx, env.idx).innermost().regs[insn.dst]
        ranges.known(other, 0)
        ranges.known(dst, uapi.U64)
    elif dst.s32min == -1 and dst.s32max == 0:
        other = walk.fork(env.idx, env.idx).innermost().regs[insn.dst]
        _know32(other, 0)
        _know32(dst, uapi.U32)


def _know32(reg: Reg, value: int) -> None:
    ranges.set_subreg(reg, value, 0)
    ranges.known32(reg, value)


def _with_pointer_source(env: Env, insn: Decoded, dst: Reg, src: Reg) -> None:
    if not regs.is_pointer(dst):
        backtrack.mark(env, insn.dst)
        _pointer(env, insn, dst, clone_reg(src), clone_reg(dst), reversed_=True)
    elif insn.op == uapi.BPF_SUB:
        mark_unknown(dst)
    else:
        raise env.reject(EACCES, f"R{insn.dst} pointer {ALU_SYMBOLS[insn.op]} pointer prohibited")


def _scalars(insn: Decoded, dst: Reg, src: Reg) -> None:
    is32 = insn.cls == uapi.BPF_ALU
    links = ((insn.op == uapi.BPF_ADD or insn.op == uapi.BPF_SUB) and dst.id != 0
             and src is not dst and regs.is_constant(src, is32)
             and not (is32 and regs.width(dst) > 32))
    value = bits.s32(src.vv) if is32 else bits.s64(src.vv)
    _scalar(dst, insn, src)
    if not links:
        dst.id = dst.off = 0
        return
    if insn.op == uapi.BPF_SUB and value != S64_MIN:
        value = -value
    if dst.id & ADD_CONST or value < S32_MIN or value > S32_MAX:
        dst.id = dst.off = 0
    else:
        dst.id |= ADD_CONST32 if is32 else ADD_CONST64
        dst.off = value


def _scalar(dst: Reg, insn: Decoded, src: Reg) -> None:
    is32 = insn.cls == uapi.BPF_ALU
    if arith.computable(insn.op, is32, src):
        if src is dst:
            src = clone_reg(src)
        arith.apply(insn.op, is32, dst, src)
    else:
        mark_unknown(dst)


# -- pointers


def _pointer(env: Env, insn: Decoded, dst: Reg, pointer: Reg, number: Reg,
             reversed_: bool = False) -> None:
    """dst = pointer OP number; `pointer` and `number` are copies."""
    if (number.vm == 0 and (number.smin != number.smax or number.umin != number.umax)) \
            or number.smin > number.smax or number.umin > number.umax:
        mark_unknown(dst)
        return
    if insn.cls != uapi.BPF_ALU64:
        if insn.op != uapi.BPF_SUB:
            raise env.reject(EACCES, f"R{insn.dst} 32-bit pointer arithmetic prohibited")
        mark_unknown(dst)
        return
    _check_movable(env, insn, pointer, number)
    if pointer.kind & kinds.KIND_MASK == kinds.PTR_TO_MEM and pointer.kind & kinds.PTR_UNTRUSTED:
        # untrusted memory is read by loads that may fault, wherever they lead; a number to which
        # it is added stays that number
        return
    _become(dst, pointer, reversed_)
    _check_offset(env, number, pointer.kind)
    _check_offset(env, pointer, pointer.kind)
    ranges.unbounded32(dst)
    if insn.op == uapi.BPF_ADD:
        _add(env, dst, pointer, number)
    elif insn.op == uapi.BPF_SUB:
        _subtract(env, insn, dst, pointer, number, reversed_)
    else:
        raise env.reject(EACCES, _refused_operator(insn))
    _check_offset(env, dst, pointer.kind)
    ranges.sync(dst)


def _become(dst: Reg, pointer: Reg, reversed_: bool) -> None:
    """Where a pointer is added to a number, the kernel leaves out these two (so must we)."""
    frameno, ref = dst.frameno, dst.ref
    copy_reg(dst, pointer)
    if reversed_:
        dst.frameno, dst.ref = frameno, ref


def _refused_operator(insn: Decoded) -> str:
    symbol = ALU_SYMBOLS[insn.op]
    if insn.op in (uapi.BPF_AND, uapi.BPF_OR, uapi.BPF_XOR):
        return f"R{insn.dst} bitwise operator {symbol} on pointer prohibited"
    return f"R{insn.dst} pointer arithmetic with {symbol} operator prohibited"


def _check_movable(env: Env, insn: Decoded, pointer: Reg, number: Reg) -> None:
    kind = pointer.kind
    if regtype.may_be_null(kind):
        raise env.reject(EACCES, f"R{insn.dst} pointer arithmetic on {regtype.text(kind)} "
                                 "prohibited, null-check it first")
    base = kind & kinds.KIND_MASK
    if base == kinds.PTR_TO_STACK or base == kinds.PTR_TO_PACKET:
        return
    known = number.vm == 0
    if base in MOVABLE or (base == kinds.PTR_TO_FLOW_KEYS and known):
        return
    if base in (kinds.CONST_PTR_TO_MAP, kinds.PTR_TO_FLOW_KEYS) and known and number.smin == 0 \
            and insn.op == uapi.BPF_ADD:
        return
    raise env.reject(EACCES,
                     f"R{insn.dst} pointer arithmetic on {regtype.text(kind)} prohibited")


def _check_offset(env: Env, reg: Reg, kind: int) -> None:
    """Offsets stay small (check_reg_sane_offset)."""
    if reg.smin <= -MAX_OFFSET or reg.smin >= MAX_OFFSET or reg.off <= -MAX_OFFSET \
            or reg.off >= MAX_OFFSET or (reg.vm == 0 and _far(bits.s64(reg.vv))):
        raise env.reject(EINVAL, _bad_offset(reg, regtype.text(kind)))


def _far(value: int) -> bool:
    return value <= -MAX_OFFSET or value >= MAX_OFFSET


def _bad_offset(reg: Reg, name: str) -> str:
    value = bits.s64(reg.vv)
    if reg.vm == 0 and _far(value):
        return f"math between {name} pointer and {value} is not allowed"
    if _far(reg.off):
        return f"{name} pointer offset {reg.off} is not allowed"
    if reg.smin == S64_MIN:
        return (f"math between {name} pointer and register with unbounded min value is not "
                "allowed")
    return f"value {reg.smin} makes {name} pointer be out of bounds"


def _moved(pointer: Reg, by: int) -> bool:
    """A constant was added: only the fixed offset changes, if it fits; `pointer` is changed."""
    moved = pointer.off + by
    if moved < S32_MIN or moved > S32_MAX:
        return False
    pointer.off = moved
    return True


def _add(env: Env, dst: Reg, pointer: Reg, number: Reg) -> None:
    # both offsets are small here (_check_offset), so that nothing overflows
    if number.vm == 0 and _moved(dst, number.smin):
        return
    arith.add_to_pointer(dst, number)
    if regtype.is_packet(pointer.kind):
        dst.id = env.new_id()
        dst.packet_range = 0


def _subtract(env: Env, insn: Decoded, dst: Reg, pointer: Reg, number: Reg,
              reversed_: bool) -> None:
    if reversed_:
        raise env.reject(EACCES, f"R{insn.dst} tried to subtract pointer from scalar")
    if pointer.kind == kinds.PTR_TO_STACK:
        raise env.reject(EACCES, f"R{insn.dst} subtraction from stack pointer prohibited")
    if number.vm == 0 and _moved(dst, -number.smin):
        return
    arith.sub_from_pointer(dst, number)
    if regtype.is_packet(pointer.kind):
        dst.id = env.new_id()
        if number.smin < 0:
            dst.packet_range = 0
