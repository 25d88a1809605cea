"""Atomic operations (check_atomic, kernel/bpf/verifier.c)."""

from __future__ import annotations

from errno import EACCES, EINVAL

from anybpf import uapi
from anybpf.proto import kinds
from anybpf.proto.kinds import KIND_MASK
from anybpf.verifier import regtype
from anybpf.verifier.decoded import Decoded
from anybpf.verifier.env import Env
from anybpf.verifier.region import stack
from anybpf.verifier.region.access import make
from anybpf.verifier.region.table import REGIONS
from anybpf.verifier.state import Reg
from anybpf.verifier.step import mem, regs
from anybpf.verifier.walk import NEXT, Walk

#: what atomics must not point to
_REFUSED = frozenset({kinds.PTR_TO_CTX, kinds.PTR_TO_PACKET, kinds.PTR_TO_PACKET_META,
                      kinds.PTR_TO_FLOW_KEYS, *regtype.SOCKETS})
#: loops in machine code, in which the x86 JIT catches no faults (bpf_jit_supports_insn)
_NOT_IN_ARENAS = frozenset(op | uapi.BPF_FETCH for op in (
    uapi.BPF_AND, uapi.BPF_OR, uapi.BPF_XOR))


def step(walk: Walk, insn: Decoded) -> int:
    """One atomic instruction."""
    if insn.imm == uapi.BPF_LOAD_ACQ:
        mem.load(walk, insn, strict=True, where="atomic_load")
        _check_target(walk.env, insn, insn.src)
    elif insn.imm == uapi.BPF_STORE_REL:
        mem.store(walk, insn, strict=True)
        _check_target(walk.env, insn, insn.dst)
    else:
        _modify(walk, insn)
    return NEXT


def _check_target(env: Env, insn: Decoded, regno: int) -> None:
    reg = regs.read(env, regno)
    if reg.kind in _REFUSED:
        what = {uapi.BPF_LOAD_ACQ: "loads from", uapi.BPF_STORE_REL: "stores into"}.get(
            insn.imm, "stores into")
        raise env.reject(
            EACCES, f"BPF_ATOMIC {what} R{regno} {regtype.text(reg.kind)} is not allowed")


def _is_refused(reg: Reg, insn: Decoded) -> bool:
    return reg.kind in _REFUSED or (
        reg.kind == kinds.PTR_TO_ARENA and insn.imm in _NOT_IN_ARENAS)


def _modify(walk: Walk, insn: Decoded) -> None:
    env = walk.env
    regs.read(env, insn.src)
    regs.read(env, insn.dst)
    if insn.imm == uapi.BPF_CMPXCHG:
        regs.read(env, 0)
    dst = env.regs[insn.dst]
    if _is_refused(dst, insn):
        raise env.reject(EACCES, f"BPF_ATOMIC stores into R{insn.dst} {regtype.text(dst.kind)} "
                                 "is not allowed")
    loaded = _loaded_register(insn)
    if loaded >= 0:
        # which may be the pointer itself: then it is none any more
        regs.overwrite(env, loaded)
    # the memory is readable, whatever becomes of what is read
    _access(walk, insn, dst, write=False, value=-1)
    if loaded >= 0:
        _access(walk, insn, dst, write=False, value=loaded)
    _access(walk, insn, dst, write=True, value=-2)


def _loaded_register(insn: Decoded) -> int:
    if not insn.imm & uapi.BPF_FETCH:
        return -1
    return 0 if insn.imm == uapi.BPF_CMPXCHG else insn.src


def _access(walk: Walk, insn: Decoded, dst: Reg, write: bool, value: int) -> None:
    env = walk.env
    mem.check_alignment(env, dst, insn.off, insn.size_bytes, True)
    region = REGIONS.get(dst.kind & KIND_MASK)
    if region is None or regtype.may_be_null(dst.kind):
        raise env.reject(EACCES,
                         f"R{insn.dst} invalid mem access '{regtype.text(dst.kind)}'")
    if dst.kind == kinds.PTR_TO_STACK:
        _on_stack(walk, insn, dst, write, value)
        return
    region(make(walk, insn, dst, insn.dst, insn.off + dst.off, insn.size_bytes, write, value))
    if value >= 0 and not write:
        mem.narrow(env.regs[value], insn.size_bytes, False)


def _on_stack(walk: Walk, insn: Decoded, dst: Reg, write: bool, value: int) -> None:
    """The bytes are read, then hold what nobody knows."""
    env = walk.env
    if not write:
        stack.access(make(walk, insn, dst, insn.dst, insn.off + dst.off, insn.size_bytes, False,
                            value))
        if value >= 0:
            mem.narrow(env.regs[value], insn.size_bytes, False)
        return
    stack.check_bounds(env, dst, insn.dst, insn.off + dst.off, insn.size_bytes, True)
    if insn.size_bytes not in (4, 8):
        raise env.reject(EINVAL, "invalid atomic operand size")
    stack.overwrite(walk, dst, insn.off + dst.off + dst.smin, insn.size_bytes)
