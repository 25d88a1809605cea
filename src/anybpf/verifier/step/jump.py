"""Comparisons: which way, and what both ways teach (check_cond_jmp_op, kernel/bpf/verifier.c)."""

from __future__ import annotations

from errno import ENOMEM

from anybpf import uapi
from anybpf.proto import kinds
from anybpf.verifier import arith, backtrack, branch, ranges, regtype
from anybpf.verifier.consts import (
    ADD_CONST,
    ADD_CONST32,
    AT_END,
    BEYOND_END,
    MAX_LINKED,
    MAX_PACKET_OFFSET,
    REGS,
)
from anybpf.verifier.decoded import Decoded
from anybpf.verifier.env import Env
from anybpf.verifier.state import Reg, State, clone_reg, copy_reg, mark_known_scalar
from anybpf.verifier.step import fields, regs, resources
from anybpf.verifier.step.widen import widen_loop
from anybpf.verifier.walk import Walk

Linked = tuple[tuple[int, int, bool], ...]


def step(walk: Walk, insn: Decoded) -> None:
    """A conditional jump; where both ways are possible the jump is put aside."""
    env = walk.env
    if insn.code == uapi.BPF_JMP | uapi.BPF_JCOND:  # may_goto
        _may_goto(walk, insn)
        return
    dst = regs.read(env, insn.dst)
    src = regs.read(env, insn.src) if insn.uses_reg else _constant(env, insn)
    _note_stack_operands(env, insn, dst, src)
    is32 = insn.cls == uapi.BPF_JMP32
    taken = decide(dst, src, insn.op, is32)
    if taken >= 0:
        _decided(env, insn, dst, src)
    else:
        _both_ways(walk, insn, dst, src, is32)
    _tell(env)
    if taken == 1:
        env.idx += insn.off


def _constant(env: Env, insn: Decoded) -> Reg:
    """The immediate as a register, good until the next instruction."""
    mark_known_scalar(env.scratch, insn.imm & uapi.U64)
    return env.scratch


def _tell(env: Env) -> None:
    if env.log.on:
        env.log.print_insn_state(env.state, len(env.state.frames) - 1, env.idx)


def _may_goto(walk: Walk, insn: Decoded) -> None:
    env = walk.env
    queued = walk.fork(env.idx + 1, env.idx, too_many=ENOMEM)
    queued.may_goto_depth += 1
    if env.state.parent is not None:
        widen_loop(env, queued, env.state.parent)
    env.idx += insn.off


def _note_stack_operands(env: Env, insn: Decoded, dst: Reg, src: Reg) -> None:
    dst_on_stack = dst.kind == kinds.PTR_TO_STACK
    src_on_stack = insn.uses_reg and src.kind == kinds.PTR_TO_STACK
    if dst_on_stack or src_on_stack:
        hop = backtrack.push(env)
        hop.dst_on_stack |= dst_on_stack
        hop.src_on_stack |= src_on_stack


# -- which way


def decide(dst: Reg, src: Reg, op: int, is32: bool) -> int:
    """1 if the jump is surely taken, 0 if surely not, -1 if either may be."""
    if regtype.is_any_packet(dst.kind) and regtype.is_any_packet(src.kind) and not is32:
        return _decide_packet(dst, src, op)
    if regs.is_pointer(dst) or regs.is_pointer(src):
        return _decide_pointer(dst, src, op, is32)
    return branch.decide(dst, src, op, is32)


def _decide_pointer(dst: Reg, src: Reg, op: int, is32: bool) -> int:
    """A pointer that cannot be 0 is not 0."""
    if not regs.is_constant(src, is32):
        dst, src = src, dst
    if not regs.is_constant(src, is32) or not regtype.not_null(dst.kind, bool(dst.ref)):
        return -1
    if src.vv & (uapi.U32 if is32 else uapi.U64):
        return -1
    if op == uapi.BPF_JEQ:
        return 0
    return 1 if op == uapi.BPF_JNE else -1


def _decide_packet(dst: Reg, src: Reg, op: int) -> int:
    """A pointer that was compared with the packet's end before."""
    if src.kind == kinds.PTR_TO_PACKET_END:
        pkt = dst
    elif dst.kind == kinds.PTR_TO_PACKET_END:
        pkt, op = src, branch.MIRRORED[op]
    else:
        return -1
    beyond = pkt.packet_range == BEYOND_END
    if (op == uapi.BPF_JLE or op == uapi.BPF_JGT) and beyond:
        return 1 if op == uapi.BPF_JGT else 0
    if (op == uapi.BPF_JLT or op == uapi.BPF_JGE) and (beyond or pkt.packet_range == AT_END):
        return 1 if op == uapi.BPF_JGE else 0
    return -1


def _decided(env: Env, insn: Decoded, dst: Reg, src: Reg) -> None:
    """What decided must be known exactly."""
    if not regs.is_pointer(dst):
        backtrack.mark(env, insn.dst)
    if insn.uses_reg and not regs.is_pointer(src):
        backtrack.mark(env, insn.src)


# -- both ways


def _both_ways(walk: Walk, insn: Decoded, dst: Reg, src: Reg, is32: bool) -> None:
    env = walk.env
    this = env.state
    linked = _collect(env, insn, dst, src)
    if len(linked) > 1:
        backtrack.push(env).linked = linked
    other = walk.fork(env.idx + insn.off + 1, env.idx)
    other_regs = other.innermost().regs
    other_dst = other_regs[insn.dst]
    other_src = other_regs[insn.src] if insn.uses_reg else clone_reg(src)
    learn(env, other_dst, other_src, dst, src, insn.op, is32)
    if insn.uses_reg and src.kind == kinds.SCALAR_VALUE and src.id:
        sync_linked(this, src, linked)
        sync_linked(other, other_src, linked)
    if dst.kind == kinds.SCALAR_VALUE and dst.id:
        sync_linked(this, dst, linked)
        sync_linked(other, other_dst, linked)
    if not is32:
        _learn_pointers(insn, this, other, dst, src)


def learn(env: Env, true_dst: Reg, true_src: Reg, false_dst: Reg, false_src: Reg, op: int,
          is32: bool) -> None:
    """Two numbers were compared: narrow them on both ways (reg_set_min_max)."""
    if false_dst.kind != kinds.SCALAR_VALUE or false_src.kind != kinds.SCALAR_VALUE:
        return
    branch.refine(false_dst, false_src, branch.OPPOSITE[op], is32)
    branch.refine(true_dst, true_src, op, is32)
    ranges.sync(false_dst)
    ranges.sync(false_src)
    ranges.sync(true_dst)
    ranges.sync(true_src)
    regs.check_sane(env, true_dst, "true_reg1")
    regs.check_sane(env, true_src, "true_reg2")
    regs.check_sane(env, false_dst, "false_reg1")
    regs.check_sane(env, false_src, "false_reg2")


def _collect(env: Env, insn: Decoded, dst: Reg, src: Reg) -> Linked:
    """What shares an id with an operand and still matters (collect_linked_regs)."""
    found: list[tuple[int, int, bool]] = []
    if insn.uses_reg and src.kind == kinds.SCALAR_VALUE and src.id:
        _collect_id(env, found, src.id & ~ADD_CONST)
    if dst.kind == kinds.SCALAR_VALUE and dst.id:
        _collect_id(env, found, dst.id & ~ADD_CONST)
    return tuple(found)


def _collect_id(env: Env, found: list[tuple[int, int, bool]], base: int) -> None:
    state = env.state
    for number in range(len(state.frames) - 1, -1, -1):
        frame = state.frames[number]
        aux = env.aux[state.insn_of(number)]
        for i in range(REGS):
            if aux.live_before >> i & 1:
                _link(found, number, i, True, frame.regs[i], base)
        for i in range(len(frame.stack)):
            slot = frame.stack[i]
            if slot.spilled():
                _link(found, number, i, False, slot.reg, base)


def _link(found: list[tuple[int, int, bool]], frame: int, number: int, is_reg: bool, reg: Reg,
          base: int) -> None:
    if reg.kind != kinds.SCALAR_VALUE or reg.id & ~ADD_CONST != base:
        return
    if len(found) < MAX_LINKED:
        found.append((frame, number, is_reg))
    else:
        reg.id = 0


def sync_linked(state: State, known: Reg, linked: Linked) -> None:
    """What was learnt of one register holds for all that are linked with it (sync_linked_regs)."""
    for frame, number, is_reg in linked:
        owner = state.frames[frame]
        if is_reg:
            reg = owner.regs[number]
        else:
            slot = owner.stack[number]
            reg = slot.reg
        if reg is known or reg.kind != kinds.SCALAR_VALUE:
            continue
        if (reg.id ^ known.id) & ADD_CONST == ADD_CONST:
            continue  # one moved in 64 bits, the other in 32: no fixed distance
        if reg.id & ~ADD_CONST != known.id & ~ADD_CONST:
            continue
        _sync_one(reg, known)


def _sync_one(reg: Reg, known: Reg) -> None:
    if not (reg.id | known.id) & ADD_CONST or reg.off == known.off:
        copy_reg(reg, known)
        return
    identity, off, delta = reg.id, reg.off, Reg()
    mark_known_scalar(delta, (reg.off - known.off) & uapi.U64)
    copy_reg(reg, known)
    reg.id, reg.off = identity, off
    arith.add(reg, delta)
    if (reg.id | known.id) & ADD_CONST32:
        ranges.zero_extend32(reg)
    ranges.sync(reg)


# -- pointers


def _learn_pointers(insn: Decoded, this: State, other: State, dst: Reg, src: Reg) -> None:
    if insn.uses_reg and regs.is_pointer(src) and regs.is_pointer(dst):
        _learn_not_null(insn, this, other, dst, src)
    zero = not insn.uses_reg and insn.imm == 0
    if insn.op in (uapi.BPF_JEQ, uapi.BPF_JNE) and zero and regtype.may_be_null(dst.kind):
        identity, ref = dst.id, dst.ref
        mark_null(this, identity, ref, insn.op == uapi.BPF_JNE)
        mark_null(other, identity, ref, insn.op == uapi.BPF_JEQ)
    elif insn.uses_reg:
        _match_packet(insn, this, other, dst, src)


def _learn_not_null(insn: Decoded, this: State, other: State, dst: Reg, src: Reg) -> None:
    """A pointer that equals one that is not 0 is not 0 either."""
    if regtype.may_be_null(src.kind) == regtype.may_be_null(dst.kind):
        return
    if kinds.PTR_TO_BTF_ID in (src.kind & kinds.KIND_MASK, dst.kind & kinds.KIND_MASK):
        return
    equal = {uapi.BPF_JEQ: other, uapi.BPF_JNE: this}.get(insn.op)
    if equal is not None:
        number = insn.src if regtype.may_be_null(src.kind) else insn.dst
        not_null(equal.regs[number])


def mark_null(state: State, identity: int, ref: int, is_null: bool) -> None:
    """All registers with this id are 0, or are not (mark_ptr_or_null_regs)."""
    if ref and ref == identity and is_null:
        resources.drop(state, identity)
    for reg in regs.every(state):
        if not regtype.may_be_null(reg.kind) or reg.id != identity:
            continue
        if is_null:
            reg.kind = kinds.SCALAR_VALUE
            reg.id = reg.ref = 0
            continue
        not_null(reg)
        if not fields.may_hold_lock(reg):
            reg.id = 0


#: fields that are bound to the very map that they are in
_BOUND = ("bpf_timer", "bpf_wq", "bpf_task_work")


def not_null(reg: Reg) -> None:
    """The pointer was compared with 0 (mark_ptr_not_null_reg)."""
    reg.kind &= ~kinds.PTR_MAYBE_NULL
    if reg.kind & kinds.KIND_MASK != kinds.PTR_TO_MAP_VALUE or reg.map is None:
        return
    inner = reg.map.inner
    if inner is not None:
        reg.kind, reg.map = kinds.CONST_PTR_TO_MAP, inner
        if any(inner.offset_of(name) >= 0 for name in _BOUND):
            reg.map_uid = reg.id
    elif reg.map.type == uapi.BPF_MAP_TYPE_XSKMAP:
        reg.kind = kinds.PTR_TO_XDP_SOCK
    elif reg.map.type in (uapi.BPF_MAP_TYPE_SOCKMAP, uapi.BPF_MAP_TYPE_SOCKHASH):
        reg.kind = kinds.PTR_TO_SOCKET


def _is_start(reg: Reg) -> bool:
    """The packet's first byte."""
    return reg.kind == kinds.PTR_TO_PACKET and not (reg.id or reg.off or reg.vv or reg.vm)


def _bounds(pointer: Reg, end: Reg) -> bool:
    """`end` bounds what `pointer` may reach."""
    if pointer.kind == kinds.PTR_TO_PACKET:
        return end.kind == kinds.PTR_TO_PACKET_END
    return pointer.kind == kinds.PTR_TO_PACKET_META and _is_start(end)


#: condition `pointer ? end` -> (is the good way the jump, may the pointer be the end there,
#: on the other way: is the pointer beyond the end)
_PACKET: dict[int, tuple[bool, bool, bool]] = {
    uapi.BPF_JGT: (False, False, True),
    uapi.BPF_JLT: (True, True, False),
    uapi.BPF_JGE: (False, True, False),
    uapi.BPF_JLE: (True, False, True),
}


def _match_packet(insn: Decoded, this: State, other: State, dst: Reg, src: Reg) -> None:
    """A packet pointer was compared with the end: so far may be read (try_match_pkt_pointers)."""
    if insn.op not in _PACKET:
        return
    if _bounds(dst, src):
        pointer, number, op = dst, insn.dst, insn.op
    elif _bounds(src, dst):
        pointer, number, op = src, insn.src, branch.MIRRORED[insn.op]
    else:
        return
    jump_good, open_, beyond = _PACKET[op]
    good, bad = (other, this) if jump_good else (this, other)
    _reach(good, clone_reg(pointer), open_)
    reg = bad.regs[number]
    if reg.kind == kinds.PTR_TO_PACKET:
        reg.packet_range = BEYOND_END if beyond else AT_END


def _reach(state: State, pointer: Reg, open_: bool) -> None:
    """All pointers with the same base may read up to `pointer` (find_good_pkt_pointers)."""
    if pointer.off < 0 or (pointer.off == 0 and open_):
        return
    if pointer.umax > MAX_PACKET_OFFSET or pointer.umax + pointer.off > MAX_PACKET_OFFSET:
        return
    reach = pointer.off + open_
    for reg in regs.every(state):
        if reg.kind == pointer.kind and reg.id == pointer.id:
            reg.packet_range = max(reg.packet_range, reach)
